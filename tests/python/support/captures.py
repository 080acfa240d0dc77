"""One run of `postgres_to_kafka`: a database, a topic, and what must be on it in the end; and a replica behind it."""

from __future__ import annotations

import json
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.python.support import sources, topics
from tests.python.support.applies import Apply
from tests.python.support.children import Child, Ended, succeed, wait_until
from tests.python.support.shapes import EMPLOYEES, Shape

from pipeline_core import postgres_to_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.python.support.sources import Committed
    from tests.services.kafka import Kafka
    from tests.services.postgres import Postgres

    from pipeline_core import Stop
    from pipeline_core.report import DatabaseReport, Report

COMMAND = "postgres-to-kafka"
SNAPSHOT = {"pipeline_core.snapshot": "true"}
OF_OTHERS = {"of": "others"}
POLL_MS = 10


@dataclass
class Capture:
    """What the tests of `postgres_to_kafka` need of the world.

    Attributes:
        kafka: The broker.
        source: The server, as the tests see it.
        folder: Where runs have their working folder.
        partitions: How many the topic has.
        shape: The table and its mapping.
        changes: The table of the changes.
        settings: What runs are told; changed by keyword arguments of `run`, `worker` and `work`.
    """

    kafka: Kafka
    source: Postgres
    folder: Path
    partitions: int = 3
    shape: Shape = EMPLOYEES
    changes: str = sources.CHANGES
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.database = self.source.new_database()
        self.url = self.source.url_of(self.database)
        self.topic = self.kafka.new_topic(self.partitions)
        mapping = {} if self.shape is EMPLOYEES else {"mapping": self.shape.setting()}
        self.settings = {
            "topic": self.topic,
            "bootstrap_servers": self.kafka.bootstrap,
            "table": self.changes,
            "snapshot_table": self.shape.table,
            "poll_interval_ms": POLL_MS,
            "until": "end",
            **mapping,
            **self.settings,
        }

    def init(self) -> DatabaseReport:
        """Make the tables and the triggers."""
        given = {name: self.settings[name] for name in ("table", "snapshot_table", "mapping") if name in self.settings}
        return postgres_to_kafka.init_db(source_url=self.url, **given)

    def run(self, *, stop: Stop | None = None, **changed: Any) -> Report:
        """Capture in this process."""
        return postgres_to_kafka.run(stop=stop, source_url=self.url, **{**self.settings, **changed})

    def worker(self, *, fault: str = "", **changed: Any) -> Child:
        """Start a process that captures; the URL, which has a password, is in its environment."""
        return Child(self.folder, COMMAND, fault=fault, environment={"SOURCE_URL": self.url}, **self._flags(changed))

    def work(self, **changed: Any) -> Ended:
        """Run a process until it has sent what is committed; it must end well."""
        return succeed(self.folder, COMMAND, environment={"SOURCE_URL": self.url}, **self._flags(changed))

    def _flags(self, changed: dict[str, Any]) -> dict[str, Any]:
        given = {**self.settings, **changed, "log_format": "json", "json": True}
        return given | ({"mapping": json.dumps(given["mapping"])} if "mapping" in given else {})

    @contextmanager
    def session(self, *, autocommit: bool = True, **options: Any) -> Iterator[Any]:
        """A session of our own in the database."""
        connection = self.source.connect(self.database, autocommit=autocommit, **options)
        try:
            yield connection
        finally:
            connection.close()

    def query(self, *statements: str) -> list[tuple[Any, ...]]:
        """Do these, each in a transaction of its own; what the last one gives."""
        with self.session() as session:
            found = [session.execute(statement) for statement in statements][-1]
            return found.fetchall() if found.description else []

    def committed(self) -> list[Committed]:
        """All changes of the change table by their number."""
        with self.session() as session:
            return sources.committed(session, self.shape, self.changes)

    def rows(self) -> dict[str, tuple[str | None, ...]]:
        """The table's rows as text, by their first column."""
        with self.session() as session:
            return sources.rows(session, self.shape.table, [column.name for column in self.shape.columns])

    def messages(self) -> list[topics.Message]:
        """What a `read_committed` reader sees of the topic."""
        return topics.messages(self.kafka, self.topic)

    def numbers(self) -> list[int]:
        """The numbers of the changes on the topic, sorted."""
        return sorted(sources.number_of(message, self.shape.id_field) for message in self.messages())

    def sent(self) -> int:
        """How much has been put on the topic so far, whether it counts or not."""
        admin = AdminClient({**self.kafka.properties(), **topics.QUIET})
        parts = [TopicPartition(self.topic, at) for at in range(self.partitions)]
        asked = admin.list_offsets({part: OffsetSpec.latest() for part in parts})
        return sum(found.result(timeout=30).offset for found in asked.values())

    def disturb(self, number: int) -> None:
        """Put a message of others, which is no change, on a partition of the topic."""
        producer = Producer({**self.kafka.properties(), **topics.QUIET})
        value = b'{"action_id": %d' % number
        producer.produce(self.topic, value, b"of others", number % self.partitions, headers=[*OF_OTHERS.items()])
        assert producer.flush(topics.SECONDS) == 0

    def wait_until_sent(self, *workers: Child, count: int | None = None, seconds: float = 60) -> None:
        """Wait until so many changes are on the topic, without a count all that are committed; the workers must live.

        With a snapshot its rows are counted too.
        """
        wanted = len(self.committed()) if count is None else count

        def is_so() -> bool:
            for worker in workers:
                assert worker.is_running, f"It ended with {worker.process.returncode}:\n{worker.said[-3000:]}"
            return self.sent() >= wanted and len(self.messages()) >= wanted

        wait_until(is_so, f"{wanted} changes are on {self.topic}", seconds)

    def assert_exact(
        self, messages: list[topics.Message] | None = None, *, after: int = 0, generation: int = 0
    ) -> None:
        """Each committed change is on the topic once, byte for byte, those of a key in order and on its partition.

        Args:
            messages: What to look at, where it is not the whole topic.
            after: The last change that need not be there.
            generation: What the headers say.
        """
        expected = {change.number: change for change in self.committed() if change.number > after}
        assert expected, "Nothing is committed: the test sees nothing"
        found = self.messages() if messages is None else messages
        by_number: dict[int, topics.Message] = {}
        last: dict[bytes, int] = {}
        for message in sorted(found, key=lambda message: message.offset):
            number = sources.number_of(message, self.shape.id_field)
            assert number not in by_number, f"Change {number} is there twice"
            by_number[number] = message
            # Without a key a message may be on any partition.
            if message.key is not None:
                assert number > last.get(message.key, 0), f"Change {number} of {message.key} comes after a later one"
                last[message.key] = number
        missing, surplus = expected.keys() - by_number.keys(), by_number.keys() - expected.keys()
        assert not missing, f"{len(missing)} of {len(expected)} changes are missing: {sorted(missing)[:3]}"
        assert not surplus, f"{len(surplus)} changes are there that should not: {sorted(surplus)[:3]}"
        headers = {"pipeline_core.generation": str(generation)} if generation else {}
        for number, message in by_number.items():
            assert (message.key, message.value) == (expected[number].key, expected[number].value)
            assert message.headers == headers, message
            if message.key is not None:
                assert message.partition == zlib.crc32(message.key) % self.partitions, message


