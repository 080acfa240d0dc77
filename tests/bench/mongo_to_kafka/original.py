"""pymongo + pydantic + kafka-python with the original's settings, flushed at the end, which it forgot."""

from __future__ import annotations

from typing import Any

from kafka import KafkaProducer
from tests.bench.mongo_to_kafka.found import FIND, collection
from tests.bench.mongo_to_kafka.model import value_of
from tests.bench.task import DocumentTask, perform

PRODUCER: dict[str, Any] = {
    "retries": 5,
    "acks": 1,
    "batch_size": 512 * 1024,
    "linger_ms": 1_000,
    # The default of its time: an idempotent producer takes no such `acks`.
    "enable_idempotence": False,
}


def work(task: DocumentTask) -> dict[str, Any]:
    """Send the collection; the messages have no key."""
    failed: list[Exception] = []
    settings = {"bootstrap_servers": task.servers, "compression_type": task.compression}
    producer: Any = KafkaProducer(**settings, **PRODUCER)
    rows = 0
    with collection(task) as source:
        for document in source.find({}, **FIND):
            producer.send(task.topic, value_of(document, task.topic)).add_errback(failed.append)
            rows += 1
    producer.flush()
    producer.close()
    if failed:
        raise failed[0]
    return {"rows": rows}


if __name__ == "__main__":
    perform(DocumentTask, work)
