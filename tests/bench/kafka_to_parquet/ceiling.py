"""The ceiling: a consumer with the engine's settings that throws the messages away."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.kafka_to_parquet.ours import config
from tests.bench.native import native
from tests.bench.task import WriteTask, perform


def work(task: WriteTask) -> dict[str, Any]:
    """Read the topic; by the clock of the others, which also sees the client made and closed."""
    said = json.loads(native("bench_consume")(config(task).document()))
    return {"rows": said["rows"], "engine_seconds": said["seconds"]}


if __name__ == "__main__":
    perform(WriteTask, work)
