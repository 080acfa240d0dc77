"""Polars + confluent-kafka: the CSV is read and the JSON is written by polars, every delivery is accounted for."""

from __future__ import annotations

import polars as pl
from tests.bench.csv_to_kafka.batches import BATCH_ROWS, BatchProducer
from tests.bench.task import SendTask, perform


def work(task: SendTask) -> None:
    """Send the file."""
    frame = pl.read_csv(task.csv, encoding=task.encoding, infer_schema=False, empty_string_is_null=False)
    key, value = pl.col(task.key).replace("", None), pl.struct(pl.all()).struct.json_encode()
    with BatchProducer(task) as producer:
        for rows in frame.iter_slices(BATCH_ROWS):
            producer.send(rows.select(key=key, value=value).to_dicts())


if __name__ == "__main__":
    perform(SendTask, work)
