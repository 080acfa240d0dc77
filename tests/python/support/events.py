"""Change events for a topic, in every form that is accepted, and seeded histories of a table."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.python.support.changes import DEBEZIUM, GENERATION_HEADER, SNAPSHOT_HEADER
from tests.python.support.shapes import EMPLOYEES, Key, Shape, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FIRST_DAY = date(1950, 1, 1)
NAMES = ("Ann", "Łukasz", "Ñandú", "山田", "O'Brien", 'Quote "Q"', "Zoë 😀", "back\\slash", "tab\there", " blank ")
CITIES = (None, "", "Perth", "São Paulo", "NULL", "None", "\\N", "{a,b}", "line\nbreak")
ALL_ROWS: Key = ()


@dataclass(frozen=True)
class Sent:
    """A message for a topic; without a partition it goes to that of its key."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    partition: int | None = None

    def of(self, partitions: int) -> int:
        """The partition it goes to."""
        if self.partition is not None:
            return self.partition
        return zlib.crc32(self.key or b"") % partitions

    def edited(self, edit: Callable[[dict[str, Any]], object]) -> Sent:
        """The message with something changed in its JSON."""
        document = json.loads(self.value or b"")
        edit(document)
        return replace(self, value=json.dumps(document).encode())

    def on(self, partition: int) -> Sent:
        """The message for another partition."""
        return replace(self, partition=partition)


@dataclass(frozen=True)
class Event:
    """What happened to a row, or to all of them."""

    number: int
    action: str
    values: Values = field(default_factory=dict[str, "str | None"])
    shape: Shape = EMPLOYEES
    generation: int = 0

    @property
    def key(self) -> Key:
        """The row's key; empty for all rows."""
        return self.shape.key_of(self.values) if self.values else ALL_ROWS

    @property
    def headers(self) -> dict[str, str]:
        """What the source puts beside it."""
        return {GENERATION_HEADER: str(self.generation)} if self.generation else {}

    def message(self) -> Sent:
        """As the contract has it."""
        fields = {column.names[0]: self._json(column.name) for column in self.shape.columns}
        return self._sent({self.shape.id_field: self.number, **fields, self.shape.action_field: self.action})

    def sibling(self) -> Sent:
        """With the columns' names, as other teams of the original send it: no date is the text None."""
        fields = {column.name: self._json(column.name) for column in self.shape.columns}
        if "dob" in fields and self.action != "TRUNCATE":
            fields["dob"] = fields["dob"] or "None"
        return self._sent({"action_id": self.number, **fields, "action": self.action.lower()})

    def snapshot(self) -> Sent:
        """As the row of a snapshot at this number."""
        sent = replace(self, action="INSERT").message()
        return replace(sent, headers={**sent.headers, SNAPSHOT_HEADER: "true"})

    def debezium(self, *, lsn: int | None = None, schema: bool = False) -> Sent:
        """In Debezium's envelope: dates are days since 1970."""
        row = {column.name: self._debezium(column.name) for column in self.shape.columns} if self.values else None
        op = next(op for op, action in DEBEZIUM.items() if action == self.action)
        source = {"connector": "postgresql", "table": self.shape.table, "snapshot": "false"}
        inner = {
            "before": row if op == "d" else None,
            "after": None if op == "d" else row,
            "source": source if lsn is None else {**source, "lsn": lsn},
            "op": op,
            "ts_ms": 1_760_000_000_000 + self.number,
        }
        return self._sent({"schema": {"type": "struct", "fields": []}, "payload": inner} if schema else inner)

    def tombstone(self) -> Sent:
        """A key without a value."""
        return replace(self.message(), value=None)

    def _json(self, name: str) -> object:
        value = self.values.get(name)
        kind = next(column.type for column in self.shape.columns if column.name == name)
        return int(value) if value is not None and kind in {"smallint", "integer", "bigint"} else value

    def _debezium(self, name: str) -> object:
        value = self._json(name)
        is_day = next(column.type for column in self.shape.columns if column.name == name) == "date"
        return (date.fromisoformat(str(value)) - date(1970, 1, 1)).days if is_day and value else value

    def _sent(self, document: dict[str, Any]) -> Sent:
        key = self.shape.message_key(self.key) if self.values else None
        return Sent(key, json.dumps(document).encode(), self.headers)


def employee(number: int, dice: random.Random | None = None) -> Values:
    """A row, always the same one without dice."""
    dice = dice or random.Random(number)
    born = FIRST_DAY + timedelta(days=dice.randrange(20_000))
    return {
        "emp_id": str(number),
        "first_name": dice.choice(NAMES),
        "last_name": f"{dice.choice(NAMES)} {dice.randrange(10_000)}",
        "dob": dice.choice([None, born.isoformat(), born.isoformat()]),
        "city": dice.choice(CITIES),
        "salary": dice.choice([None, str(dice.randrange(-5, 200_000))]),
    }


@dataclass
class History:
    """Changes of a table in their order, and the rows that they leave.

    Args:
        dice: What decides.
        keys: How many rows there may be at most.
        numbers: The numbers of the changes.
        generation: Which life of the source it is.
    """

    dice: random.Random
    keys: int = 100
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    generation: int = 0
    rows: dict[Key, Values] = field(default_factory=dict[Key, Values])
    events: list[Event] = field(default_factory=list[Event])

    def more(self, changes: int, *, truncates: int = 0) -> list[Event]:
        """So many changes more: inserts, updates, deletes, changed keys, and some that empty the table."""
        begun = len(self.events)
        emptied = set(self.dice.sample(range(changes), truncates))
        for at in range(changes):
            if at in emptied:
                self._add("TRUNCATE", {})
                continue
            values = employee(1 + self.dice.randrange(self.keys), self.dice)
            key = EMPLOYEES.key_of(values)
            if key not in self.rows:
                self._add("INSERT", values)
            elif self.dice.random() < 0.25:
                self._add("DELETE", self.rows[key])
                if self.dice.random() < 0.2:
                    self._move(values)
            else:
                self._add("UPDATE", values)
        return self.events[begun:]

    def _move(self, values: Values) -> None:
        """What was deleted comes again under another key, as a changed key does."""
        free = [str(number) for number in range(1, self.keys + 1) if (str(number),) not in self.rows]
        self._add("INSERT", {**values, "emp_id": self.dice.choice(free)})

    def _add(self, action: str, values: Values) -> None:
        event = Event(next(self.numbers), action, values, generation=self.generation)
        self.events.append(event)
        if action == "TRUNCATE":
            self.rows.clear()
        elif action == "DELETE":
            del self.rows[event.key]
        else:
            self.rows[event.key] = values


def everywhere(events: Sequence[Event], partitions: int) -> list[Sent]:
    """The messages of a history as the source sends them: what empties the table goes to every partition."""
    return [
        sent
        for event in events
        for sent in (
            [event.message().on(at) for at in range(partitions)] if event.action == "TRUNCATE" else [event.message()]
        )
    ]


def inserted(number: int, row: int, **values: str | None) -> Event:
    """A row that was made, with some of its values."""
    return Event(number, "INSERT", {**employee(row), **values})


def updated(number: int, row: int, **values: str | None) -> Event:
    """A row that was changed."""
    return Event(number, "UPDATE", {**employee(row), **values})


def deleted(number: int, row: int) -> Event:
    """A row that was deleted."""
    return Event(number, "DELETE", employee(row))


def truncated(number: int) -> Event:
    """A table that was emptied."""
    return Event(number, "TRUNCATE")


def sent(*events: Event) -> list[Sent]:
    """The messages of events, as the contract has them."""
    return [event.message() for event in events]
