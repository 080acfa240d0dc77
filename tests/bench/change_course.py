"""Where the races with changes are run: applied to PostgreSQL, and captured from it, every run checked."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, Producer, TopicPartition
from tests.python.support import topics

from . import lap
from .changes import FIELDS, OWN_ROWS, UNIQUE, Backlog, Events, Load
from .clients import CONSUMER, PRODUCER, value_of
from .cluster import TABLE, WITHOUT_KEY, Cluster, cluster
from .contestants import CDC_TO_POSTGRES, CONTESTANTS, POSTGRES_TO_KAFKA, Contestant, Part
from .lap import Lap, LapError
from .postgres_to_kafka import writers
from .race import Race
from .task import ApplyTask, CaptureTask, ChangeTask

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from concurrent.futures import Future

    from _typeshed import DataclassInstance

    from .broker import Broker

PARTITIONS = 3
"""As many as the topic has that the pipeline makes."""
WARMER = next(one for one in CONTESTANTS[CDC_TO_POSTGRES] if one.part is Part.CEILING)
MOST_AT_ONCE = 10_000
"""Changes between two looks at what the broker has."""
READY_SECONDS = 60
QUIET_SECONDS = 5
"""After which nothing is expected any more: several pauses of the slowest."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Shelf:
    """The changes as each of the contestants takes them."""

    rows: Path
    """The file for COPY."""
    topic: str
    dead_letters: str


