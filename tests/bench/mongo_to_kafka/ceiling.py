"""The ceiling: the engine's own MongoDB driver, which reads the same batches and throws them away."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.mongo_to_kafka.ours import config
from tests.bench.native import native
from tests.bench.task import DocumentTask, perform


def work(task: DocumentTask) -> dict[str, Any]:
    """Read the collection."""
    return json.loads(native("bench_find")(config(task).document()))


if __name__ == "__main__":
    perform(DocumentTask, work)
