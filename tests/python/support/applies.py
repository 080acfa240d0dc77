"""One run of `cdc_to_postgres`: a topic of changes, a database, and what must be in it in the end."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.python.support import topics
from tests.python.support.children import Child, Ended, succeed, wait_until
from tests.python.support.letters import Letter, letter
from tests.python.support.replicas import Place, Replica
from tests.python.support.shapes import EMPLOYEES, Key, Shape, Values

from pipeline_core import cdc_to_postgres, dlq

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.python.support.events import Sent
    from tests.services.kafka import Kafka
    from tests.services.postgres import Postgres

    from pipeline_core.dead_letters import ReplayReport
    from pipeline_core.report import DatabaseReport, Report

Row = dict[str, Any]

COMMAND = "cdc-to-postgres"
LEDGER = "processed_events"
POSITION = "pipeline_core_position"
OUTBOX = "pipeline_core_dead_letter"
TOMBSTONE = "pipeline_core_tombstone"


@dataclass
class Apply:
    """What the tests of `cdc_to_postgres` need of the world.

    Attributes:
        kafka: The broker.
        postgres: The server, as the tests see it.
        folder: Where runs have their working folder.
        url: Where runs reach the database; without it, as the tests do.
        partitions: How many the topic has; a key is always on the same.
        topic: A topic that is there already.
        database: A database that is there already.
        shape: The table and its mapping.
        settings: What runs are told; changed by keyword arguments of `run`, `worker` and `work`.
    """

    kafka: Kafka
    postgres: Postgres
    folder: Path
    url: str | None = None
    partitions: int = 1
    topic: str = ""
    database: str = ""
    shape: Shape = EMPLOYEES
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.topic = self.topic or self.kafka.new_topic(self.partitions)
        self.database = self.database or self.postgres.new_database()
        self.letters_topic = f"{self.topic}-{self.database}"
        mapping = {} if self.shape is EMPLOYEES else {"mapping": self.shape.setting(), "table": self.shape.table}
        self.settings = {
            "topic": self.topic,
            "group_id": self.database,
            "bootstrap_servers": self.kafka.bootstrap,
            "dead_letter_topic": self.letters_topic,
            "session_timeout_seconds": 1.5,
            "until": "end",
            **mapping,
            **self.settings,
        }

    @property
    def target(self) -> str:
        """Where runs reach the database."""
        return self.url or self.postgres.url_of(self.database)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to the database; the URL has a password."""
        return {"TARGET_URL": self.target}

    def init(self, **settings: Any) -> DatabaseReport:
        """Make the tables."""
        given = {name: value for name, value in self.settings.items() if name in {"mapping", "table"}}
        return cdc_to_postgres.init_db(target_url=self.postgres.url_of(self.database), **{**given, **settings})

    def run(self, **changed: Any) -> Report:
        """Apply in this process."""
        return cdc_to_postgres.run(target_url=self.target, **{**self.settings, **changed})

    def worker(self, *, fault: str = "", **changed: Any) -> Child:
        """Start a process that applies."""
        return Child(self.folder, COMMAND, fault=fault, environment=self.environment, **self._flags(changed))

    def work(self, **changed: Any) -> Ended:
        """Run a process until the topic's end; it must end well."""
        return succeed(self.folder, COMMAND, environment=self.environment, **self._flags(changed))

    def _flags(self, changed: dict[str, Any]) -> dict[str, Any]:
        given = {**self.settings, **changed, "log_format": "json", "json": True}
        return given | ({"mapping": json.dumps(given["mapping"])} if "mapping" in given else {})

    def send(self, *sent: Sent) -> None:
        """Put messages on the topic."""
        producer = Producer({**self.kafka.properties(), **topics.QUIET, "linger.ms": 5, "message.max.bytes": 4_000_000})
        for message in sent:
            place = message.of(self.partitions)
            producer.produce(self.topic, message.value, message.key, place, headers=[*message.headers.items()])
            producer.poll(0)
        assert producer.flush(topics.SECONDS) == 0

    def messages(self) -> list[topics.Message]:
        """All that is on the topic."""
        return topics.messages(self.kafka, self.topic)

    @contextmanager
    def session(self, *, autocommit: bool = True) -> Iterator[Any]:
        """A session of our own in the database, which gives rows as dicts."""
        from psycopg.rows import dict_row

        connection = self.postgres.connect(self.database, autocommit=autocommit, row_factory=dict_row)
        try:
            yield connection
        finally:
            connection.close()

    def query(self, statement: str, *values: object) -> list[Row]:
        """What a statement gives."""
        with self.session() as session:
            found = session.execute(statement, values or None)
            return found.fetchall() if found.description else []

    def rows(self) -> dict[Key, Values]:
        """The table's rows by their key, each value as PostgreSQL's text."""
        return self._texts(self.query(f"SELECT {self._columns} FROM {self.shape.table}"))

    def canonical(self, rows: Iterable[Values]) -> dict[Key, Values]:
        """Rows as the server would give them back."""
        names = [column.name for column in self.shape.columns]
        values = ", ".join(f"%s::text::{column.type}" for column in self.shape.columns)
        insert = f"INSERT INTO wanted ({', '.join(names)}) VALUES ({values})"
        with self.session() as session:
            session.execute(f"CREATE TEMP TABLE wanted AS SELECT {', '.join(names)} FROM {self.shape.table} LIMIT 0")
            session.cursor().executemany(insert, [[row[name] for name in names] for row in rows])
            return self._texts(session.execute(f"SELECT {self._columns} FROM wanted").fetchall())

    @property
    def _columns(self) -> str:
        """All columns as text; JSON without its blanks."""
        texts = {"json": "::jsonb::text"}
        return ", ".join(
            f"{column.name}{texts.get(column.type, '::text')} AS {column.name}" for column in self.shape.columns
        )

    def _texts(self, found: Sequence[Row]) -> dict[Key, Values]:
        by_key = {self.shape.key_of(row): row for row in found}
        assert len(by_key) == len(found), "A key is there twice"
        return by_key

    def dump(self) -> dict[str, list[Row]]:
        """All rows of the table and of the ledger, with their times and versions."""
        key = ", ".join(self.shape.key)
        return {
            "table": self.query(f"SELECT * FROM {self.shape.table} ORDER BY {key}"),
            "ledger": self.query(f"SELECT * FROM {LEDGER} ORDER BY action_id"),
        }

    def positions(self) -> dict[int, int]:
        """The position of each partition that the database holds."""
        asked = f"SELECT topic_partition, next_offset FROM {POSITION} WHERE topic = %s"
        found = self.query(asked, self.topic)
        assert len({row["topic_partition"] for row in found}) == len(found), found
        return {row["topic_partition"]: row["next_offset"] for row in found}

    def ends(self) -> dict[int, int]:
        """The end of each partition."""
        admin = AdminClient({**self.kafka.properties(), **topics.QUIET})
        parts = {TopicPartition(self.topic, at): OffsetSpec.latest() for at in range(self.partitions)}
        return {part.partition: found.result(timeout=30).offset for part, found in admin.list_offsets(parts).items()}

    def is_at_end(self) -> bool:
        """Whether the database holds the topic's ends; of an empty partition it need not know."""
        ends = {partition: end for partition, end in self.ends().items() if end}
        assert ends, "The topic is empty: the test sees nothing"
        return {partition: at for partition, at in self.positions().items() if at} == ends

    def wait_until_applied(self, *workers: Child, seconds: float = 60) -> None:
        """Wait until the database holds the topic's ends; the workers must live."""

        def is_so() -> bool:
            for worker in workers:
                assert worker.is_running, f"It ended with {worker.process.returncode}:\n{worker.said[-3000:]}"
            return self.is_at_end()

        wait_until(is_so, f"{self.topic} is applied", seconds)

    def letters(self) -> list[Letter]:
        """The dead letters so far, in the order of the topic that they were on."""
        return sorted(map(letter, self.raw_letters()), key=lambda one: one.place)

    def raw_letters(self) -> list[topics.Message]:
        """The messages of the dead-letter topic."""
        topics.wait_until_settled(self.kafka, self.letters_topic)
        return topics.messages(self.kafka, self.letters_topic)

    def refused(self) -> Counter[Place]:
        """How often each refused message is in the dead letters."""
        return Counter(letter.place for letter in self.letters())

    def replay(self, **settings: Any) -> ReplayReport:
        """Send dead letters again; a dry run tries them with the present settings."""
        trial = [cdc_to_postgres.Config(target_url=self.target, **self.settings)] if settings.get("dry_run") else None
        return dlq.replay(self.letters_topic, trial=trial, bootstrap_servers=self.kafka.bootstrap, **settings)

    def replica(self, messages: Iterable[topics.Message] | None = None, **rules: Any) -> Replica:
        """What must be in the database when the whole topic, or these messages of it, were applied to an empty one."""
        return Replica(self.shape, **rules).apply(self.messages() if messages is None else messages)

    def assert_exact(self, expected: Replica | None = None, *, twice: bool = False, ledger: bool = True) -> Replica:
        """Table, ledger, dead letters and positions are what the rules say; gives what was expected.

        Args:
            expected: Of the whole topic, where it is not `replica()`.
            twice: Whether a dead letter may be there twice: what was killed between sending and forgetting it.
            ledger: Whether the ledger is kept.
        """
        expected = expected or self.replica()
        assert expected.rows or expected.ledger or expected.letters, "Nothing was expected: the test sees nothing"
        assert_same("rows", self.rows(), self.canonical(expected.rows.values()))
        refused = self.refused()
        assert_same("dead letters", set(refused) | set(expected.loose), set(expected.letters))
        assert max(refused.values(), default=1) <= 1 + twice, refused.most_common(3)
        for one in self.letters():
            assert expected.letters[one.place] in one.reason, one
        self._assert_ledger(expected if ledger else Replica(), set(refused))
        assert self.is_at_end(), (self.positions(), self.ends())
        assert self.query(f"SELECT count(*) AS waiting FROM {OUTBOX}") == [{"waiting": 0}]
        return expected

    def _assert_ledger(self, expected: Replica, refused: set[Place]) -> None:
        found = {row["action_id"]: row for row in self.query(f"SELECT * FROM {LEDGER}")}
        overtaken = {change.number for place, change in expected.loose.items() if place not in refused}
        assert_same("ledger", {*found}, {*expected.ledger, *overtaken})
        for number, booked in expected.ledger.items():
            row = found[number]
            assert row["action"] == booked.action, row
            assert (row["kafka_partition"], row["kafka_offset"]) in booked.places, (row, booked)
            if self.shape is EMPLOYEES:
                assert row["emp_id"] == (int(booked.key[0]) if booked.key else None), (row, booked)


def assert_same(what: str, found: Any, expected: Any) -> None:
    """Two sets or dicts are the same; says where they are not."""
    missing, surplus = [*({*expected} - {*found})], [*({*found} - {*expected})]
    assert not missing, f"{what}: {len(missing)} of {len(expected)} are missing: {missing[:3]}"
    assert not surplus, f"{what}: {len(surplus)} are there that should not: {surplus[:3]}"
    if isinstance(found, dict):
        wrong = [(key, found[key], value) for key, value in expected.items() if found[key] != value]
        assert not wrong, f"{what}: {len(wrong)} differ; key, found and expected: {wrong[:3]}"
