"""pipeline_core, as it comes: the collection onto the topic, as `information`."""

from __future__ import annotations

from typing import Any

from tests.bench.task import DocumentTask, perform

from pipeline_core import mongo_to_kafka


def config(task: DocumentTask, **more: Any) -> mongo_to_kafka.Config:
    """The settings: where and what."""
    return mongo_to_kafka.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        mongodb_uri=task.uri,
        mongodb_database=task.database,
        collection=task.collection,
        compression=task.compression,
        runtime_dir=task.scratch,
        **more,
    )


def work(task: DocumentTask, **more: Any) -> dict[str, Any]:
    """Send the collection."""
    report = mongo_to_kafka.run(config(task, **more))
    said = {name: report.details[name] for name in ("transactions", "server")}
    return said | {"rows": report.rows_written, "engine_seconds": report.seconds}


if __name__ == "__main__":
    perform(DocumentTask, work)
