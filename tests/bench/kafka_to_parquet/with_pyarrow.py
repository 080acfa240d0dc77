"""confluent-kafka in batches + pyarrow: the JSON is read and the Parquet is written by Arrow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
from tests.bench.kafka_to_parquet.batches import ZSTD_LEVEL, drain
from tests.bench.task import WriteTask, perform

if TYPE_CHECKING:
    from pathlib import Path


def work(task: WriteTask) -> None:
    """Write the topic."""
    drain(task, write)


def write(values: list[bytes], path: Path) -> None:
    """Write messages into a file."""
    text = pa.schema((name, pa.string()) for name in json.loads(values[0]))
    options = pyarrow.json.ParseOptions(explicit_schema=text)  # else what looks like a time would become one
    table = pyarrow.json.read_json(pa.BufferReader(b"\n".join(values)), parse_options=options)
    pq.write_table(table, path, compression="zstd", compression_level=ZSTD_LEVEL)


if __name__ == "__main__":
    perform(WriteTask, work)
