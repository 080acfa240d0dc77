"""Which columns a changed row has, and what they are called in a message."""

import json
import re
from collections import Counter
from typing import Annotated, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from typing_extensions import Self, TypedDict, override

from pipeline_core.fields import Column, Names
from pipeline_core.layers import closest

_TYPE = re.compile(r"[a-z_][\w .]*(\(\d+(,\d+)?\)[a-z ]*)?(\[\])*", re.ASCII)
_ARGUMENTS = re.compile(r"(\([^)]*\))")

# What PostgreSQL's manual calls aliases, and the types below serial ones.
_OTHER_NAMES = {
    "bigserial": "bigint",
    "bool": "boolean",
    "bpchar": "char",
    "character varying": "varchar",
    "character": "char",
    "decimal": "numeric",
    "float": "double precision",
    "float4": "real",
    "float8": "double precision",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "serial": "integer",
    "smallserial": "smallint",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}


def _type(value: object) -> object:
    """PostgreSQL's own name of a type: `"VARCHAR (100)"` is `"varchar(100)"`, `"int"` is `"integer"`."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"\s*([(,])\s*|\s+(?=\))", r"\1", " ".join(value.lower().split()))
    if not _TYPE.fullmatch(text):
        message = "Write a type of PostgreSQL such as integer, varchar(100) or numeric(10,2)"
        raise ValueError(message)
    name, *arguments = _ARGUMENTS.split(text, maxsplit=1)
    return "".join([_OTHER_NAMES.get(name, name), *arguments])


def from_text(value: object) -> object:
    """A mapping out of JSON text, as the environment and the command line hold one.

    Raises:
        ValueError: The text is no JSON object.
    """
    return table_from_text(value, "mapping")


def table_from_text(value: object, table: str) -> object:
    """The same for a table of any name.

    Raises:
        ValueError: The text is no JSON object.
    """
    if not isinstance(value, str):
        return value
    try:
        found: object = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = f"Write a JSON object, or a table {table} in a settings file"
        raise ValueError(message)  # noqa: TRY004 - pydantic explains ValueErrors
    return cast("dict[str, object]", found)


class Part(BaseModel):
    """A part of a setting that has several, which says what is unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _names_are_known(cls, data: object) -> object:
        names = cast("dict[object, object]", data) if isinstance(data, dict) else {}
        for name in names:
            if name not in cls.model_fields:
                message = f"Unknown name {name!r}{closest(str(name), cls.model_fields)}"
                raise ValueError(message)
        return cast("object", data)


class MappedColumn(Part):
    """One column.

    Attributes:
        name: Its name in the database.
        type: Its type, as PostgreSQL calls it; one that the engine does not know is carried as text.
        field: Its name in a message; the column's without it.
        aliases: Other names that a message may have for it; the column's is always one.
        required: Whether it may not be null. Columns of the key never are.
    """

    name: Column
    type: Annotated[str, BeforeValidator(_type)]
    field: Annotated[str, Field(validate_default=True)] = ""
    aliases: Names = []
    required: bool = False

    @field_validator("field", mode="after")
    @classmethod
    def _field_has_a_name(cls, value: str, info: ValidationInfo) -> str:
        return value or str(info.data.get("name", ""))

    @property
    def names(self) -> set[str]:
        """What a message may call it."""
        return {self.name, self.field, *self.aliases}


class Mapping(Part):
    """The columns of a table and of its changes.

    Attributes:
        key: Names of the columns that tell a row from the others.
        columns: All columns, in the order of a message.
        id_column: Column of the change table that counts the changes.
        id_field: Its name in a message.
        action_column: Column of the change table that says what was done.
        action_field: Its name in a message.

    Example:
        >>> from pipeline_core.mapping import Mapping
        >>> columns = [{"name": "id", "type": "bigint"}, {"name": "note", "type": "text", "field": "Note"}]
        >>> str(Mapping.model_validate({"key": "id", "columns": columns}))
        'key id, columns id, note'
    """

    key: Annotated[Names, Field(min_length=1)]
    columns: Annotated[list[MappedColumn], Field(min_length=1)]
    id_column: Column = "action_id"
    id_field: Annotated[str, Field(min_length=1)] = "action_id"
    action_column: Column = "action"
    action_field: Annotated[str, Field(min_length=1)] = "action"

    @model_validator(mode="after")
    def _names_are_of_one_thing(self) -> Self:
        """Refuse a key without a column, and a name that could mean two things."""
        columns = [column.name for column in self.columns]
        in_table = Counter([*columns, self.id_column, self.action_column])
        in_message = Counter(name for column in self.columns for name in column.names)
        in_message.update([self.id_field, self.action_field])
        unknown = next((name for name in self.key if name not in columns), None)
        counts = (in_table, in_message, Counter(self.key))
        twice = next((name for count in counts for name, times in count.items() if times > 1), None)
        message = ""
        if unknown is not None:
            message = f"The key {unknown!r} is none of the columns{closest(unknown, columns)}"
        elif twice is not None:
            message = f"The name {twice!r} stands for two things"
        if message:
            raise ValueError(message)
        return self

    @override
    def __str__(self) -> str:
        return f"key {' '.join(self.key)}, columns {', '.join(column.name for column in self.columns)}"


class ColumnDocument(TypedDict, total=False):
    """A `MappedColumn` as a dict."""

    name: str
    type: str
    field: str
    aliases: list[str]
    required: bool


class MappingDocument(TypedDict, total=False):
    """A `Mapping` as a dict."""

    key: str | list[str]
    columns: list[ColumnDocument]
    id_column: str
    id_field: str
    action_column: str
    action_field: str


EMPLOYEES = Mapping(
    key=["emp_id"],
    columns=[
        MappedColumn(name="emp_id", type="integer", required=True),
        MappedColumn(name="first_name", type="varchar(100)", field="emp_FN", required=True),
        MappedColumn(name="last_name", type="varchar(100)", field="emp_LN", required=True),
        MappedColumn(name="dob", type="date", field="emp_dob"),
        MappedColumn(name="city", type="varchar(100)", field="emp_city"),
        MappedColumn(name="salary", type="integer", field="emp_salary"),
    ],
)
"""The table of the original."""
