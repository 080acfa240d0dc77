"""pipeline_core, as it comes, or with files of as many rows as the others write."""

from __future__ import annotations

from tests.bench.task import WriteTask, perform

from pipeline_core import kafka_to_parquet


def config(task: WriteTask) -> kafka_to_parquet.Config:
    """The settings: where and what, and the size of the files where the task says it."""
    return kafka_to_parquet.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        group_id=task.group,
        to=task.folder,
        until="end",
        flush_rows=task.flush_rows,
    )


def work(task: WriteTask) -> dict[str, float]:
    """Write the topic."""
    report = kafka_to_parquet.run(config(task))
    return {"rows": report.rows_written, "engine_seconds": report.seconds}


if __name__ == "__main__":
    perform(WriteTask, work)
