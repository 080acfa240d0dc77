"""Where the races with Walmart's orders are run: parsed, and loaded into MariaDB, every run checked."""

from __future__ import annotations

import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from . import lap
from .clients import PRODUCER
from .contestants import CONTESTANTS, FLINK_WALMART, WALMART_ORDERS, WALMART_TO_MYSQL, Contestant, Part
from .database import Database, database
from .lap import Lap, LapError
from .orders import messages
from .race import Race
from .task import LoadTask, ParseTask
from .walmart_to_mysql.rows import write_files

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from .broker import Broker
    from .orders import Facts, Orders

WARMER = next(one for one in CONTESTANTS[WALMART_TO_MYSQL] if one.part is Part.CEILING)
MOST_AT_ONCE = 10_000
"""Orders between two looks at what the broker has."""


@dataclass(frozen=True)
class Shelf:
    """The orders as each of the loaders takes them."""

    folder: Path
    """Files for LOAD DATA."""
    topics: dict[int, str]
    """By the number of partitions."""
    dead_letters: str


@dataclass(frozen=True)
class OrderCourse:
    """A Kafka and a folder for races with orders; the database is started for them."""

    broker: Broker
    folder: Path

    def parse_race(self, orders: Orders, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants parse the orders, or those that are named."""
        race = Race(WALMART_ORDERS, orders)
        race.run(rounds, names, lambda contestant: self.parse(contestant, orders))
        return race

    def load_race(self, orders: Orders, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants load the orders, or those that are named."""
        race = Race(WALMART_TO_MYSQL, replace(orders, unit="rows"))
        with database() as server, self.shelf(orders) as shelf:
            # The first lap is slower than those after it: the server's files grow.
            self.load(WARMER, orders, server, shelf)
            race.run(rounds, names, lambda contestant: self.load(contestant, orders, server, shelf))
        return race

    def flink_race(self, orders: Orders, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants load the orders by way of Flink, or those that are named."""
        race = Race(FLINK_WALMART, orders)
        with database() as server, self.shelf(orders) as shelf:
            self.load(WARMER, orders, server, shelf)
            race.run(rounds, names, lambda one: self.load(one, orders, server, shelf, FLINK_WALMART))
        return race

    def parse(self, contestant: Contestant, orders: Orders) -> Lap:
        """Let a contestant parse the orders."""
        taken = self._run(f"tests.bench.{WALMART_ORDERS}.{contestant.module}", ParseTask(str(orders.path)))
        facts = {"rows": orders.facts.order, "orders": orders.facts.orders, "cents": orders.facts.cents}
        names = ("rows", "cents") if contestant.makes_rows else ("orders",)
        _check(contestant, {name: taken.said[name] for name in names}, {name: facts[name] for name in names})
        return taken

    @contextmanager
    def shelf(self, orders: Orders) -> Generator[Shelf, None, None]:
        """The orders on a topic for each number of partitions, and in files, for a while."""
        with ExitStack() as there:
            folder = Path(there.enter_context(TemporaryDirectory(dir=self.folder)))
            write_files(str(orders.path), folder)
            loaders = (*CONTESTANTS[WALMART_TO_MYSQL], *CONTESTANTS[FLINK_WALMART])
            partitions = {one.partitions for one in loaders if one.partitions}
            topics = {count: self._topic(there, count) for count in sorted(partitions)}
            for topic in topics.values():
                self._fill(topic, orders.facts.orders)
            yield Shelf(folder, topics, self._topic(there, 1))

    def load(
        self,
        contestant: Contestant,
        orders: Orders,
        server: Database,
        shelf: Shelf,
        command: str = WALMART_TO_MYSQL,
    ) -> Lap:
        """Let a contestant load the orders into empty tables."""
        with server.tables() as name:
            task = LoadTask(
                servers=self.broker.servers,
                topic=shelf.topics.get(contestant.partitions, ""),
                dead_letters=shelf.dead_letters,
                group=f"bench-{uuid.uuid4().hex[:12]}",
                documents=str(orders.path),
                folder=str(shelf.folder),
                url=server.mariadb.url,
                database=name,
            )
            before = server.cpu_seconds()
            taken = self._run(f"tests.bench.{command}.{contestant.module}", task)
            taken = replace(taken, store_cpu_seconds=server.cpu_seconds() - before)
            _check(contestant, server.holds(name), _expected(command, contestant, orders.facts))
        return taken

    def _topic(self, there: ExitStack, partitions: int) -> str:
        topic = self.broker.new_topic(partitions)
        there.callback(self.broker.delete_topic, topic)
        return topic

    def _fill(self, topic: str, count: int) -> None:
        producer = Producer({**self.broker.kafka.properties(), **PRODUCER})
        for at, (number, document) in enumerate(messages(count), start=1):
            producer.produce(topic, document, number)
            if at % MOST_AT_ONCE == 0:
                producer.flush()
        producer.flush()

    def _run(self, module: str, task: ParseTask | LoadTask) -> Lap:
        before = self.broker.cpu_seconds()
        taken = lap.run(module, task, self.folder)
        after = self.broker.cpu_seconds()
        return taken if before is None or after is None else replace(taken, broker_cpu_seconds=after - before)


def _expected(command: str, contestant: Contestant, facts: Facts) -> dict[str, int]:
    """What the tables must hold: those of all four, or of the lines alone; who was there is known to ours alone."""
    is_ours = contestant.part is (Part.VARIANT if command == FLINK_WALMART else Part.OURS)
    is_whole = is_ours or contestant.part is Part.CEILING
    rows = facts.rows if is_whole else {**dict.fromkeys(facts.rows, 0), "order": facts.order}
    return {**rows, "version": facts.orders if is_ours else 0, "cents": facts.cents}


def _check(contestant: Contestant, found: dict[str, int], expected: dict[str, int]) -> None:
    if found != expected:
        message = f"{contestant.name} gave {found}, not {expected}"
        raise LapError(message)
