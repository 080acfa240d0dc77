"""Reading in batches with confluent-kafka: no call a row, offsets committed after the rows are in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.clients import FLUSH_ROWS, member, rows_on, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.task import WriteTask

BATCH_ROWS = 5_000
WAIT_SECONDS = 0.1
ZSTD_LEVEL = 1
"""As the engine's."""


def drain(task: WriteTask, write: Callable[[list[bytes], Path], None]) -> None:
    """Read what the topic holds now; `write` puts messages into a file."""
    with member(task) as consumer:
        left = rows_on(consumer, task.topic)
        values: list[bytes] = []
        files = 0
        while left > 0:
            read = [value_of(message) for message in consumer.consume(BATCH_ROWS, WAIT_SECONDS)]
            values += read
            left -= len(read)
            if len(values) >= FLUSH_ROWS or left <= 0:
                write(values, Path(task.folder) / f"orders_{files:06}.parquet")
                consumer.commit(asynchronous=False)
                values, files = [], files + 1
