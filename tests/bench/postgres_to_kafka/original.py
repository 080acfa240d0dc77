"""The original's way: all changes above the last number that was seen, one message each, then a pause if none came."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from tests.bench.cdc_to_postgres.events import connect
from tests.bench.changes import COLUMNS, FIELDS
from tests.bench.clients import CLIENT
from tests.bench.task import CaptureTask, perform

PRODUCER: dict[str, Any] = {**CLIENT, "acks": "all"}
"""As the original's: all else is librdkafka's own."""
CHANGES = f"SELECT action_id, {', '.join(COLUMNS)}, action FROM emp_cdc WHERE action_id > %s ORDER BY action_id"


def work(task: CaptureTask) -> dict[str, Any]:
    """Send what is there, and with a file to wait for, what comes."""
    failed: list[KafkaError] = []

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    producer, last, sent = Producer({"bootstrap.servers": task.servers, **PRODUCER}), 0, 0
    with connect(task.url, cursor_factory=psycopg.ClientCursor) as connection:
        while True:
            is_last = not task.stop or Path(task.stop).exists()
            rows = connection.execute(CHANGES, (last,)).fetchall()
            connection.commit()
            for row in rows:
                message = json.dumps(value_of(row))
                send(producer, task.topic, str(row[1]), message, note)
                last = row[0]
            producer.flush()
            sent += len(rows)
            if failed:
                raise KafkaException(failed[0])
            if is_last:
                return {"rows": sent}
            if not rows:
                time.sleep(task.poll_ms / 1000)


def value_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """The message of a change; a date that is missing is the text `None`."""
    number, *values, action = row
    fields = dict(zip(FIELDS, values, strict=True))
    return {"action_id": number, **fields, "emp_dob": str(fields["emp_dob"]), "action": action}


def send(producer: Producer, topic: str, key: str, value: str, note: Any) -> None:
    """Send a message; where the queue is full, which ended the original, wait."""
    while True:
        try:
            producer.produce(topic, value, key, on_delivery=note)
            break
        except BufferError:
            producer.poll(0.1)
    producer.poll(0)


if __name__ == "__main__":
    perform(CaptureTask, work)
