"""Tasks put on a topic and notices counted, with confluent-kafka: nothing of ours is needed to race."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from .clients import value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .broker import Broker

BATCH = 10_000
WAIT_SECONDS = 0.2
QUIET_SECONDS = 2.0


def send_tasks(broker: Broker, topic: str, tasks: Iterable[dict[str, Any]]) -> None:
    """Put tasks on a topic, and wait until the broker has them."""
    producer = Producer({**broker.kafka.properties(), "linger.ms": 20, "acks": "all"})
    for task in tasks:
        producer.produce(topic, key=task["key"], value=json.dumps(task, separators=(",", ":")))
    producer.flush()


def task(key: str, bucket: str, dest_bucket: str, size: int) -> dict[str, Any]:
    """The task for a file."""
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"key": key, "bucket": bucket, "dest_bucket": dest_bucket, "size": size, "generated_at": now}


def successes(broker: Broker, topic: str, partitions: int, count: int) -> int:
    """How many different files the notices on a topic call a success; stops at `count`, or when no more come.

    Offsets do not tell: those of transactions have gaps.
    """
    consumer = Consumer({**broker.kafka.properties(), "group.id": "bench-notices", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, at, OFFSET_BEGINNING) for at in range(partitions)])
    keys: set[str] = set()
    quiet = 0.0
    while len(keys) < count and quiet < QUIET_SECONDS:
        messages = consumer.consume(BATCH, WAIT_SECONDS)
        quiet = 0.0 if messages else quiet + WAIT_SECONDS
        notices = (json.loads(value_of(message)) for message in messages)
        keys.update(notice["source"]["key"] for notice in notices if notice["status"] == "success")
    consumer.close()
    return len(keys)


def notice(task: dict[str, Any], dest_key: str, sizes: Sequence[int]) -> bytes:
    """A notice as the original's, for those that write it themselves."""
    read, written = sizes
    document = {
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "worker_type": "single_process",
        "status": "success",
        "source": {"bucket": task["bucket"], "key": task["key"]},
        "destination": {"bucket": task["dest_bucket"], "key": dest_key},
        "file_info": {
            "input_size": read,
            "output_size": written,
            "input_size_formatted": formatted(read),
            "output_size_formatted": formatted(written),
        },
    }
    return orjson.dumps(document)


def formatted(size: float) -> str:
    """A size as people write it."""
    if not size:
        return "0 B"
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
