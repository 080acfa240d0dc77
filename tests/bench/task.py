"""What one contestant is told to do, and the clock around its work, in the process of the contestant."""
# ruff: noqa: T201 - the last line on stdout is the result

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .children import peak_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class SendTask:
    """Send the rows of a CSV file to a topic."""

    servers: str
    topic: str
    csv: str
    encoding: str
    key: str
    """The column that becomes the message key."""
    payloads: str
    """The same rows as messages: length-prefixed keys and values."""
    scratch: str
    """A folder of this run alone."""


@dataclass(frozen=True)
class WriteTask:
    """Write what is on a topic into Parquet files in a folder."""

    servers: str
    topic: str
    group: str
    folder: str
    flush_rows: int | None
    """Rows of a file of ours; None is its default."""


@dataclass(frozen=True)
class StoreAccess:
    """An S3 server."""

    url: str
    key: str
    secret: str
    region: str


@dataclass(frozen=True)
class WorkTask:
    """Work off the tasks on a topic: each file gives one object and one notice."""

    servers: str
    topic: str
    result_topic: str
    group: str
    store: StoreAccess
    bucket: str
    dest_bucket: str
    suffix: str
    """What the key of a result has behind the key of its file."""
    key_file: str
    """The keys of the files as a JSON list, for the one that needs no topic."""
    parser: str
    processes: int
    scratch: str
    """A folder of this run alone."""

    def keys(self) -> list[str]:
        """The keys of the files."""
        return json.loads(Path(self.key_file).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class ListTask:
    """List a bucket."""

    servers: str
    store: StoreAccess
    bucket: str
    prefix: str
    most: int
    """More than there are keys."""


@dataclass(frozen=True)
class ParseTask:
    """Parse orders into rows, one a line."""

    documents: str
    """A file with an order on each line."""


@dataclass(frozen=True)
class LoadTask:
    """Load orders into the tables of a database."""

    servers: str
    topic: str
    dead_letters: str
    group: str
    documents: str
    """A file with the orders that are on the topic, one on each line."""
    folder: str
    """Their rows, in a file for each table."""
    url: str
    database: str


@dataclass(frozen=True)
class FetchTask:
    """Bring the orders of some days from the API onto a topic; days are those of UTC."""

    servers: str
    topic: str
    url: str
    token: str
    first_day: str
    last_day: str
    """Which is included."""


@dataclass(frozen=True)
class ApplyTask:
    """Apply changes to a table of a database."""

    servers: str
    topic: str
    dead_letters: str
    group: str
    events: str
    """A file with the changes that are on the topic, one on each line."""
    count: int
    """How many of the file's are to be applied; who reads the topic applies all."""
    rows: str
    """Their rows in a file for COPY."""
    copy_into: str
    """The table that takes all of these rows."""
    url: str


@dataclass(frozen=True)
class CaptureTask:
    """Bring the changes that a database has logged onto a topic."""

    servers: str
    topic: str
    url: str
    poll_ms: int
    """The pause of the original when nothing is new."""
    stop: str
    """The file that ends the work once it is there; empty where the work is what waits at the start."""


@dataclass(frozen=True)
class ChangeTask:
    """Change the tables of a database while the changes are captured."""

    url: str
    transactions: int
    writers: int


@dataclass(frozen=True)
class DocumentTask:
    """Bring a collection onto a topic."""

    servers: str
    topic: str
    """Of no use to those who throw away what they read."""
    uri: str
    database: str
    collection: str
    compression: str
    payloads: str
    """The messages of the collection: length-prefixed keys and values."""
    scratch: str
    """A folder of this run alone."""


@dataclass(frozen=True)
class MigrateTask:
    """Migrate the items of one database of a server into another."""

    url: str
    source: str
    target: str


Task = TypeVar(
    "Task",
    SendTask,
    WriteTask,
    WorkTask,
    ListTask,
    ParseTask,
    LoadTask,
    FetchTask,
    ApplyTask,
    CaptureTask,
    ChangeTask,
    DocumentTask,
    MigrateTask,
)


def perform(kind: type[Task], work: Callable[[Task], dict[str, Any] | None]) -> None:
    """Do the task on the command line and print what it took.

    The clock runs from after the imports, when the task is known, until `work` returns: everything is acknowledged,
    or written and committed, and the client is closed. `work` may return more to report, or measures of its own where
    it has to prepare something that is not the work, and `children_peak_bytes` where others work for it.
    The process ends without the interpreter's end, which the threads of clients do not always survive.
    """
    task = parsed(kind, json.loads(sys.argv[1]))
    cpu, started = _cpu_seconds(), time.perf_counter()
    more = work(task) or {}
    result = {
        "seconds": time.perf_counter() - started,
        "work_cpu_seconds": _cpu_seconds() - cpu,
        # `ru_maxrss` would count the parent's at the time of the fork.
        "peak_bytes": peak_of("self") + more.pop("children_peak_bytes", 0),
    }
    print(json.dumps(result | more), flush=True)
    os._exit(0)


def parsed(kind: type[Task], values: dict[str, Any]) -> Task:
    """The task of a command line."""
    if "store" in values:
        values["store"] = StoreAccess(**values["store"])
    return kind(**values)


def _cpu_seconds() -> float:
    """Of this process, and of those that it has started and seen end."""
    usages = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
