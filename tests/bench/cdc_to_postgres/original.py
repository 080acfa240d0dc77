"""The original's way: an event, a transaction, with its line in `processed_events`.

Statements go to the server as psycopg2 sends them: text, and none prepared. Left out are its connections from a pool,
and Kafka, of which it commits each offset.
"""

from __future__ import annotations

from typing import Any

import psycopg
from tests.bench.cdc_to_postgres.events import UPSERT, connect, events
from tests.bench.task import ApplyTask, perform
from tests.bench.walmart_orders.batches import Stopwatch

IS_PROCESSED = "SELECT 1 FROM processed_events WHERE action_id = %(action_id)s"
DELETE = "DELETE FROM employees WHERE emp_id = %(emp_id)s"
NOTE = (
    "INSERT INTO processed_events (action_id, emp_id, action, kafka_offset, kafka_partition)"
    " VALUES (%(action_id)s, %(emp_id)s, %(action)s, %(offset)s, %(partition)s) ON CONFLICT (action_id) DO NOTHING"
)


def work(task: ApplyTask) -> dict[str, Any]:
    """Apply the events; how they were decoded is not measured."""
    watch = Stopwatch()
    with watch:
        connection = connect(task.url, cursor_factory=psycopg.ClientCursor)
    for batch in events(task):
        with watch:
            for event in batch:
                apply(connection, event)
    with watch:
        connection.close()
    return watch.said()


def apply(connection: Any, event: dict[str, Any]) -> None:
    """Apply one event, unless it was before."""
    with connection.cursor() as cursor:
        cursor.execute(IS_PROCESSED, event)
        if cursor.fetchone() is None:
            cursor.execute(DELETE if event["action"] == "DELETE" else UPSERT, event)
            cursor.execute(NOTE, {**event, "offset": event["action_id"], "partition": 0})
    connection.commit()


if __name__ == "__main__":
    perform(ApplyTask, work)
