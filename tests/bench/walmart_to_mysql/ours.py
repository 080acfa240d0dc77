"""pipeline_core, as it comes: from the topic into all tables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.bench.task import LoadTask, perform

from pipeline_core import walmart_to_mysql

if TYPE_CHECKING:
    from pipeline_core.progress import Stats


def config(task: LoadTask) -> walmart_to_mysql.Config:
    """The settings: where and what; no TLS, as for all."""
    return walmart_to_mysql.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        dead_letter_topic=task.dead_letters,
        group_id=task.group,
        mysql_url=task.url,
        mysql_tls="disabled",
        database=task.database,
        until="end",
    )


def work(task: LoadTask) -> dict[str, Any]:
    """Load the topic, and say how fast it went from the first commit that was seen to the last."""
    seen: list[tuple[float, int]] = []

    def look(stats: Stats) -> None:
        if stats.rows_written > (seen[-1][1] if seen else 0):
            seen.append((time.perf_counter(), stats.rows_written))

    report = walmart_to_mysql.run(config(task), on_progress=look)
    said = {"rows": report.rows_written, "engine_seconds": report.seconds, "server": report.details["server"]}
    return said | {"rows_a_second_once_begun": _rate(seen)}


def _rate(seen: list[tuple[float, int]]) -> float | None:
    if len(seen) < 2:
        return None
    (begun, first), (ended, last) = seen[0], seen[-1]
    return (last - first) / (ended - begun)


if __name__ == "__main__":
    perform(LoadTask, work)
