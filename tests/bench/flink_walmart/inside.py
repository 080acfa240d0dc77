"""A program in Flink's own Python, and what it and all that it starts compute and need."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil
from tests.airflow.airflows import put_package
from tests.services.flink import install_flink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.task import LoadTask

ROOT = Path(__file__).parents[3]
LOOK_SECONDS = 0.1


def run(arguments: Sequence[str], task: LoadTask) -> dict[str, Any]:
    """Run a program with our package and these benchmarks at hand; its last line is `{"seconds": …}`, as Flink says.

    The seconds are those of the job alone: without the start of Java, and without the plan.
    """
    folder = install_flink()
    with TemporaryDirectory(dir=task.folder) as scratch:
        site = Path(scratch, "site")
        put_package(site)
        environment = {**os.environ, "PYTHONPATH": f"{site}:{ROOT}", "MYSQL_URL": task.url, "TZ": "UTC"}
        program = subprocess.Popen(
            [folder / "bin" / "python", *arguments], env=environment, stdout=subprocess.PIPE, cwd=scratch, text=True
        )
        with program:
            cpu, peak = _watched(program)
            assert program.stdout is not None
            said = json.loads(program.stdout.read().splitlines()[-1])
    if program.returncode:
        message = f"It ended with {program.returncode}"
        raise RuntimeError(message)
    return {"seconds": said["seconds"], "work_cpu_seconds": cpu, "peak_bytes": peak}


def jars() -> Path:
    """The folder of the connectors."""
    return install_flink() / "jars"


def _watched(program: subprocess.Popen[str]) -> tuple[float, int]:
    """CPU seconds, and the most resident memory at a time, of a program and of all that it has started."""
    cpu: dict[int, float] = {}
    peak = 0
    root = psutil.Process(program.pid)
    while program.poll() is None:
        resident = 0
        with suppress(psutil.NoSuchProcess):
            for one in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    cpu[one.pid] = times.user + times.system
                    resident += one.memory_info().rss
        peak = max(peak, resident)
        time.sleep(LOOK_SECONDS)
    return sum(cpu.values()), peak
