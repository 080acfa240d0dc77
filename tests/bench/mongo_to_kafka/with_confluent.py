"""pymongo + pydantic + confluent-kafka: the original's loop with the other client."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from tests.bench.clients import producer_settings
from tests.bench.mongo_to_kafka.found import FIND, collection
from tests.bench.mongo_to_kafka.model import value_of
from tests.bench.task import DocumentTask, perform


def work(task: DocumentTask) -> dict[str, Any]:
    """Send the collection; the messages have no key."""
    failed: list[KafkaError] = []

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer, rows = Producer(producer_settings(task.servers, task.compression)), 0
    with collection(task) as source:
        for document in source.find({}, **FIND):
            value = value_of(document, task.topic)
            while True:
                try:
                    producer.produce(task.topic, value, on_delivery=note)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
            rows += 1
    producer.flush()
    if failed:
        raise KafkaException(failed[0])
    return {"rows": rows}


if __name__ == "__main__":
    perform(DocumentTask, work)
