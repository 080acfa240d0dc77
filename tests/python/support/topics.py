"""Topics written and read with confluent-kafka, so that the product does not judge itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.python.support.children import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.services.kafka import Kafka

SECONDS = 120
QUIET = {"log_level": 0}


@dataclass(frozen=True)
class Message:
    """A message on a topic."""

    partition: int
    offset: int
    time: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str] = field(default_factory=dict[str, str])


def send(
    kafka: Kafka, topic: str, values: Iterable[bytes | None], partition: int = 0, key: bytes | None = None
) -> None:
    """Put values on a partition of a topic; returns when the broker has them."""
    producer = Producer({**kafka.properties(), **QUIET, "message.max.bytes": 16_000_000, "enable.idempotence": True})
    for value in values:
        while True:
            try:
                producer.produce(topic, value, key, partition)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(SECONDS) == 0


def partitions(kafka: Kafka, topic: str) -> int:
    """How many partitions a topic has; 0 when there is no such topic."""
    found = AdminClient({**kafka.properties(), **QUIET}).list_topics(timeout=30).topics.get(topic)
    return len(found.partitions) if found else 0


def delete(kafka: Kafka, topic: str) -> None:
    """Delete a topic and its data."""
    admin = AdminClient({**kafka.properties(), **QUIET})
    admin.delete_topics([topic])[topic].result(timeout=30)


def wait_until_settled(kafka: Kafka, topic: str) -> None:
    """Wait until no transaction is open on a topic: what is behind one is not seen by a `read_committed` reader.

    Of a producer that was killed, that is when the broker has given it up.
    """
    admin = AdminClient({**kafka.properties(), **QUIET})
    parts = [TopicPartition(topic, number) for number in range(partitions(kafka, topic))]

    def ends(level: IsolationLevel) -> list[int]:
        asked = admin.list_offsets({part: OffsetSpec.latest() for part in parts}, isolation_level=level)
        return [asked[part].result(timeout=30).offset for part in parts]

    if parts:
        levels = (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        wait_until(lambda: ends(levels[0]) == ends(levels[1]), f"{topic} has no open transaction")


def messages(kafka: Kafka, topic: str) -> list[Message]:
    """Everything on a topic that a `read_committed` reader sees, up to its present end."""
    count = partitions(kafka, topic)
    if not count:
        return []
    settings = {"group.id": f"{topic}-oracle", "enable.auto.commit": False, "enable.partition.eof": True}
    settings |= {"isolation.level": "read_committed", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10}
    consumer = Consumer({**kafka.properties(), **QUIET, **settings})
    unread = set(range(count))
    found: list[Message] = []
    deadline = time.monotonic() + SECONDS
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in unread])
        while unread:
            assert time.monotonic() < deadline, f"{topic}: partitions {unread} were not read to their end"
            for message in consumer.consume(10_000, 0.05):
                error = message.error()
                if error is None:
                    headers = {name: (text or b"").decode() for name, text in message.headers() or []}
                    _, stamp = message.timestamp()
                    place = (message.partition(), message.offset(), stamp)
                    found.append(Message(*place, message.key(), message.value(), headers))
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the public name of that code
                    unread.discard(message.partition())
    finally:
        consumer.close()
    return found


def dead_letters(kafka: Kafka, topic: str) -> list[Message]:
    """What was refused on the way to or from a topic."""
    return sorted(messages(kafka, f"{topic}_dlq"), key=lambda message: message.offset)