class Follower(Apply):
    """A target behind a source, which ends each transaction on the topic with an offset of its own."""

    def is_at_end(self) -> bool:
        """Whether the database holds a position after the last message of each partition."""
        last = {message.partition: message.offset for message in self.messages()}
        assert last, "The topic is empty: the test sees nothing"
        found, ends = self.positions(), self.ends()
        return all(offset < (found.get(at) or 0) <= ends[at] for at, offset in last.items())

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of the table and of the ledger as text, with their times and versions."""
        tables = ("employees", "processed_events")
        return {table: self.query(f"SELECT whole::text FROM {table} AS whole ORDER BY 1") for table in tables}


@dataclass
class Replication:
    """A source, its topic and a target.

    Attributes:
        capture: The side of the source.
        apply: The side of the target.
    """

    capture: Capture
    apply: Follower

    @classmethod
    def begun(
        cls, kafka: Kafka, source: Postgres, target: Postgres, folder: Path, partitions: int = 3, **settings: Any
    ) -> Replication:
        """Both sides with their tables, and an empty topic.

        Args:
            kafka: The broker.
            source: The server of the source.
            target: The server of the target.
            folder: Where runs have their working folder.
            partitions: How many the topic has.
            **settings: Of the target.
        """
        capture = Capture(kafka, source, folder, partitions)
        capture.init()
        return cls(capture, replica_of(capture, target, **settings))

    def work(self) -> None:
        """Bring over what is committed."""
        self.capture.work()
        self.apply.work()

    def fingerprints(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """How many rows source and target have, and their hashes."""
        with self.capture.session() as source, self.apply.postgres.connect(self.apply.database) as target:
            return sources.fingerprint(source), sources.fingerprint(target)

    def assert_same(self, *, twice: bool = False) -> None:
        """Both tables are the same; every change is on the topic once; each message was applied or is a dead letter.

        Args:
            twice: Whether a dead letter may be there twice: what was killed between sending and forgetting it.
        """
        source, target = self.fingerprints()
        assert source[0] > 0, "The source is empty: the test sees nothing"
        if source != target:
            with self.apply.postgres.connect(self.apply.database) as connection:
                sources.assert_same_rows(sources.rows(connection), self.capture.rows())
        assert source == target
        ours = [message for message in self.capture.messages() if message.headers != OF_OTHERS]
        self.capture.assert_exact(ours)
        expected = self.apply.assert_exact(twice=twice)
        assert len(expected.ledger) == len(ours)


def replica_of(capture: Capture, target: Postgres, **settings: Any) -> Follower:
    """A target of its own for a source's topic, with its tables."""
    apply = Follower(
        capture.kafka, target, capture.folder, partitions=capture.partitions, topic=capture.topic, settings=settings
    )
    apply.init()
    return apply
