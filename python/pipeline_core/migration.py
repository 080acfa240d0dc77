"""What a migration of rows from one database to another is: tables, columns, look-ups and filters."""

from collections import Counter
from typing import Annotated, cast

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self, TypedDict, override

from pipeline_core.layers import closest
from pipeline_core.mapping import Part, table_from_text

Name = Annotated[str, Field(min_length=1, max_length=64)]
"""A table or a column of MySQL."""


def _scalar(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def tasks_from_text(value: object) -> object:
    """Tasks out of JSON texts, as the environment and the command line hold them.

    Raises:
        ValueError: A text is no JSON object.
    """
    if not isinstance(value, list):
        return table_from_text(value, "tasks")
    tasks: dict[str, object] = {}
    for text in cast("list[object]", value):
        tasks |= cast("dict[str, object]", table_from_text(text, "tasks"))
    return tasks


class Through(Part):
    """Another table of the source that decides which items are meant.

    Attributes:
        table: Its name.
        key: Its column that the item refers to.
        column: Its column that is compared.
    """

    table: Name
    key: Name
    column: Name


class Filter(Part):
    """Which items are meant; all filters must hold.

    Attributes:
        column: The item's column that is compared; with `through`, the one that refers to the other table.
        equals: What it must be.
        through: The table whose column is compared instead.
    """

    column: Name
    equals: Annotated[str, BeforeValidator(_scalar)]
    through: Through | None = None


class Beside(Part):
    """A table of the source that says more of an item; of several rows the last counts.

    Attributes:
        name: What the task calls it.
        table: Its name.
        parent: Its column with the item's key.
        order: Its column that tells which row is the last.
        deleted: Its column that is not 0 in rows that do not count.
    """

    name: Annotated[str, Field(min_length=1)]
    table: Name
    parent: Name
    order: Name | None = None
    deleted: Name | None = None


class LookUp(Part):
    """A table of the target that knows the id of a name.

    Attributes:
        table: Its name.
        name: Its column of names.
        id: Its column of ids.
    """

    table: Name
    name: Name
    id: Name


class MappedValue(Part):
    """A column of the target and where its value comes from: a constant, or a column of the source.

    Attributes:
        name: The column of the target.
        constant: The value.
        column: The column of the source.
        of: The name of the table beside that has this column; the item itself without it.
        path: Where in the column's JSON the value stands, with dots: `title.zh`, `authors.0`.
        element: Which element of the list that stands there, counted from 0; the list is JSON, or as Python writes it.
        values: What a text becomes.
        otherwise: What every other text becomes; it stays without this.
        look_up: The table that has the id in place of the value.
        required: Whether an item without a value is refused.
    """

    name: Name
    constant: Annotated[str | None, BeforeValidator(_scalar)] = None
    column: Name | None = None
    of: str | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    element: Annotated[int, Field(ge=0)] | None = None
    values: dict[str, str] = {}
    otherwise: str | None = None
    look_up: LookUp | None = None
    required: bool = False

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        """Refuse a value that comes from nowhere, or from two places."""
        if (self.constant is None) == (self.column is None):
            message = f"{self.name!r} needs either a column or a constant"
            raise ValueError(message)
        return self


class Reference(Part):
    """A table whose rows are copied where an item refers to them and the target does not have them.

    Attributes:
        source: The table of the source.
        target: The table of the target.
        key: The column that tells its rows apart.
        column: The item's column that refers to it.
        deleted: The column that is not 0 in rows that do not count.
        without: Columns that are not copied, such as a counter.
    """

    source: Name
    target: Name
    key: Name
    column: Name
    deleted: Name | None = None
    without: list[Name] = []


class Child(Part):
    """A table whose rows are copied with the item they belong to.

    Attributes:
        source: The table of the source.
        target: The table of the target.
        key: The column that tells its rows apart.
        parent: The column with the item's key, in both tables.
        deleted: The column that is not 0 in rows that do not count.
        without: Columns that are not copied, such as a counter.
    """

    source: Name
    target: Name
    key: Name
    parent: Name
    deleted: Name | None = None
    without: list[Name] = []


class Task(Part):
    """Items of a table of the source that become rows of a table of the target, with what belongs to them.

    Attributes:
        source: The table of the items.
        key: The column that tells them apart.
        target: The table they go to.
        target_key: The column of the target that gets the key.
        deleted: The item's column that is not 0 where it does not count.
        filters: Which items are meant; all without it.
        beside: Other tables that say more of an item.
        columns: The other columns of the target.
        references: Tables that items refer to.
        children: Tables whose rows belong to an item.

    Example:
        >>> from pipeline_core.migration import Task
        >>> columns = [{"name": "title", "column": "names", "path": "zh"}]
        >>> str(Task(source="a", key="id", target="b", target_key="id", columns=columns))
        'a to b'
    """

    source: Name
    key: Name
    target: Name
    target_key: Name
    deleted: Name | None = None
    filters: list[Filter] = []
    beside: list[Beside] = []
    columns: list[MappedValue] = []
    references: list[Reference] = []
    children: list[Child] = []

    @model_validator(mode="after")
    def _names_are_of_one_thing(self) -> Self:
        """Refuse a column that is named twice, and a table beside that there is not."""
        counts = Counter([self.target_key, *(column.name for column in self.columns)])
        twice = next((name for name, times in counts.items() if times > 1), None)
        tables = [table.name for table in self.beside]
        unknown = next((column.of for column in self.columns if column.of and column.of not in tables), None)
        message = ""
        if twice is not None:
            message = f"The column {twice!r} is named twice"
        elif unknown is not None:
            message = f"{unknown!r} is no table beside{closest(unknown, tables)}"
        if message:
            raise ValueError(message)
        return self

    @override
    def __str__(self) -> str:
        return f"{self.source} to {self.target}"


class TaskDocument(TypedDict, total=False):
    """A `Task` as a dict."""

    source: str
    key: str
    target: str
    target_key: str
    deleted: str
    filters: list[dict[str, object]]
    beside: list[dict[str, object]]
    columns: list[dict[str, object]]
    references: list[dict[str, object]]
    children: list[dict[str, object]]
