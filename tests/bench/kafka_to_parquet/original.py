"""confluent-kafka + json + pandas: the original program's loop, with a buffer that is emptied and an end."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from tests.bench.clients import FLUSH_ROWS, member, rows_on, value_of
from tests.bench.task import WriteTask, perform


def work(task: WriteTask) -> None:
    """Write the topic, offsets committed every five seconds."""
    with member(task, is_auto_commit=True) as consumer:
        left = rows_on(consumer, task.topic)
        buffer: list[dict[str, Any]] = []
        while left > 0:
            message = consumer.poll(1.0)
            if message is None:
                continue
            buffer.append(json.loads(value_of(message).decode("utf-8")))
            left -= 1
            if len(buffer) >= FLUSH_ROWS:
                write(buffer, Path(task.folder))
                buffer = []
        if buffer:
            write(buffer, Path(task.folder))


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write a file; unlike the original's, its name has parts of a second, or one would overwrite the other."""
    name = f"orders_{datetime.now():%Y%m%d_%H%M%S_%f}.parquet"  # noqa: DTZ005 - as the original named them
    pd.DataFrame(rows).to_parquet(folder / name, index=False)


if __name__ == "__main__":
    perform(WriteTask, work)
