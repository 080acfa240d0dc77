"""The ceiling: the same payloads, encoded beforehand and held in memory, sent by the engine's own producer."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.csv_to_kafka.ours import config
from tests.bench.native import native
from tests.bench.task import SendTask, perform


def work(task: SendTask) -> dict[str, Any]:
    """Load, then send; the engine's clock leaves the loading out."""
    return json.loads(native("bench_produce")(config(task).document(), task.payloads))


if __name__ == "__main__":
    perform(SendTask, work)
