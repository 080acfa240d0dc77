"""pipeline_core, as it comes."""

from __future__ import annotations

from tests.bench.task import SendTask, perform

from pipeline_core import csv_to_kafka


def config(task: SendTask) -> csv_to_kafka.Config:
    """The settings: none but where and what."""
    return csv_to_kafka.Config(
        bootstrap_servers=task.servers, topic=task.topic, files=task.csv, key=task.key, state_dir=task.scratch
    )


def work(task: SendTask) -> dict[str, float]:
    """Send the file."""
    report = csv_to_kafka.run(config(task))
    return {"rows": report.rows_written, "engine_seconds": report.seconds}


if __name__ == "__main__":
    perform(SendTask, work)
