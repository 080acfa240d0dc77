"""pipeline_core in Flink, with batches of 500 rows."""

from __future__ import annotations

from typing import Any

from tests.bench.flink_walmart import ours
from tests.bench.task import LoadTask, perform


def work(task: LoadTask) -> dict[str, Any]:
    """Load the topic's orders into the table of their lines."""
    return ours.work(task, "--batch-size", "500")


if __name__ == "__main__":
    perform(LoadTask, work)
