"""A race: every contestant in each round, the first of one round the last of the next, every run checked."""

from __future__ import annotations

import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

import pyarrow.parquet as pq

from . import lap
from .contestants import CONTESTANTS, CSV_TO_KAFKA, Contestant, Part, field_of
from .lap import Lap, LapError
from .shapes import KEY, Data
from .task import SendTask, WriteTask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .broker import Broker

PARTITIONS = 4
FILLER = next(one for one in CONTESTANTS[CSV_TO_KAFKA] if one.name == "orjson")


class Work(Protocol):
    """What a race is run on."""

    @property
    def name(self) -> str:
        """Of the shape."""
        ...

    @property
    def unit(self) -> str:
        """What is counted: rows, files, keys."""
        ...

    @property
    def rows(self) -> int:
        """How many of them."""
        ...

    @property
    def slow_rows(self) -> int:
        """How many of them for those who are slow."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes of all rows; 0 where that says nothing."""
        ...


@dataclass(frozen=True)
class Race:
    """The laps of one command on one shape."""

    command: str
    data: Work
    laps: dict[Contestant, list[Lap]] = field(default_factory=dict)

    def run(self, rounds: int, names: Sequence[str] | None, lap_of: Callable[[Contestant], Lap]) -> None:
        """Let all run `rounds` times, or those that are named."""
        field_ = field_of(self.command, self.data.name, names)
        self.laps.update({one: [] for one in field_})
        for number in range(rounds):
            at = number % max(1, len(field_))
            for contestant in field_[at:] + field_[:at]:
                taken = lap_of(contestant)
                self.laps[contestant].append(taken)
                what = f"{self.command} {self.data.name} {number + 1}/{rounds} {contestant.name}"
                _say(f"{what}: {taken.seconds:.2f} s")

    def seconds(self, contestant: Contestant) -> float:
        """The median of the work alone."""
        return self.median(contestant, "seconds")

    def median(self, contestant: Contestant, measure: str) -> float:
        """The median of a measure over the rounds."""
        return median(getattr(lap, measure) for lap in self.laps[contestant])

    def fastest(self, part: Part) -> Contestant | None:
        """Of those that stand for `part`, the fastest."""
        return max((one for one in self.laps if one.part is part), key=self.rate, default=None)

    def rate(self, contestant: Contestant) -> float:
        """Rows a second."""
        return self.rows(contestant) / self.seconds(contestant)

    def rows(self, contestant: Contestant) -> int:
        """How many rows it was given."""
        return self.data.slow_rows if contestant.is_slow else self.data.rows

    def times_faster(self, ours: Contestant, other: Contestant) -> float:
        """Our rows a second by the other's."""
        return self.rows(ours) / self.rows(other) * self.seconds(other) / self.seconds(ours)


@dataclass(frozen=True)
class Course:
    """Where races are run."""

    broker: Broker
    folder: Path

    def race(self, command: str, data: Data, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Run all contestants, or those that are named, `rounds` times."""
        race = Race(command, data)
        # Also wakes the broker up: its first million messages are slower than those after it.
        with self.topic() as full:
            self.send(FILLER, data, full)
            race.run(rounds, names, lambda contestant: self._lap(command, contestant, data, full))
        return race

    @contextmanager
    def topic(self) -> Generator[str, None, None]:
        """A topic for a while."""
        topic = self.broker.new_topic(PARTITIONS)
        try:
            yield topic
        finally:
            self.broker.delete_topic(topic)

    def send(self, contestant: Contestant, data: Data, topic: str) -> Lap:
        """Let a contestant send the data to an empty topic."""
        task = SendTask(
            servers=self.broker.servers,
            topic=topic,
            csv=str(data.csv),
            encoding=data.shape.encoding,
            key=KEY,
            payloads=str(data.payloads),
            scratch=str(self.folder),
        )
        taken = self._run(f"tests.bench.csv_to_kafka.{contestant.module}", task)
        _check(f"{contestant.name} put onto the topic", self.broker.rows(topic), data)
        return taken

    def write(self, contestant: Contestant, data: Data, topic: str, folder: Path) -> Lap:
        """Let a contestant write a topic that holds the data into an empty folder."""
        task = WriteTask(
            servers=self.broker.servers,
            topic=topic,
            group=f"bench-{uuid.uuid4().hex[:12]}",
            folder=str(folder),
            flush_rows=contestant.flush_rows,
        )
        taken = self._run(f"tests.bench.kafka_to_parquet.{contestant.module}", task)
        files = list(folder.rglob("*.parquet"))
        if contestant.part is Part.CEILING:
            rows = taken.said["rows"]
        else:
            rows = sum(pq.ParquetFile(file).metadata.num_rows for file in files)
        _check(f"{contestant.name} wrote", rows, data)
        sizes = {"files": len(files), "file_bytes": sum(file.stat().st_size for file in files)}
        return replace(taken, said=taken.said | sizes)

    def _lap(self, command: str, contestant: Contestant, data: Data, full: str) -> Lap:
        if command == CSV_TO_KAFKA:
            with self.topic() as topic:
                return self.send(contestant, data, topic)
        with TemporaryDirectory(dir=self.folder) as folder:
            return self.write(contestant, data, full, Path(folder))

    def _run(self, module: str, task: SendTask | WriteTask) -> Lap:
        before = self.broker.cpu_seconds()
        taken = lap.run(module, task, self.folder)
        after = self.broker.cpu_seconds()
        return taken if before is None or after is None else replace(taken, broker_cpu_seconds=after - before)


def _check(what: str, rows: int, data: Data) -> None:
    if rows != data.rows:
        message = f"{what} {rows:,} rows, not {data.rows:,}"
        raise LapError(message)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command line speaks to its user
