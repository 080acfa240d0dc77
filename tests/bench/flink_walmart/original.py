"""The original's job: its map function in Python, REPLACE in batches of ten."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from tests.bench.flink_walmart import inside
from tests.bench.task import LoadTask, perform

BATCH = 10


def work(task: LoadTask, batch: int = BATCH) -> dict[str, Any]:
    """Load the topic's orders into the table of their lines."""
    given = {**asdict(task), "jars": str(inside.jars()), "batch": batch}
    return inside.run(["-m", "tests.bench.flink_walmart.original_job", json.dumps(given)], task)


if __name__ == "__main__":
    perform(LoadTask, work)
