"""pipeline_core, as it comes: the days asked for, onto the topic, each order once."""

from __future__ import annotations

from typing import Any

from tests.bench.task import FetchTask, perform

from pipeline_core import walmart_to_kafka


def config(task: FetchTask) -> walmart_to_kafka.Config:
    """The settings: where and what."""
    return walmart_to_kafka.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        base_url=task.url,
        walmart_token=task.token,
        start_date=task.first_day,
        end_date=task.last_day,
        timezone="UTC",
    )


def work(task: FetchTask) -> dict[str, Any]:
    """Fetch the days."""
    report = walmart_to_kafka.run(config(task))
    said = {name: report.details[name] for name in ("requests", "windows")}
    return said | {"rows": report.rows_written, "engine_seconds": report.seconds}


if __name__ == "__main__":
    perform(FetchTask, work)
