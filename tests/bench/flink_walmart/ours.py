"""pipeline_core in Flink, as it comes: one instance of each step, batches of ten."""

from __future__ import annotations

from typing import Any

from tests.bench.flink_walmart import inside
from tests.bench.task import LoadTask, perform


def work(task: LoadTask, *more: str) -> dict[str, Any]:
    """Load the topic's orders into the table of their lines."""
    flags = {
        "bootstrap-servers": task.servers,
        "topic": task.topic,
        "dead-letter-topic": task.dead_letters,
        "group-id": task.group,
        "database": task.database,
        "mysql-tls": "disabled",
        "jars": str(inside.jars()),
        "until": "end",
    }
    given = [part for name, value in flags.items() for part in (f"--{name}", value)]
    return inside.run(["-m", "pipeline_core", "flink", "run", "walmart", *given, *more, "--json"], task)


if __name__ == "__main__":
    perform(LoadTask, work)
