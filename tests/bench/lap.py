"""One run of one contestant, in a process of its own, measured."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 1200
STDERR_LINES = 20
OURS = (
    *("KAFKA_", "PIPELINE_CORE_", "AWS_", "OBS_", "GCS_", "CLEANUP_", "MYSQL_", "WALMART_", "SOURCE_", "TARGET_"),
    *("DBC_FACTORY", "DEST_", "FILE_PREFIX", "MAX_FILES", "MONGODB_", "POOL_SIZE", "SINGLE_FILE", "PG"),
)
"""Variables that would set what the task does not."""


class LapError(Exception):
    """A contestant failed, or did not do what it was told."""


@dataclass(frozen=True)
class Lap:
    """What one run took."""

    seconds: float
    """The work alone, imports excluded."""
    process_seconds: float
    """From before the process was started until it had ended."""
    cpu_seconds: float
    """User and system, of the whole process and of those that it started."""
    work_cpu_seconds: float
    peak_bytes: int
    """The most memory the process had."""
    machine_cpu_seconds: float = 0.0
    """What all programs of the machine computed meanwhile."""
    broker_cpu_seconds: float | None = None
    """Of the broker, where it is ours."""
    store_cpu_seconds: float = 0.0
    """Of the S3 server, the database or the API, where there is one."""
    said: dict[str, Any] = field(default_factory=dict)
    """What else the contestant reported."""


def run(module: str, task: DataclassInstance, folder: Path) -> Lap:
    """Run a contestant in `folder`.

    Raises:
        LapError: It failed; the message has the end of what it printed.
    """
    command = [sys.executable, "-m", module, json.dumps(asdict(task))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environment["PYTHONPATH"] = str(ROOT)
    before, all_before, started = _children_cpu_seconds(), _machine_cpu_seconds(), time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{module} took longer than {LONGEST_SECONDS} s"
        raise LapError(message) from error
    totals = {
        "process_seconds": time.perf_counter() - started,
        "cpu_seconds": _children_cpu_seconds() - before,
        "machine_cpu_seconds": _machine_cpu_seconds() - all_before,
    }
    if done.returncode:
        end = "\n".join(done.stderr.splitlines()[-STDERR_LINES:])
        message = f"{module} ended with exit code {done.returncode}:\n{end}"
        raise LapError(message)
    said = json.loads(done.stdout.splitlines()[-1])
    measured = {name: said.pop(name) for name in ("seconds", "work_cpu_seconds", "peak_bytes")}
    return Lap(**totals, **measured, said=said)


def _children_cpu_seconds() -> float:
    """Of all children that have ended: contestants run one at a time, servers are still alive."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _machine_cpu_seconds() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system
