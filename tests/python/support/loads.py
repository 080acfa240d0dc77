"""One load of `walmart_to_mysql`: a topic of orders, a database, and what the tables must hold in the end."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.python.support import topics
from tests.python.support.children import Child, Ended, succeed, wait_until
from tests.python.support.order_columns import KEYS, TABLES, Row, Rules, loads, newest

from pipeline_core import walmart_to_mysql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb

    from pipeline_core.report import Report

# A message is an order, or a key and a value.
Sent = bytes | tuple[bytes | None, bytes | None]
# Rows of each table.
Dump = dict[str, list[Row]]

POSITION = "pipeline_core_position"
OUTBOX = "pipeline_core_dead_letter"
ORDER = "walmart_order"
ALL_TABLES = {"order": ORDER, **{name: f"{ORDER}_{name}" for name in ("charge", "status", "refund")}}
CLOCKS_APART = timedelta(seconds=3)


@dataclass
class Load:
    """What the tests of `walmart_to_mysql` need of the world.

    Attributes:
        kafka: The broker.
        mariadb: The server, as the tests see it.
        folder: Where loaders run.
        url: Where loaders reach the server.
        partitions: How many the topic has; an order is always on the same.
        topic: A topic that is there already.
        settings: What loaders are told; changed by keyword arguments of `run`, `worker` and `work`.
    """

    kafka: Kafka
    mariadb: Mariadb
    folder: Path
    url: str | None = None
    partitions: int = 1
    topic: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.topic = self.topic or self.kafka.new_topic(self.partitions)
        self.database = self.mariadb.new_database()
        self.letters_topic = f"{self.topic}-{self.database}"
        self.settings = {
            "topic": self.topic,
            "group_id": self.database,
            "bootstrap_servers": self.kafka.bootstrap,
            "database": self.database,
            "dead_letter_topic": self.letters_topic,
            "session_timeout_seconds": 1.5,
            "until": "end",
            **self.settings,
        }

    def init(self, **settings: Any) -> None:
        """Make the database and its tables."""
        walmart_to_mysql.init_db(mysql_url=self.mariadb.url, database=self.database, **settings)

    def run(self, **changed: Any) -> Report:
        """Load in this process."""
        return walmart_to_mysql.run(mysql_url=self.url or self.mariadb.url, **{**self.settings, **changed})

    def worker(self, *, fault: str = "", **changed: Any) -> Child:
        """Start a loader; the URL, which has a password, is in its environment."""
        given = {**self.settings, **changed, "log_format": "json", "json": True}
        return Child(self.folder, "walmart-to-mysql", fault=fault, environment=self.environment, **given)

    def work(self, **changed: Any) -> Ended:
        """Run a loader until the topic's end; it must end well."""
        given = {**self.settings, **changed, "log_format": "json", "json": True}
        return succeed(self.folder, "walmart-to-mysql", environment=self.environment, **given)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a loader to the server."""
        return {"MYSQL_URL": self.url or self.mariadb.url}

    def send(self, *sent: Sent) -> None:
        """Put messages on the topic: an order under its number on the partition of that; what is none on the first."""
        send(self.kafka, self.topic, self.partitions, sent)

    def query(self, statement: str, *values: object) -> list[Row]:
        """What a statement gives."""
        with self.session() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    @contextmanager
    def session(self, *, autocommit: bool = True) -> Iterator[Any]:
        """A cursor of a session of our own in the database, which gives rows as dicts."""
        from pymysql.cursors import DictCursor

        connection = self.mariadb.connect(self.database, autocommit=autocommit, cursorclass=DictCursor)
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def rows(self, table: str) -> list[Row]:
        """A table's rows by their key."""
        return self.query(f"SELECT * FROM {ALL_TABLES[table]} ORDER BY {', '.join(KEYS[table])}")

    def tables(self) -> set[str]:
        """The names of the database's tables."""
        return {name for row in self.query("SHOW TABLES") for name in row.values()}

    def dump(self) -> Dump:
        """All rows of the four tables, with the time of their load."""
        return {table: self.rows(table) for table in TABLES}

    def positions(self) -> dict[int, int]:
        """The position of each partition that the database holds."""
        asked = f"SELECT topic_partition, next_offset FROM {POSITION} WHERE topic = %s"
        found = self.query(asked, self.topic)
        assert len({row["topic_partition"] for row in found}) == len(found), found
        return {row["topic_partition"]: row["next_offset"] for row in found}

    def ends(self) -> dict[int, int]:
        """The end of each partition."""
        admin = AdminClient({**self.kafka.properties(), **topics.QUIET})
        asked = admin.list_offsets(
            {TopicPartition(self.topic, at): OffsetSpec.latest() for at in range(self.partitions)}
        )
        return {part.partition: found.result(timeout=30).offset for part, found in asked.items()}

    def is_at_end(self) -> bool:
        """Whether the database holds the topic's ends; of an empty partition it need not know."""
        ends = {partition: end for partition, end in self.ends().items() if end}
        assert ends, "The topic is empty: the test sees nothing"
        return {partition: at for partition, at in self.positions().items() if at} == ends

    def wait_until_loaded(self, *workers: Child, seconds: float = 60) -> None:
        """Wait until the database holds the topic's ends; the workers must live."""

        def is_so() -> bool:
            for worker in workers:
                assert worker.is_running, f"It ended with {worker.process.returncode}:\n{worker.said[-3000:]}"
            return self.is_at_end()

        wait_until(is_so, f"{self.topic} is loaded", seconds)

    def letters(self) -> list[topics.Message]:
        """The dead letters so far."""
        found = topics.messages(self.kafka, self.letters_topic)
        return sorted(found, key=lambda letter: letter.offset)

    def refused(self) -> list[tuple[int, int]]:
        """Partition and offset of each dead letter, sorted."""
        headers = [letter.headers for letter in self.letters()]
        return sorted(
            (int(given["__connect.errors.partition"]), int(given["__connect.errors.offset"])) for given in headers
        )

    def assert_exact(self, sent: Iterable[bytes], rules: Rules | None = None) -> None:
        """The tables hold the newest snapshot of each order, every column of it, and the position is the topic's end.

        Args:
            sent: The good orders in the order of their offsets.
            rules: Where they are not the default.
        """
        expected = (rules or Rules()).all_tables(newest(sent))
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        found = self.dump()
        for row in found["order"]:
            assert row["load_time"] <= now + CLOCKS_APART, "The time of the load is UTC"
            row["load_time"] = None
            row.pop("raw", None)
        for table, rows in expected.items():
            assert_same_rows(table, found[table], rows)
        assert self.is_at_end(), (self.positions(), self.ends())
        assert self.query(f"SELECT COUNT(*) AS letters FROM {OUTBOX}") == [{"letters": 0}]


