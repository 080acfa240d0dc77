"""The other half: the same values, encoded beforehand and held in memory, sent by the engine's own producer."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.native import native
from tests.bench.task import DocumentTask, perform

from pipeline_core import csv_to_kafka


def work(task: DocumentTask) -> dict[str, Any]:
    """Load, then send; the engine's clock leaves the loading out."""
    config = csv_to_kafka.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        files=task.payloads,
        compression=task.compression,
        state_dir=task.scratch,
    )
    return json.loads(native("bench_produce")(config.document(), task.payloads))


if __name__ == "__main__":
    perform(DocumentTask, work)
