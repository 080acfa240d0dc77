"""One collection that `mongo_to_kafka` brings to a topic, and what must be on it in the end."""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from confluent_kafka import Consumer, KafkaException, TopicPartition
from tests.python.support import documents, json_forms, topics
from tests.python.support.children import Child, Ended, run, succeed, wait_until

from pipeline_core import Stop, mongo_to_kafka

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pymongo import MongoClient
    from pymongo.collection import Collection
    from tests.services.kafka import Kafka
    from tests.services.mongodb import Mongodb

    from pipeline_core.report import Report

COMMAND = "mongo-to-kafka"
COLLECTION = "things"
OPERATION, CLUSTER_TIME = "pipeline_core.operation", "pipeline_core.cluster_time"


@dataclass
class Feed:
    """What the tests of `mongo_to_kafka` need of the world.

    Attributes:
        kafka: The broker.
        mongodb: The server, as the tests see it.
        folder: Where runs have their working folder.
        partitions: How many the topic has.
        database: Whose collection is fed; a new one unless it is given.
        settings: What runs are told; changed by keyword arguments of `run`, `worker` and `work`.
        topic_settings: Of the topic, as `Kafka.new_topic` takes them.
    """

    kafka: Kafka
    mongodb: Mongodb
    folder: Path
    partitions: int = 3
    database: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    topic_settings: dict[str, str] = field(default_factory=lambda: {"max_message_bytes": "20971520"})
    _kept: tuple[list[topics.Message], list[bytes]] | None = None

    def __post_init__(self) -> None:
        self.database = self.database or self.mongodb.new_database()
        self.topic = self.kafka.new_topic(self.partitions, **self.topic_settings)
        self.settings = {
            "topic": self.topic,
            "bootstrap_servers": self.kafka.bootstrap,
            "mongodb_database": self.database,
            "collection": COLLECTION,
            "data_type": "raw",
            "runtime_dir": str(self.folder / "runtime"),
            "poll_interval_ms": 50,
            "until": "end",
            **self.settings,
        }

    @cached_property
    def client(self) -> MongoClient[dict[str, Any]]:
        """A client of our own, closed when nobody needs the feed any more."""
        client = self.mongodb.client()
        weakref.finalize(self, client.close)
        return client

    @property
    def collection(self) -> Collection[dict[str, Any]]:
        """The collection, as the tests see it."""
        return self.client[self.database][self.settings["collection"]]

    def insert(self, *found: bytes | dict[str, Any]) -> None:
        """Put documents there, as bytes or as pymongo has them."""
        self.collection.insert_many(
            [RawBSONDocument(one) if isinstance(one, bytes) else one for one in found]  # type: ignore[list-item]
        )

    def keep(self) -> None:
        """Remember messages and documents: the servers are about to go."""
        self._kept = self.messages(), self.documents()

    def documents(self) -> list[bytes]:
        """The bytes of all documents that are there."""
        if self._kept:
            return self._kept[1]
        database: Any = self.client[self.database]
        raw = database.get_collection(self.settings["collection"], codec_options=documents.RAW)
        return [bytes(document.raw) for document in raw.find()]

    def run(self, *, stop: Stop | None = None, **changed: Any) -> Report:
        """Run in this process."""
        given = {"mongodb_uri": self.mongodb.url, **self.settings, **changed}
        return mongo_to_kafka.run(stop=stop, **given)

    @contextmanager
    def running(self, **changed: Any) -> Iterator[Run]:
        """Run in a thread of this process until the `with` ends."""
        found = Run(self, {"until": "stopped", **changed})
        with found:
            yield found

    def worker(self, *, fault: str = "", **changed: Any) -> Child:
        """Start a process that runs; what is changed to None is not set."""
        return Child(self.folder, COMMAND, fault=fault, **self._flags(changed))

    def work(self, **changed: Any) -> Ended:
        """Run a process to its end, which must be a good one."""
        return succeed(self.folder, COMMAND, **self._flags(changed))

    def fails(self, **changed: Any) -> Ended:
        """Run a process to its end, which must be an error."""
        ended = run(self.folder, COMMAND, **self._flags(changed))
        assert ended.code, f"It ended well:\n{ended.err[-3000:]}"
        return ended

    def cursor(self, action: Any = "show", value: str | None = None, **changed: Any) -> mongo_to_kafka.CursorReport:
        """What `mongo_to_kafka.cursor` tells."""
        names = ("topic", "collection", "runtime_dir", "bootstrap_servers", "mongodb_database", "mode", "cursor_field")
        given = {name: self.settings[name] for name in names if name in self.settings}
        return mongo_to_kafka.cursor(action, value, **{**given, **changed})

    def command(self, words: str, **changed: Any) -> dict[str, Any]:
        """What the command `cursor` tells."""
        names = ("topic", "collection", "runtime_dir")
        given = {name: self.settings[name] for name in names}
        return succeed(self.folder, f"{COMMAND} cursor {words}", **{**given, **changed}, json=True).report

    def file(self, mode: str = "cursor") -> Path:
        """Where the position is kept."""
        return self.state / ("stream.db" if mode == "stream" else "cursor.db")

    @property
    def state(self) -> Path:
        """The folder of the positions."""
        return self.folder / "runtime" / "cursors" / self.topic / self.settings["collection"]

    def messages(self) -> list[topics.Message]:
        """What a `read_committed` reader sees of the topic, in the order of their offsets."""
        if self._kept:
            return self._kept[0]
        return sorted(topics.messages(self.kafka, self.topic), key=lambda message: message.offset)

    def letters(self) -> list[topics.Message]:
        """The dead letters so far."""
        return topics.dead_letters(self.kafka, self.topic)

    def by_key(self) -> dict[bytes, list[topics.Message]]:
        """The messages of each key in their order."""
        found: dict[bytes, list[topics.Message]] = {}
        for message in self.messages():
            assert message.key is not None, message
            found.setdefault(message.key, []).append(message)
        for key, told in found.items():
            assert len({message.partition for message in told}) == 1, f"{key} is on two partitions"
        return found

    def latest(self) -> dict[bytes, bytes | None]:
        """What the topic says of each key in the end, as compaction would leave it."""
        return {key: told[-1].value for key, told in self.by_key().items()}

    def sent(self) -> int:
        """How much has been put on the topic so far, whether it counts or not; 0 while the broker is away."""
        parts = [TopicPartition(self.topic, at) for at in range(self.partitions)]
        with suppress(KafkaException):
            return sum(self._asker.get_watermark_offsets(part, timeout=5)[1] for part in parts)
        return 0

    @cached_property
    def _asker(self) -> Consumer:
        """Not an AdminClient: its `list_offsets` keeps a leader's epoch that ended with the broker's restart."""
        everything = {"group.id": "nobody", "isolation.level": "read_uncommitted"}
        return Consumer({**self.kafka.properties(), **topics.QUIET, **everything})

    def wait_until_sent(self, *workers: Child, count: int, seconds: float = 60) -> None:
        """Wait until so many messages are on the topic; the workers must live."""

        def is_so() -> bool:
            for worker in workers:
                assert worker.is_running, f"It ended with {worker.process.returncode}:\n{worker.said[-3000:]}"
            return self.sent() >= count and len(self.messages()) >= count

        wait_until(is_so, f"{count} messages are on {self.topic}", seconds)

    def assert_same(self, form: str = "canonical") -> None:
        """What the topic says in the end is the collection, byte for byte where the bytes can be had from it."""
        expected = {json_forms.key(raw): raw for raw in self.documents()}
        assert expected, "The collection is empty: the test sees nothing"
        found = {key: value for key, value in self.latest().items() if value is not None}
        assert found.keys() == expected.keys(), told_apart(found, expected)
        for key, raw in expected.items():
            if form == "canonical":
                assert json_forms.bson(json_forms.parse(found[key])) == raw, found[key]
            assert repr(json_forms.parse(found[key])) == repr(json_forms.form(raw, form))

    def _flags(self, changed: dict[str, Any]) -> dict[str, Any]:
        server = {"mongodb_uri": self.mongodb.url}
        given = {**server, **self.settings, **changed, "log_format": "json", "json": True}
        return {name: value for name, value in given.items() if value is not None}


class Run:
    """A run in a thread of this process; it must end well.

    Attributes:
        report: What it told in the end.
    """

    report: Report

    def __init__(self, feed: Feed, settings: dict[str, Any]) -> None:
        self._stop = Stop()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(feed, settings), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join(topics.SECONDS)
        if kind is None:
            assert not self._thread.is_alive(), "It does not stop"
            if self._error:
                raise self._error

    def _run(self, feed: Feed, settings: dict[str, Any]) -> None:
        try:
            self.report = feed.run(stop=self._stop, **settings)
        except BaseException as error:  # noqa: BLE001 - raised again where the `with` ends
            self._error = error


def told_apart(found: Iterable[bytes], expected: Iterable[bytes]) -> str:
    """Which keys are missing, and which should not be there."""
    missing, surplus = {*expected} - {*found}, {*found} - {*expected}
    return f"{len(missing)} are missing: {sorted(missing)[:3]}; {len(surplus)} should not be: {sorted(surplus)[:3]}"


def numbered(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Documents with a number."""
    return [{"number": number} for number in range(start, start + count)]