def assert_same_rows(table: str, found: Sequence[Row], expected: Sequence[Row]) -> None:
    """Two sets of rows are the same, every column; says which are not."""
    assert expected or table != "order", "Nothing was expected: the test sees nothing"
    by_key = [{tuple(row[name] for name in KEYS[table]): row for row in rows} for rows in (found, expected)]
    assert len(by_key[1]) == len(expected), f"{table}: the check itself has two rows of one key"
    missing, surplus = by_key[1].keys() - by_key[0].keys(), by_key[0].keys() - by_key[1].keys()
    assert not missing, f"{table}: {len(missing)} of {len(expected)} rows are missing: {sorted(missing)[:3]}"
    assert not surplus, f"{table}: {len(surplus)} rows are there that should not: {sorted(surplus)[:3]}"
    assert len(found) == len(expected), f"{table}: a key is there twice"
    for key, row in by_key[1].items():
        other = by_key[0][key]
        assert list(other) == list(row), f"{table}: the columns are {list(other)}"
        wrong = {name: (other[name], value) for name, value in row.items() if not is_same(other[name], value)}
        assert not wrong, f"{table} {key}: found and expected are {wrong}"


def is_same(one: object, other: object) -> bool:
    """Equal, and of one type: 1 is not 1.00, and no text is a number."""
    return type(one) is type(other) and one == other


def send(kafka: Kafka, topic: str, partitions: int, sent: Iterable[Sent]) -> None:
    """Put messages on a topic; see `Load.send`."""
    producer = Producer({**kafka.properties(), **topics.QUIET, "message.max.bytes": 16_000_000, "linger.ms": 5})
    for message in sent:
        if isinstance(message, tuple):
            producer.produce(topic, message[1], message[0], 0)
        else:
            key = str(loads(message)["purchaseOrderId"])
            producer.produce(topic, message, key, int(key) % partitions)
        producer.poll(0)
    assert producer.flush(topics.SECONDS) == 0
