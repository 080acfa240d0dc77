"""As one writes it today: 500 rows in a statement and a transaction, INSERT … ON DUPLICATE KEY UPDATE."""

from __future__ import annotations

from tests.bench.task import LoadTask, perform
from tests.bench.walmart_to_mysql.rows import execute_batches

from pipeline_core import parse_walmart_orders

BATCH = 500


def work(task: LoadTask) -> dict[str, float]:
    """Load the order table."""
    changes = ", ".join(f"{name} = VALUES({name})" for name in parse_walmart_orders([]).column_names)
    insert = "INSERT INTO walmart_order ({columns}) VALUES ({marks}) ON DUPLICATE KEY UPDATE "
    return execute_batches(task, insert + changes, BATCH)


if __name__ == "__main__":
    perform(LoadTask, work)
