"""The Kafka of the benchmark: the one that KAFKA_BOOTSTRAP_SERVERS names, else one of ours, started for it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from tests.services.kafka import Kafka, start_kafka

from .clients import rows_on

if TYPE_CHECKING:
    from collections.abc import Generator

WAIT_SECONDS = 30


@dataclass(frozen=True)
class Broker:
    """A Kafka, and the topics that were made on it."""

    kafka: Kafka
    process: psutil.Process | None
    """The broker, where it is ours."""
    topics: list[str] = field(default_factory=list)

    @property
    def servers(self) -> str:
        """Where clients connect."""
        return self.kafka.bootstrap

    def new_topic(self, partitions: int) -> str:
        """Make a topic."""
        topic = self.kafka.new_topic(partitions)
        self.topics.append(topic)
        return topic

    def rows(self, topic: str) -> int:
        """Messages on a topic that nothing was deleted from."""
        consumer = Consumer({**self.kafka.properties(), "group.id": "bench"})
        try:
            return rows_on(consumer, topic)
        finally:
            consumer.close()

    def cpu_seconds(self) -> float | None:
        """What the broker has computed since it was started, where it is ours."""
        if self.process is None:
            return None
        times = self.process.cpu_times()
        return times.user + times.system

    def delete_topic(self, topic: str) -> None:
        """Delete a topic that was made."""
        admin = AdminClient({**self.kafka.properties(), "log_level": 4})
        admin.delete_topics([topic])[topic].result(WAIT_SECONDS)
        self.topics.remove(topic)


@contextmanager
def broker() -> Generator[Broker, None, None]:
    """The Kafka to race on, without our topics afterwards."""
    named = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if named:
        there = Broker(Kafka(named), None)
        try:
            yield there
        finally:
            for topic in list(there.topics):
                there.delete_topic(topic)
        return
    started = start_kafka()
    with started.server:
        yield Broker(started.plain, psutil.Process(started.server.pid))
