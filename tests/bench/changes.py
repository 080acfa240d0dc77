"""What the races with changes are run on: changes to apply, changes that wait to be captured, and writers at work."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BACKLOG = "backlog"
DELAY = "delay"
APPLIED = 600_000
CAPTURED = 300_000
FEWER = 100
"""By which the changes to apply are divided for those who are slow."""
MIXED_KEYS = 10_000
"""Keys whose changes stand in any order among each other, before those of the next keys."""
WRITERS = 8
TRANSACTIONS = 600
"""Of each writer."""
LONGEST_PAUSE = 0.02
ROLLED_BACK = 0.05
OWN_ROWS = 20
"""Rows that a writer finds there and updates."""
COLUMNS = ("emp_id", "first_name", "last_name", "dob", "city", "salary")
FIELDS = ("emp_id", "emp_FN", "emp_LN", "emp_dob", "emp_city", "emp_salary")
"""The columns' names in a message."""
FIRST_NAMES = ("Ann", "Bruno", "Chloé", "Dmitri", "Elif", "Łukasz", "Noor", "Zoë")
LAST_NAMES = ("Ackermann", "Ó Briain", "Castillo", "Dvořák", "Lee", "Nakamura", "Smith")
CITIES = ("Kraków", "Oslo", "Perth", "San José", "Zürich")

Row = tuple[int, str, str, str | None, str | None, int | None]
"""The values of `COLUMNS`."""


@dataclass(frozen=True)
class Shape:
    """How the changes are spread over keys."""

    name: str
    changes_of_a_key: int


UNIQUE = Shape("unique keys", 1)
TEN = Shape("10 a key", 10)
SHAPES = (UNIQUE, TEN)


@dataclass(frozen=True)
class Held:
    """What a table holds: how many rows, and a digest of them in any order."""

    rows: int
    digest: str


@dataclass(frozen=True)
class Events:
    """Changes written down as they stand on the topic, one line of JSON each, and their rows for COPY."""

    shape: Shape
    path: Path
    copied: Path
    bytes: int
    rows: int
    slow_rows: int
    state: Held
    """Of the table, once all are applied."""
    slow_state: Held
    """Once those are applied that the slow are given."""
    all_rows: Held
    """The row of each change."""
    unit: str = "events"

    @property
    def name(self) -> str:
        """Of the shape."""
        return self.shape.name

    def state_after(self, count: int) -> Held:
        """What the table holds after so many, which must be all, or those of the slow."""
        return {self.rows: self.state, self.slow_rows: self.slow_state}[count]


@dataclass(frozen=True)
class Backlog:
    """Changes that wait in the change table."""

    rows: int
    bytes: int = 0
    unit: str = "changes"
    name: str = BACKLOG

    @property
    def slow_rows(self) -> int:
        """All do all."""
        return self.rows

    @property
    def statements(self) -> tuple[str, ...]:
        """What makes them: a third each are inserts, updates and deletes."""
        each = self.rows // 3
        values = "'Zoë', 'Nakamura ' || n, DATE '1960-01-01' + n % 15000, 'Perth', 30000 + n % 90000"
        made = f"SELECT {values} FROM generate_series(1, {self.rows - 2 * each}) n"
        return (
            f"INSERT INTO employees (first_name, last_name, dob, city, salary) {made}",
            f"UPDATE employees SET salary = salary + 1000, city = NULL, dob = NULL WHERE emp_id <= {each}",
            f"DELETE FROM employees WHERE emp_id <= {each}",
        )


@dataclass(frozen=True)
class Transaction:
    """What a writer does: changes with a pause after each, and then COMMIT or ROLLBACK."""

    changes: tuple[tuple[bool, str, float], ...]
    """Whether it is an insert, the city that tells it from all others, and the seconds of the pause."""
    is_committed: bool


@dataclass(frozen=True)
class Load:
    """Writers that work side by side, each its own transactions one after the other."""

    transactions: int = TRANSACTIONS
    writers: int = WRITERS
    bytes: int = 0
    unit: str = "changes"
    name: str = DELAY

    @property
    def rows(self) -> int:
        """Changes that are committed."""
        plans = (self.plan(writer) for writer in range(self.writers))
        return sum(len(one.changes) for plan in plans for one in plan if one.is_committed)

    @property
    def slow_rows(self) -> int:
        """All are given the same."""
        return self.rows

    def plan(self, writer: int) -> Iterator[Transaction]:
        """What a writer does, the same each time."""
        chance, number = Random(writer), 0
        for _ in range(self.transactions):
            changes: list[tuple[bool, str, float]] = []
            for _ in range(chance.randint(1, 3)):
                changes.append((chance.random() < 0.5, f"{writer}-{number}", chance.uniform(0, LONGEST_PAUSE)))
                number += 1
            yield Transaction(tuple(changes), is_committed=chance.random() >= ROLLED_BACK)


def write(shape: Shape, count: int, folder: Path) -> Events:
    """Write so many changes into `folder`."""
    path, copied = (folder / f"{shape.name}.{ending}" for ending in ("jsonl", "tsv"))
    slow_rows, size = max(1, count // FEWER), 0
    latest: dict[int, bytes] = {}
    lines: list[bytes] = []
    slow_state: Held | None = None
    with path.open("wb") as events, copied.open("wb") as rows:
        for number, (row, action) in enumerate(changes(shape, count), start=1):
            size += events.write(message(number, row, action) + b"\n") - 1
            latest[row[0]] = line = copy_line(row)
            lines.append(line)
            rows.write(line)
            if number == slow_rows:
                slow_state = held(latest.values())
    assert slow_state is not None, "No change, no race"
    return Events(shape, path, copied, size, count, slow_rows, held(latest.values()), slow_state, held(lines))


def changes(shape: Shape, count: int) -> Iterator[tuple[Row, str]]:
    """Rows and actions of so many changes."""
    seen: set[int] = set()
    for number, key in enumerate(keys(shape, count)):
        yield row_of(key, number), "UPDATE" if key in seen else "INSERT"
        seen.add(key)


def keys(shape: Shape, count: int) -> Iterator[int]:
    """The key of each change: unique ones ascend."""
    mixed = MIXED_KEYS * shape.changes_of_a_key
    for begin in range(0, count, mixed):
        some = [1 + at // shape.changes_of_a_key for at in range(begin, min(begin + mixed, count))]
        if shape.changes_of_a_key > 1:
            Random(begin).shuffle(some)
        yield from some


def row_of(key: int, number: int) -> Row:
    """The row of a key after the change of this number; now and then a value is missing."""
    first, last = FIRST_NAMES[key % len(FIRST_NAMES)], LAST_NAMES[key % len(LAST_NAMES)]
    dob = None if number % 10 == 9 else f"{1950 + key % 55}-{1 + key % 12:02}-{1 + key % 28:02}"
    city = None if number % 17 == 16 else CITIES[number % len(CITIES)]
    return key, first, f"{last} {key}", dob, city, None if number % 19 == 18 else 30_000 + number % 90_000


def message(number: int, row: Row, action: str) -> bytes:
    """The value of a message, as the original writes it."""
    fields: dict[str, Any] = dict(zip(FIELDS, row, strict=True))
    return json.dumps({"action_id": number, **fields, "action": action}).encode()


def copy_line(row: Row) -> bytes:
    """A row as COPY has it in its text format; no value needs an escape."""
    return ("\t".join("\\N" if value is None else str(value) for value in row) + "\n").encode()


def held(lines: Iterable[bytes]) -> Held:
    """What a table with these lines holds."""
    known = sorted(lines)
    return Held(len(known), hashlib.sha256(b"".join(known)).hexdigest())
