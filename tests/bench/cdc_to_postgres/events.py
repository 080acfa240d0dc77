"""Changes decoded in memory, batch by batch, and the clock around what is done with them."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from tests.bench.changes import COLUMNS, FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.task import ApplyTask

READ = 10_000
"""Changes that are decoded at a time."""
UPSERT = (
    f"INSERT INTO employees ({', '.join(COLUMNS)}) VALUES ({', '.join(f'%({field})s' for field in FIELDS)})"
    f" ON CONFLICT (emp_id) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in COLUMNS[1:])}"
)


def connect(url: str, **options: Any) -> Any:
    """A connection to a task's database; without TLS, as for all."""
    return psycopg.connect(url, sslmode="disable", **options)


def events(task: ApplyTask) -> Iterator[list[dict[str, Any]]]:
    """The task's changes as dicts, so many at a time."""
    with Path(task.events).open("rb") as lines:
        given = islice(lines, task.count)
        while batch := [json.loads(line) for line in islice(given, READ)]:
            yield batch
