"""The ceiling: the engine's own client gets and puts the same objects, many at a time; no Kafka, no disk, no parser."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.native import native
from tests.bench.obs_worker.ours import config
from tests.bench.task import WorkTask, perform


def work(task: WorkTask) -> dict[str, Any]:
    """Transfer the files; by the clock of the others, which also sees the client made."""
    said = json.loads(native("bench_transfer")(config(task).document(), json.dumps(task.keys())))
    return {"rows": said["files"], "engine_seconds": said["seconds"]}


if __name__ == "__main__":
    perform(WorkTask, work)
