"""What one contestant is told to do, and the clock around its work, in the process of the contestant."""
# ruff: noqa: T201 - the last line on stdout is the result

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1024


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


Task = TypeVar("Task", SendTask, WriteTask)


def perform(kind: type[Task], work: Callable[[Task], dict[str, Any] | None]) -> None:
    """Do the task on the command line and print what it took.

    The clock runs from after the imports, when the task is known, until `work` returns: everything is acknowledged,
    or written and committed, and the client is closed. `work` may return more to report, or its own `seconds` where
    it has to prepare something that is not the work.
    """
    task = kind(**json.loads(sys.argv[1]))
    cpu, started = _cpu_seconds(), time.perf_counter()
    more = work(task) or {}
    result = {
        "seconds": time.perf_counter() - started,
        "work_cpu_seconds": _cpu_seconds() - cpu,
        "peak_bytes": _peak_bytes(),
    }
    print(json.dumps(result | more))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_bytes() -> int:
    """The most memory this program ever had; `ru_maxrss` would count the parent's at the time of the fork."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * KIB
    message = "The kernel does not tell VmHWM"
    raise RuntimeError(message)
