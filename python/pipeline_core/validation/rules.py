"""Rule sets by name: those of the package, and those of a user's own Python file."""

import copy
import importlib
import runpy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandera.polars as pa
import polars as pl

from pipeline_core.exceptions import SettingsError
from pipeline_core.validation.columns import column, number, rule, whole

ANY = "any"
"""The checks of all files, which are always made."""

_OURS = {"supply_chain", "walmart"}
_NAME = "schema"


@dataclass(frozen=True)
class RuleSet:
    """Rules for the rows of all files.

    Attributes:
        name: What the report calls it.
        schema: A `pandera.polars.DataFrameSchema`, without what must be unique.
        keys: Columns that are unique together, over all files.
        prepare: Makes a frame ready for the schema, row by row the same.
    """

    name: str
    schema: Any
    keys: tuple[tuple[str, ...], ...] = ()
    prepare: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame


def named(names: Iterable[str]) -> list[RuleSet]:
    """The rule sets of these names; `any` has none of its own.

    Raises:
        SettingsError: There is no such rule set, or a file with one cannot be used.
    """
    return [_ours(name) if name in _OURS else _of_file(name) for name in names if name != ANY]


def of_schema(name: str, schema: object, prepare: Callable[[pl.DataFrame], pl.DataFrame] | None = None) -> RuleSet:
    """A rule set of a pandera schema or model.

    Raises:
        SettingsError: It is neither.
    """
    if isinstance(schema, type) and issubclass(schema, pa.DataFrameModel):
        schema = cast("Any", schema).to_schema()
    if not isinstance(schema, pa.DataFrameSchema):
        message = f"The rules {name!r} are no DataFrameSchema and no DataFrameModel of pandera.polars"
        raise SettingsError(message, "Import pandera.polars as pa, and make pa.DataFrameSchema({…}).")
    # What is unique is so over all files, and pandera sees a part of them at a time.
    own: Any = copy.deepcopy(schema)
    together: str | list[str] | None = own.unique
    keys = [(together,) if isinstance(together, str) else tuple(together)] if together else []
    own.unique = None
    for title, one in own.columns.items():
        if one.unique:
            keys.append((title,))
            one.unique = False
    return RuleSet(name, own, tuple(keys), prepare or (lambda frame: frame))


def of_settings(unique: list[str], not_null: list[str], column_types: Mapping[str, str]) -> RuleSet | None:
    """The rules that settings make, if there are any."""
    if not (unique or not_null or column_types):
        return None
    names = dict.fromkeys([*unique, *not_null, *column_types])
    columns = {
        name: column(*(_TYPES[column_types[name]]() if name in column_types else []), may_be_empty=name not in not_null)
        for name in names
    }
    return RuleSet("settings", pa.DataFrameSchema(columns), (tuple(unique),) if unique else (), without_empty)


def without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with nulls for empty text, as CSV files have it."""
    return frame.with_columns(pl.col(pl.String).replace("", None))


def _ours(name: str) -> RuleSet:
    module = importlib.import_module(f"pipeline_core.validation.{name}")
    return of_schema(name, module.schema(), without_empty)


def _of_file(name: str) -> RuleSet:
    text, colon, attribute = name.partition(".py:")
    path = Path(f"{text}.py" if colon else name)
    if path.suffix != ".py":
        message = f"There are no rules {name!r}"
        raise SettingsError(message, f"Take {', '.join(sorted({ANY, *_OURS}))}, my_rules.py or my_rules.py:my_schema.")
    if not path.is_file():
        message = f"There is no file {path} with rules"
        raise SettingsError(message)
    try:
        found = runpy.run_path(str(path))
    except Exception as error:
        message = f"The rules in {path} cannot be loaded: {type(error).__name__}: {error}"
        raise SettingsError(message) from error
    wanted = attribute or _NAME
    if wanted not in found:
        message = f"{path} has no {wanted!r}"
        raise SettingsError(message, "Give that name to a pandera schema, or write FILE.py:NAME.")
    return of_schema(path.stem if not attribute else f"{path.stem}:{attribute}", found[wanted], found.get("prepare"))


def _boolean(frame: pl.LazyFrame, key: str) -> pl.Expr:
    del frame
    return pl.col(key).cast(pl.String).str.to_lowercase().is_in(["true", "false"])


def _instant(frame: pl.LazyFrame, key: str) -> pl.Expr:
    is_text = frame.collect_schema()[key] == pl.String
    if is_text:
        return pl.col(key).str.to_datetime(strict=False, time_zone="UTC").is_not_null()
    return pl.lit(value=frame.collect_schema()[key].is_temporal())


_TYPES: dict[str, Callable[[], list[Any]]] = {
    "string": list,
    "int64": lambda: [whole()],
    "float64": lambda: [number()],
    "boolean": lambda: [rule("boolean", _boolean)],
    "timestamp": lambda: [rule("timestamp", _instant)],
}
