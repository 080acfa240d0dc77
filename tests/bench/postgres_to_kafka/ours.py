"""pipeline_core, as it comes: the changes onto the topic, each once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.task import CaptureTask, perform

from pipeline_core import Stop, postgres_to_kafka

if TYPE_CHECKING:
    from pipeline_core.progress import Stats


def config(task: CaptureTask) -> postgres_to_kafka.Config:
    """The settings: where and what; no TLS, as for all."""
    return postgres_to_kafka.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        source_url=task.url,
        source_tls="disabled",
        until="stopped" if task.stop else "end",
    )


def work(task: CaptureTask) -> dict[str, Any]:
    """Send what is there, and with a file to wait for, what comes."""
    stop = Stop()

    def look(_: Stats) -> None:
        if task.stop and Path(task.stop).exists():
            stop.set()

    report = postgres_to_kafka.run(config(task), on_progress=look, stop=stop)
    said = {name: report.details[name] for name in ("fences", "oldest_fence_seconds", "server")}
    return said | {"rows": report.rows_written, "engine_seconds": report.seconds}


if __name__ == "__main__":
    perform(CaptureTask, work)
