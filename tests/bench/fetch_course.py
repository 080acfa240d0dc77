"""Where the races for Walmart's orders are run: from a look-alike of the API onto a topic, every run checked."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.python.support import topics

from . import lap
from .api import TOKEN, Api, ApiOrders, api
from .contestants import WALMART_TO_KAFKA, Contestant
from .lap import Lap, LapError
from .race import Race
from .task import FetchTask

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from .broker import Broker

PARTITIONS = 3
"""As many as the topic has that the pipeline makes."""


@dataclass(frozen=True)
class FetchCourse:
    """A Kafka and a folder for races from the API, which is started for them."""

    broker: Broker
    folder: Path

    def race(self, held: ApiOrders, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants fetch the orders, or those that are named."""
        race = Race(WALMART_TO_KAFKA, held)
        with api(held) as there:
            race.run(rounds, names, lambda contestant: self.fetch(contestant, held, there))
        return race

    def fetch(self, contestant: Contestant, held: ApiOrders, there: Api) -> Lap:
        """Let a contestant fetch the orders onto an empty topic."""
        days = held.slow_days if contestant.is_slow else held.days
        with self.topic() as topic:
            task = FetchTask(
                servers=self.broker.servers,
                topic=topic,
                url=there.url,
                token=TOKEN,
                first_day=held.first_day.isoformat(),
                last_day=(held.first_day + timedelta(days=days - 1)).isoformat(),
            )
            before, api_before = self.broker.cpu_seconds(), there.cpu_seconds()
            taken = lap.run(f"tests.bench.{WALMART_TO_KAFKA}.{contestant.module}", task, self.folder)
            after, api_after = self.broker.cpu_seconds(), there.cpu_seconds()
            broker = None if before is None or after is None else after - before
            found = Counter((message.key or b"").decode() for message in topics.messages(self.broker.kafka, topic))
        _check(contestant, found, Counter(held.of_first(days)))
        return replace(taken, broker_cpu_seconds=broker, store_cpu_seconds=api_after - api_before)

    @contextmanager
    def topic(self) -> Generator[str, None, None]:
        """A topic for a while; the one with our progress goes with it."""
        topic = self.broker.new_topic(PARTITIONS)
        try:
            yield topic
        finally:
            self.broker.delete_topic(topic)
            progress = f"{topic}_progress"
            if topics.partitions(self.broker.kafka, progress):
                topics.delete(self.broker.kafka, progress)


def _check(contestant: Contestant, found: Counter[str], expected: Counter[str]) -> None:
    if found != expected:
        missing, surplus = (expected - found).total(), (found - expected).total()
        message = f"{contestant.name} fetched {found.total():,} orders, not {expected.total():,}:"
        message += f" {missing:,} are missing, {surplus:,} should not be there"
        raise LapError(message)
