"""Where the races with documents are run: from a MongoDB onto a topic, every run checked."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.python.support import topics

from . import lap
from .contestants import CONTESTANTS, MONGO_TO_KAFKA, Contestant, Part
from .documents import COLLECTION, DATABASE, HEX, HEX_AT, INFORMATION, RAW, Documents, digest, without_topic
from .lap import Lap, LapError
from .mongo import Source, served
from .race import Race
from .task import DocumentTask

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from .broker import Broker

PARTITIONS = 3
THROWS_AWAY = ("ceiling", "raw_batches")
"""Modules that have nothing on the topic."""
WARMER = next(one for one in CONTESTANTS[MONGO_TO_KAFKA] if one.module == "raw_batches")


@dataclass(frozen=True)
class DocumentCourse:
    """A Kafka and a folder for races with documents; the server that has them is started for them."""

    broker: Broker
    folder: Path

    def race(self, documents: Documents, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants read the documents, or those that are named."""
        race = Race(MONGO_TO_KAFKA, documents)
        with served(documents) as source:
            # The first lap is slower than those after it: replies are put together.
            self.send(WARMER, documents, source)
            race.run(rounds, names, lambda contestant: self.send(contestant, documents, source))
        return race

    def send(self, contestant: Contestant, documents: Documents, source: Source) -> Lap:
        """Let a contestant bring the documents onto an empty topic, or throw them away."""
        with self.topic() as topic, TemporaryDirectory(dir=self.folder) as scratch:
            task = DocumentTask(
                servers=self.broker.servers,
                topic=topic,
                uri=source.uri,
                database=DATABASE,
                collection=COLLECTION,
                compression=documents.shape.compression,
                payloads=str(documents.payloads),
                scratch=scratch,
            )
            before, source_before = self.broker.cpu_seconds(), source.cpu_seconds()
            taken = lap.run(f"tests.bench.{MONGO_TO_KAFKA}.{contestant.module}", task, self.folder)
            after, source_after = self.broker.cpu_seconds(), source.cpu_seconds()
            broker = None if before is None or after is None else after - before
            self._check(contestant, documents, task, taken)
        return replace(taken, broker_cpu_seconds=broker, store_cpu_seconds=source_after - source_before)

    @contextmanager
    def topic(self) -> Generator[str, None, None]:
        """A topic for a while."""
        topic = self.broker.new_topic(PARTITIONS)
        try:
            yield topic
        finally:
            self.broker.delete_topic(topic)

    def _check(self, contestant: Contestant, documents: Documents, task: DocumentTask, taken: Lap) -> None:
        _expect(contestant, "rows", taken.said["rows"], documents.rows)
        if contestant.module in THROWS_AWAY:
            _expect(contestant, "bytes", taken.said["bytes"], documents.bytes)
            return
        found = topics.messages(self.broker.kafka, task.topic)
        _expect(contestant, "messages", len(found), documents.rows)
        data_type = RAW if contestant.part is Part.VARIANT else INFORMATION
        values = [without_topic(message.value or b"", task.topic) for message in found]
        _expect(contestant, "their digest", digest(values), documents.digests[data_type])
        if contestant.part is Part.ORIGINAL:
            return
        at = HEX_AT[data_type]
        wrong = sum(message.key != value[at : at + HEX] for message, value in zip(found, values, strict=True))
        _expect(contestant, "messages whose key is not the id", wrong, 0)


def _expect(contestant: Contestant, what: str, found: object, expected: object) -> None:
    if found != expected:
        message = f"{contestant.name}: {what}: {found}, not {expected}"
        raise LapError(message)
