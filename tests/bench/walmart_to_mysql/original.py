"""The original's way: REPLACE of all 52 columns, ten rows in a transaction, `load_time` left empty."""

from __future__ import annotations

from tests.bench.task import LoadTask, perform
from tests.bench.walmart_to_mysql.rows import execute_batches

BATCH = 10


def work(task: LoadTask) -> dict[str, float]:
    """Load the order table."""
    return execute_batches(task, "REPLACE INTO walmart_order ({columns}) VALUES ({marks})", BATCH)


if __name__ == "__main__":
    perform(LoadTask, work)
