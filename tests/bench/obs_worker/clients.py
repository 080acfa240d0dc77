"""What the contestants with confluent-kafka and boto3 share: the clients, with the engine's settings for Kafka."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import orjson
from botocore.config import Config
from confluent_kafka import KafkaError, KafkaException, Producer
from tests.bench.clients import member, producer_settings, rows_on, value_of
from tests.bench.task_messages import notice

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from confluent_kafka import Consumer
    from tests.bench.task import StoreAccess, WorkTask

WAIT_SECONDS = 0.1


def s3_client(store: StoreAccess, connections: int) -> Any:
    """A boto3 client as it comes, with as many connections as there are threads."""
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        aws_access_key_id=store.key,
        aws_secret_access_key=store.secret,
        region_name=store.region,
        config=Config(max_pool_connections=connections),
    )


class Desk:
    """Hands tasks out and takes notices, for programs that do a batch at a time."""

    def __init__(self, task: WorkTask, consumer: Consumer) -> None:
        self._task = task
        self._consumer = consumer
        self._failure: KafkaError | None = None
        settings: dict[str, Any] = producer_settings(task.servers)
        # Only what failed costs a callback.
        self._producer = Producer({**settings, "delivery.report.only.error": True, "on_delivery": self._note})

    def batches(self, most: int) -> Iterator[list[dict[str, Any]]]:
        """All tasks that the topic holds now; a batch is committed when the next is asked for, after its notices."""
        left = rows_on(self._consumer, self._task.topic)
        while left > 0:
            batch = [orjson.loads(value_of(message)) for message in self._consumer.consume(most, WAIT_SECONDS)]
            if batch:
                yield batch
                self._producer.flush()
                if self._failure:
                    raise KafkaException(self._failure)
                self._consumer.commit(asynchronous=False)
                left -= len(batch)

    def dest_key(self, one: dict[str, Any]) -> str:
        """The key of a result."""
        return one.get("dest_key") or one["key"] + self._task.suffix

    def notify(self, one: dict[str, Any], read: int, written: int) -> None:
        """Send a notice."""
        value = notice(one, self.dest_key(one), (read, written))
        self._producer.produce(self._task.result_topic, value, one["key"])
        self._producer.poll(0)

    def _note(self, error: KafkaError | None, _: object) -> None:
        self._failure = self._failure or error


@contextmanager
def desk(task: WorkTask) -> Generator[Desk, None, None]:
    """Join the group of the task, and leave it."""
    with member(task) as consumer:
        yield Desk(task, consumer)
