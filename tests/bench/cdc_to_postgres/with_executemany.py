"""As one writes it today: psycopg's `executemany`, which sends a thousand upserts at once, and then a commit."""

from __future__ import annotations

from typing import Any

from tests.bench.cdc_to_postgres.events import UPSERT, connect, events
from tests.bench.task import ApplyTask, perform
from tests.bench.walmart_orders.batches import Stopwatch

BATCH = 1_000


def work(task: ApplyTask) -> dict[str, Any]:
    """Apply the events; how they were decoded is not measured."""
    watch = Stopwatch()
    with watch:
        connection = connect(task.url)
        cursor = connection.cursor()
    for batch in events(task):
        with watch:
            for at in range(0, len(batch), BATCH):
                cursor.executemany(UPSERT, batch[at : at + BATCH])
                connection.commit()
    with watch:
        connection.close()
    return watch.said()


if __name__ == "__main__":
    perform(ApplyTask, work)
