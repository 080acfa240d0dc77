"""csv.reader + orjson + confluent-kafka, in batches, every delivery accounted for."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

import orjson
from tests.bench.csv_to_kafka.batches import BATCH_ROWS, BatchProducer
from tests.bench.task import SendTask, perform


def work(task: SendTask) -> None:
    """Send the file."""
    dumps = orjson.dumps
    with BatchProducer(task) as producer, Path(task.csv).open(encoding=task.encoding, newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        key = header.index(task.key)
        while rows := list(islice(reader, BATCH_ROWS)):
            producer.send(
                [{"key": row[key] or None, "value": dumps(dict(zip(header, row, strict=True)))} for row in rows]
            )


if __name__ == "__main__":
    perform(SendTask, work)
