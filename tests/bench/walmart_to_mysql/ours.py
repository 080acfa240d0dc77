"""pipeline_core, as it comes: from the topic into all tables."""

from __future__ import annotations

from typing import Any

from tests.bench.pace import Pace
from tests.bench.task import LoadTask, perform

from pipeline_core import walmart_to_mysql


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
    pace = Pace()
    report = walmart_to_mysql.run(config(task), on_progress=pace)
    said = {"rows": report.rows_written, "engine_seconds": report.seconds, "server": report.details["server"]}
    return said | {"rows_a_second_once_begun": pace.rows_a_second}


if __name__ == "__main__":
    perform(LoadTask, work)
