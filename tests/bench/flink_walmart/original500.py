"""The original's job with batches of 500 rows, so that the two map functions can be compared."""

from __future__ import annotations

from typing import Any

from tests.bench.flink_walmart import original
from tests.bench.task import LoadTask, perform


def work(task: LoadTask) -> dict[str, Any]:
    """Load the topic's orders into the table of their lines."""
    return original.work(task, 500)


if __name__ == "__main__":
    perform(LoadTask, work)
