"""csv.DictReader + json + confluent-kafka: the original program's loop, with the letters read as they are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from confluent_kafka import Producer
from tests.bench.clients import producer_settings
from tests.bench.task import SendTask, perform


def work(task: SendTask) -> None:
    """Send the file row by row."""
    producer = Producer(producer_settings(task.servers))
    with Path(task.csv).open(encoding=task.encoding, newline="") as file:
        for row in csv.DictReader(file):
            key = row[task.key]
            value = json.dumps(row).encode("utf-8")
            while True:
                try:
                    producer.produce(task.topic, value=value, key=key.encode("utf-8") if key else None)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
    producer.flush()


if __name__ == "__main__":
    perform(SendTask, work)
