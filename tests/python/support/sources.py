"""The database that changes are read from: the original's tables and triggers, and what they say was committed."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.python.support.shapes import EMPLOYEES, Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.python.support.topics import Message

CHANGES = "emp_cdc"
TABLE = "employees"
SEQUENCE = "emp_cdc_action_id_seq"
COLUMNS = tuple(column.name for column in EMPLOYEES.columns)
NUMBERS = {"smallint", "integer", "bigint"}

# As the original sets its source up; it has no trigger for TRUNCATE and none for a changed key.
ORIGINAL = """
CREATE TABLE employees (
    emp_id SERIAL PRIMARY KEY,
    first_name VARCHAR(100) NOT NULL,
    last_name VARCHAR(100) NOT NULL,
    dob DATE,
    city VARCHAR(100),
    salary INT
);
CREATE TABLE emp_cdc (
    action_id SERIAL PRIMARY KEY,
    emp_id INT,
    first_name VARCHAR(100),
    last_name VARCHAR(100),
    dob DATE,
    city VARCHAR(100),
    salary INT,
    action VARCHAR(10),
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
""" + "".join(
    f"""
CREATE FUNCTION log_employee_{action}() RETURNS TRIGGER AS $$
BEGIN
    INSERT INTO emp_cdc (emp_id, first_name, last_name, dob, city, salary, action)
    VALUES ({row}.emp_id, {row}.first_name, {row}.last_name, {row}.dob, {row}.city, {row}.salary, '{action.upper()}');
    RETURN {row};
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER employee_{action}_trigger AFTER {action.upper()} ON employees
    FOR EACH ROW EXECUTE FUNCTION log_employee_{action}();
"""
    for action, row in (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD"))
)
PEOPLE = """
INSERT INTO employees (first_name, last_name, dob, city, salary) VALUES
    ('Ann', 'Lee', '1999-01-02', 'Perth', 70000),
    ('Bo', 'Ek', '1988-12-31', NULL, NULL),
    ('Cy', 'Ng', NULL, 'Zürich', 81000);
"""


@dataclass(frozen=True)
class Committed:
    """A change that the change table holds, and the message that it must be.

    Attributes:
        number: Its `action_id`.
        action: What happened.
        key: The message's key; None for TRUNCATE.
        value: The message's value, byte for byte.
    """

    number: int
    action: str
    key: bytes | None
    value: bytes


def committed(connection: Any, shape: Shape = EMPLOYEES, changes: str = CHANGES) -> list[Committed]:
    """All changes of the change table by their number."""
    names = [f'"{column.name}"::text' for column in shape.columns]
    asked = f'SELECT "{shape.id_column}", "{shape.action_column}", {", ".join(names)} FROM {changes} ORDER BY 1'
    found: list[Committed] = []
    for number, action, *texts in connection.execute(asked).fetchall():
        row = dict(zip([column.name for column in shape.columns], texts, strict=True))
        key = None if action == "TRUNCATE" else shape.message_key(shape.key_of(row))
        found.append(Committed(number, action, key, message(shape, number, action, row)))
    return found


def message(shape: Shape, number: int, action: str, row: Mapping[str, str | None]) -> bytes:
    """The value of a change's message, of which the row's values are given as text."""
    document: dict[str, Any] = {shape.id_field: number}
    for column in shape.columns:
        text = row[column.name]
        document[column.names[0]] = int(text) if text is not None and column.type in NUMBERS else text
    document[shape.action_field] = action
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def number_of(message: Message, field: str = EMPLOYEES.id_field) -> int:
    """The number of the change that a message tells of."""
    return json.loads(message.value or b"")[field]


def by_key(messages: Iterable[Message]) -> dict[bytes | None, list[dict[str, Any]]]:
    """What is told of each key, in the order of the offsets; a key is on one partition alone."""
    found: dict[bytes | None, list[dict[str, Any]]] = defaultdict(list)
    places: dict[bytes | None, set[int]] = defaultdict(set)
    for message in sorted(messages, key=lambda message: message.offset):
        found[message.key].append(json.loads(message.value or b""))
        places[message.key].add(message.partition)
    scattered = [key for key, partitions in places.items() if key is not None and len(partitions) > 1]
    assert not scattered, f"Keys are on several partitions: {scattered[:3]}"
    return dict(found)


def rows(connection: Any, table: str = TABLE, columns: Iterable[str] = COLUMNS) -> dict[str, tuple[str | None, ...]]:
    """A table's rows as text, by the first of these columns."""
    names = ", ".join(f'"{name}"::text' for name in columns)
    return {row[0]: row for row in connection.execute(f"SELECT {names} FROM {table}").fetchall()}


def fingerprint(connection: Any, table: str = TABLE, columns: Iterable[str] = COLUMNS) -> tuple[int, str]:
    """How many rows a table has, and a hash of these columns of all of them, told by the server."""
    line = ", ".join(f'"{name}"' for name in columns)
    asked = f"""
        SELECT count(*), md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE "C"), ''))
        FROM (SELECT ROW({line})::text AS line FROM {table}) AS lines
    """
    return connection.execute(asked).fetchone()


def assert_same_rows(found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """Two tables hold the same; says which rows differ."""
    assert expected, "Nothing was expected: the test sees nothing"
    differing = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    some = {key: (found.get(key), expected.get(key)) for key in differing[:3]}
    assert not differing, f"{len(differing)} of {len(expected)} rows differ; found and expected are {some}"
