"""How workers are doing: what is left in the queue, and what the processing log adds up to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pipeline_core.report import Document, brief
from pipeline_core.units import bytes_text, seconds_text


@dataclass(frozen=True)
class PartitionQueue:
    """One partition's part of the queue.

    Attributes:
        partition: Its number.
        committed: Offset up to which the group has finished; None before its first commit.
        end: Offset that the topic's next task will get.
        tasks: Tasks that are not finished.
    """

    partition: int
    committed: int | None
    end: int
    tasks: int


@dataclass(frozen=True)
class Queue:
    """The tasks of a topic that a group has not finished.

    Attributes:
        topic: The topic.
        group_id: The group.
        tasks: How many they are.
        partitions: Each partition's part.
    """

    topic: str
    group_id: str
    tasks: int
    partitions: list[PartitionQueue] = field(default_factory=list[PartitionQueue])


@dataclass(frozen=True)
class FrequentError:
    """The first line of an error, and how many attempts ended with it."""

    error: str
    count: int


@dataclass(frozen=True)
class LogSummary:
    """What a processing log adds up to.

    Attributes:
        path: The log.
        files: Files that were finished, well or not.
        succeeded: Those with a result.
        failed: Those that were given up.
        retries: Attempts that failed and were followed by another.
        input_bytes: Bytes of the files with a result.
        output_bytes: Bytes of the results.
        first_at: When the first attempt ended.
        last_at: When the last attempt ended.
        files_per_minute: Files finished a minute, from the first attempt to the last.
        files_per_minute_last_hour: The same of the last hour, up to now.
        mean_seconds: How long a file with a result took, on average.
        success_rate: The share of the finished files that have a result; None where none is finished.
        errors: The most frequent errors, the first one first.
    """

    path: str
    files: int = 0
    succeeded: int = 0
    failed: int = 0
    retries: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    files_per_minute: float = 0
    files_per_minute_last_hour: float = 0
    mean_seconds: float | None = None
    success_rate: float | None = None
    errors: list[FrequentError] = field(default_factory=list[FrequentError])


@dataclass(frozen=True, repr=False)
class Status(Document):
    """How the workers of a group are doing.

    Attributes:
        queue: What is left to do; None where it was not asked for.
        log: What was done; None without a processing log.
    """

    queue: Queue | None = None
    log: LogSummary | None = None

    def heading(self) -> str:
        """`obs-workers: 12 tasks in the queue`."""
        if self.queue is None:
            return "Processing log"
        count = self.queue.tasks
        return f"{self.queue.group_id}: {count:,} task{'' if count == 1 else 's'} in the queue"

    def lines(self) -> Iterator[tuple[str, str]]:
        """The queue first, then the log."""
        if self.queue is not None:
            yield "topic", self.queue.topic
            waiting = [part for part in self.queue.partitions if part.tasks]
            if waiting:
                yield "partitions", brief([f"{part.partition} has {part.tasks:,}" for part in waiting])
        if self.log is not None:
            yield from _of_log(self.log)


def _of_log(log: LogSummary) -> Iterator[tuple[str, str]]:
    yield "log", log.path
    yield "files", f"{log.succeeded:,} succeeded, {log.failed:,} failed, {log.retries:,} retries"
    if log.success_rate is not None:
        yield "success rate", f"{log.success_rate:.1%}"
    rates = (
        f"{log.files_per_minute_last_hour:,.1f} files a minute in the last hour, {log.files_per_minute:,.1f} overall"
    )
    yield "throughput", rates
    if log.mean_seconds is not None:
        yield "mean time", seconds_text(log.mean_seconds)
    yield "bytes", f"{bytes_text(log.input_bytes)} read, {bytes_text(log.output_bytes)} written"
    if log.last_at is not None:
        yield "last", log.last_at.isoformat(sep=" ", timespec="seconds")
    for item in log.errors:
        yield "error", f"{item.count:,} times: {item.error}"
