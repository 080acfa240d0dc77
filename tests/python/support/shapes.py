"""The setting `mapping` of the change pipelines: columns of a table, fields of a message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Key = tuple[str, ...]
# A row as PostgreSQL's text of its values, by column.
Values = dict[str, str | None]


@dataclass(frozen=True)
class Column:
    """A column of the table, and the field of the JSON that it is in."""

    name: str
    type: str
    field: str = ""
    aliases: tuple[str, ...] = ()
    required: bool = False

    @property
    def names(self) -> list[str]:
        """The names that a field of it may have, the first one first."""
        return list(dict.fromkeys([self.field or self.name, self.name, *self.aliases]))


@dataclass(frozen=True)
class Shape:
    """A table and its mapping."""

    key: Key
    columns: tuple[Column, ...]
    table: str = "employees"
    id_column: str = "action_id"
    id_field: str = "action_id"
    action_column: str = "action"
    action_field: str = "action"

    def setting(self) -> dict[str, Any]:
        """The mapping."""
        columns = [
            {
                "name": column.name,
                "type": column.type,
                "field": column.names[0],
                "aliases": list(column.aliases),
                "required": column.required,
            }
            for column in self.columns
        ]
        names = ("id_column", "id_field", "action_column", "action_field")
        return {"key": list(self.key), "columns": columns, **{name: getattr(self, name) for name in names}}

    def key_of(self, values: Mapping[str, str | None]) -> Key:
        """The texts of a row's key."""
        return tuple(str(values[name]) for name in self.key)

    def message_key(self, key: Key) -> bytes:
        """The key of a message about that row."""
        return (key[0] if len(key) == 1 else json.dumps(key, ensure_ascii=False, separators=(",", ":"))).encode()


EMPLOYEES = Shape(
    ("emp_id",),
    (
        Column("emp_id", "integer", required=True),
        Column("first_name", "varchar(100)", "emp_FN", required=True),
        Column("last_name", "varchar(100)", "emp_LN", required=True),
        Column("dob", "date", "emp_dob"),
        Column("city", "varchar(100)", "emp_city"),
        Column("salary", "integer", "emp_salary"),
    ),
)
