"""Sending in batches with confluent-kafka, as an engineer does who measures: no call and no callback a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from tests.bench.clients import producer_settings

if TYPE_CHECKING:
    from types import TracebackType

    from tests.bench.task import DocumentTask, SendTask
    from typing_extensions import Self

BATCH_ROWS = 10_000
WAIT_SECONDS = 0.02


class BatchProducer:
    """Sends lists of `{"key": …, "value": …}`; leaving it waits for the brokers and raises what they refused."""

    def __init__(self, task: SendTask | DocumentTask) -> None:
        self._topic = task.topic
        self._failure: KafkaError | None = None
        settings: dict[str, Any] = producer_settings(task.servers)
        # Only what failed costs a callback.
        self._producer = Producer({**settings, "delivery.report.only.error": True, "on_delivery": self._note})

    def send(self, messages: list[dict[str, Any]]) -> None:
        """Hand a batch over; waits while the queue is full."""
        while messages:
            self._producer.produce_batch(self._topic, messages)
            messages = [message for message in messages if message.pop("_error", None)]
            self._producer.poll(WAIT_SECONDS if messages else 0)
            self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._producer.flush()
        if error is None:
            self._check()

    def _note(self, error: KafkaError | None, _: Message) -> None:
        self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure:
            raise KafkaException(self._failure)
