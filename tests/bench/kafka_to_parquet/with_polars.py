"""confluent-kafka in batches + polars: the JSON is read and the Parquet is written by polars."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
from tests.bench.kafka_to_parquet.batches import ZSTD_LEVEL, drain
from tests.bench.task import WriteTask, perform

if TYPE_CHECKING:
    from pathlib import Path


def work(task: WriteTask) -> None:
    """Write the topic."""
    drain(task, write)


def write(values: list[bytes], path: Path) -> None:
    """Write messages into a file."""
    text = dict.fromkeys(json.loads(values[0]), pl.String)
    frame = pl.read_ndjson(b"\n".join(values), schema=text)
    frame.write_parquet(path, compression="zstd", compression_level=ZSTD_LEVEL)


if __name__ == "__main__":
    perform(WriteTask, work)