@dataclass(frozen=True)
class ChangeCourse:
    """A Kafka and a folder for races with changes; the database is started for them."""

    broker: Broker
    folder: Path

    def apply_race(self, events: Events, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants apply the changes, or those that are named."""
        race = Race(CDC_TO_POSTGRES, events)
        with cluster() as server, self.shelf(events, server) as shelf:
            # The first lap is slower than those after it: the server's files grow.
            self.apply(WARMER, events, server, shelf)
            race.run(rounds, names, lambda contestant: self.apply(contestant, events, server, shelf))
        return race

    def backlog_race(self, backlog: Backlog, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants capture what waits, or those that are named."""
        with cluster() as server, server.source(backlog.statements) as name:
            race = Race(POSTGRES_TO_KAFKA, backlog)
            race.run(rounds, names, lambda contestant: self.capture(contestant, backlog, server, name))
        return race

    def delay_race(self, load: Load, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants capture what others write meanwhile, or those that are named."""
        race = Race(POSTGRES_TO_KAFKA, load)
        with cluster() as server:
            race.run(rounds, names, lambda contestant: self.follow(contestant, load, server))
        return race

    @contextmanager
    def shelf(self, events: Events, server: Cluster) -> Generator[Shelf, None, None]:
        """The changes on a topic, and their rows as COPY takes them fastest, for a while."""
        with ExitStack() as there:
            rows = Path(there.enter_context(TemporaryDirectory(dir=self.folder))) / "rows"
            server.write_binary(events.copied, rows)
            topic, dead_letters = (there.enter_context(self.topic(count)) for count in (PARTITIONS, 1))
            self._fill(topic, events)
            yield Shelf(rows, topic, dead_letters)

    @contextmanager
    def topic(self, partitions: int = PARTITIONS) -> Generator[str, None, None]:
        """A topic for a while; the one with our position goes with it."""
        topic = self.broker.new_topic(partitions)
        try:
            yield topic
        finally:
            self.broker.delete_topic(topic)
            position = f"{topic}_position"
            if topics.partitions(self.broker.kafka, position):
                topics.delete(self.broker.kafka, position)

    def apply(self, contestant: Contestant, events: Events, server: Cluster, shelf: Shelf) -> Lap:
        """Let a contestant apply the changes to an empty table."""
        count = events.slow_rows if contestant.is_slow else events.rows
        table = WITHOUT_KEY if contestant.part is Part.CEILING and events.shape is not UNIQUE else TABLE
        with server.target() as name:
            task = ApplyTask(
                servers=self.broker.servers,
                topic=shelf.topic,
                dead_letters=shelf.dead_letters,
                group=f"bench-{uuid.uuid4().hex[:12]}",
                events=str(events.path),
                count=count,
                rows=str(shelf.rows),
                copy_into=table,
                url=server.postgres.url_of(name),
            )
            taken = self._run(server, f"tests.bench.{CDC_TO_POSTGRES}.{contestant.module}", task)
            expected = events.all_rows if contestant.part is Part.CEILING else events.state_after(count)
            _check(contestant, "the table", server.holds(name, table), expected)
            _check(contestant, "the ledger", server.ledger(name), count if contestant.keeps_ledger else 0)
        return taken

    def capture(self, contestant: Contestant, backlog: Backlog, server: Cluster, name: str) -> Lap:
        """Let a contestant bring all that a source has logged onto an empty topic."""
        with self.topic() as topic:
            task = self.capture_task(contestant, server, name, topic)
            taken = self._run(server, f"tests.bench.{POSTGRES_TO_KAFKA}.{contestant.module}", task)
            messages = topics.messages(self.broker.kafka, topic)
        found = sorted((_change(message.key, message.value or b"") for message in messages), key=itemgetter(0))
        expected = [(number, str(row[0]), *row) for number, *row in server.logged(name)]
        _check(contestant, "the change table", len(expected), backlog.rows)
        _check(contestant, "the topic", len(found), backlog.rows)
        wrong = next((pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]), None)
        if wrong is not None:
            _check(contestant, "a message", *wrong)
        return taken

    def follow(self, contestant: Contestant, load: Load, server: Cluster) -> Lap:
        """Let a contestant capture what writers commit meanwhile; how long each change took, and what never came."""
        with ExitStack() as there:
            name = there.enter_context(server.source(writers.before(load)))
            topic = there.enter_context(self.topic())
            stop = Path(there.enter_context(TemporaryDirectory(dir=self.folder))) / "stop"
            pool = there.enter_context(ThreadPoolExecutor())
            there.callback(stop.touch)
            task = self.capture_task(contestant, server, name, topic, stop)
            module = f"tests.bench.{POSTGRES_TO_KAFKA}.{contestant.module}"
            capturing = pool.submit(self._run, server, module, task)
            arrivals = Arrivals(self.broker, topic)
            there.callback(arrivals.close)
            arrivals.read_until(load.writers * OWN_ROWS, capturing)
            change = ChangeTask(server.postgres.url_of(name), load.transactions, load.writers)
            writing = pool.submit(lap.run, writers.__name__, change, self.folder)
            while not writing.done():
                arrivals.read(capturing)
            committed: dict[str, float] = writing.result().said["committed"]
            _check(contestant, "the writers", len(committed), load.rows)
            arrivals.read_until(load.writers * OWN_ROWS + load.rows, capturing, QUIET_SECONDS)
            stop.touch()
            taken = capturing.result()
        said = taken.said | delays_of(contestant, committed, arrivals.seen)
        return replace(taken, seconds=writing.result().seconds, said=said)

    def capture_task(
        self, contestant: Contestant, server: Cluster, name: str, topic: str, stop: Path | str = ""
    ) -> CaptureTask:
        """What a contestant is told to capture; without a file that stops it, what waits."""
        url = server.postgres.url_of(name)
        return CaptureTask(self.broker.servers, topic, url, contestant.poll_ms, str(stop))

    def _fill(self, topic: str, events: Events) -> None:
        producer = Producer({**self.broker.kafka.properties(), **PRODUCER})
        with events.path.open("rb") as lines:
            for at, line in enumerate(lines, start=1):
                value = line.rstrip(b"\n")
                producer.produce(topic, value, str(json.loads(value)[FIELDS[0]]))
                if at % MOST_AT_ONCE == 0:
                    producer.flush()
        producer.flush()

    def _run(self, server: Cluster, module: str, task: DataclassInstance) -> Lap:
        before, server_before = self.broker.cpu_seconds(), server.cpu_seconds()
        taken = lap.run(module, task, self.folder)
        after, server_after = self.broker.cpu_seconds(), server.cpu_seconds()
        broker = None if before is None or after is None else after - before
        return replace(taken, broker_cpu_seconds=broker, store_cpu_seconds=server_after - server_before)


class Arrivals:
    """A `read_committed` consumer, which notes when each change arrived."""

    def __init__(self, broker: Broker, topic: str) -> None:
        settings = {**CONSUMER, **broker.kafka.properties(), "group.id": f"{topic}-arrivals", "fetch.wait.max.ms": 10}
        self.seen: list[tuple[str | None, float]] = []
        """City and time."""
        self._consumer = Consumer(settings)
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        self._latest = time.monotonic()

    def read(self, capturing: Future[Lap]) -> None:
        """Take the next message, if there is one.

        Raises:
            LapError: The contestant has ended.
        """
        message = self._consumer.poll(POLL_SECONDS)
        if message is not None:
            self._latest = time.monotonic()
            self.seen.append((json.loads(value_of(message))["emp_city"], self._latest))
        elif capturing.done():
            what = f"A contestant that was not told to stop has ended: {capturing.result()}"
            raise LapError(what)

    def read_until(self, count: int, capturing: Future[Lap], quiet_seconds: float = READY_SECONDS) -> None:
        """Take messages until there were so many, or none has come for a while."""
        self._latest = time.monotonic()
        while len(self.seen) < count and time.monotonic() < self._latest + quiet_seconds:
            self.read(capturing)

    def close(self) -> None:
        """Leave the topic."""
        self._consumer.close()


def delays_of(
    contestant: Contestant, committed: dict[str, float], seen: Sequence[tuple[str | None, float]]
) -> dict[str, float]:
    """How long changes took in milliseconds, and how many never came; ours may miss none, and nobody may send more.

    Raises:
        LapError: It is so, or nothing came at all.
    """
    found = Counter(city for city, _ in seen if city is not None)
    surplus = found - Counter(committed.keys())
    _check(contestant, "messages twice, or of what was not committed", surplus.total(), 0)
    delays = sorted((at - committed[city]) * 1_000 for city, at in seen if city is not None)
    missed = len(committed) - len(delays)
    if contestant.part is Part.OURS or not delays:
        _check(contestant, "the missed changes", missed, 0)
    p50, p99 = (delays[min(len(delays) - 1, len(delays) * share // 100)] for share in (50, 99))
    return {"p50_ms": p50, "p99_ms": p99, "longest_ms": delays[-1], "missed": missed}


def _change(key: bytes | None, value: bytes) -> tuple[Any, ...]:
    """Number, key and values of a message; the original's `None` is no date."""
    fields = json.loads(value)
    dob = fields["emp_dob"]
    row = [None if dob == "None" and name == "emp_dob" else fields[name] for name in FIELDS]
    return fields["action_id"], (key or b"").decode(), *row, fields["action"]


def _check(contestant: Contestant, what: str, found: object, expected: object) -> None:
    if found != expected:
        message = f"{contestant.name}: {what}: {found}, not {expected}"
        raise LapError(message)
