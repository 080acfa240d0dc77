"""The settings of the clients: those of the engine (`src/kafka`), given to every contestant alike."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Message

    from .task import WorkTask, WriteTask

ASK_SECONDS = 30

MEMORY_LIMIT = 256 * 1024 * 1024
"""The engine's default, from which it works out what its clients may hold."""

BUFFER_BYTES = MEMORY_LIMIT // 4
FETCH_BYTES = MEMORY_LIMIT // 32

CLIENT: dict[str, str | int | bool] = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 3_000}

PRODUCER: dict[str, str | int | bool] = {
    **CLIENT,
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    "linger.ms": 10,
    "batch.size": 1_000_000,
    "batch.num.messages": 100_000,
    "queue.buffering.max.kbytes": BUFFER_BYTES // 1024,
    "queue.buffering.max.messages": BUFFER_BYTES // 512,
}

CONSUMER: dict[str, str | int | bool] = {
    **CLIENT,
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.max.messages.kbytes": FETCH_BYTES // 1024,
    "queued.min.messages": 5_000,
    "fetch.max.bytes": FETCH_BYTES // 8,
    "fetch.message.max.bytes": FETCH_BYTES // 32,
    "fetch.queue.backoff.ms": 2,
    "session.timeout.ms": 45_000,
    "heartbeat.interval.ms": 3_000,
}


SILENCE_SECONDS = 0.02

FLUSH_ROWS = 20_000
"""Rows of a file, as the original's."""


def producer_settings(servers: str, compression: str = "lz4") -> dict[str, str | int | bool]:
    """The settings of a producer."""
    level = {"compression.level": 1} if compression == "gzip" else {}
    return {"bootstrap.servers": servers, **PRODUCER, "compression.type": compression, **level}


def consumer_settings(task: WriteTask | WorkTask) -> dict[str, str | int | bool]:
    """The settings of a consumer that does `task`."""
    return {"bootstrap.servers": task.servers, "group.id": task.group, **CONSUMER}


@contextmanager
def member(task: WriteTask | WorkTask, *, is_auto_commit: bool = False) -> Iterator[Consumer]:
    """A consumer in the group of the task.

    It answers what the group asks before it closes: librdkafka would wait for ever (its issue 4884).
    """
    consumer = Consumer({**consumer_settings(task), "enable.auto.commit": is_auto_commit})
    consumer.subscribe([task.topic])
    try:
        yield consumer
    finally:
        consumer.unsubscribe()
        while consumer.poll(SILENCE_SECONDS) is not None:
            pass
        consumer.close()


def rows_on(consumer: Consumer, topic: str) -> int:
    """The messages that a topic holds now, over all partitions."""
    partitions = consumer.list_topics(topic, ASK_SECONDS).topics[topic].partitions
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, at), ASK_SECONDS) for at in partitions]
    return sum(high - low for low, high in ends)


def value_of(message: Message) -> bytes:
    """The value of a message.

    Raises:
        KafkaException: It is none, but says what went wrong.
    """
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return message.value()
