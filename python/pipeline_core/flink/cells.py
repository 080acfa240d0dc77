"""Rows of the files of `parquet_job` out of messages, by a parser and the types of the columns."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import Any, cast

from pipeline_core.exceptions import NotFoundError, RejectedError
from pipeline_core.fields import ColumnType

Rows = Callable[[bytes | None], list[list[Any]]]
"""What makes rows of a message's value."""

_WHOLE = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_LARGEST = 2**63


class RefusedError(ValueError):
    """A message that gives no rows; the text tells why, with the path where it failed."""


def rows_of(parser: str, columns: Mapping[str, ColumnType]) -> Rows:
    """The function that makes rows of a message's value, with a cell for each column.

    Args:
        parser: `json`, where the value is an object that becomes a row, or a function as `module:function`: it takes
            the value's bytes and gives a dict, or several; what it raises refuses the message.
        columns: Types of the columns by name. What a row has beside them is left out; what it lacks is null.

    Returns:
        A function that raises `RefusedError` for a message that is refused.

    Raises:
        NotFoundError: There is no such function.

    Example:
        >>> from pipeline_core.flink.cells import rows_of
        >>> rows_of("json", {"id": "int64", "name": "string"})(b'{"id": "7", "more": 1}')
        [[7, None]]
    """
    parse = _json if parser == "json" else partial(_called, _function(parser))

    def rows(value: bytes | None) -> list[list[Any]]:
        if value is None:
            message = "$: The message has no value"
            raise RefusedError(message)
        return [[_cell(name, kind, row.get(name)) for name, kind in columns.items()] for row in parse(value)]

    return rows


def _cell(name: str, kind: ColumnType, value: object) -> object:
    if value is None:
        return None
    try:
        return _CELLS[kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"$.{name}: It is no {kind}"
        raise RefusedError(message) from error


def _json(value: bytes) -> list[Mapping[str, Any]]:
    try:
        document = json.loads(value)
    except ValueError as error:
        message = f"$: The value is not JSON: {error}"
        raise RefusedError(message) from error
    if not isinstance(document, dict):
        message = "$: The value is JSON, but not an object"
        raise RefusedError(message)
    return [cast("dict[str, Any]", document)]


def _called(function: Callable[[bytes], Any], value: bytes) -> list[Mapping[str, Any]]:
    try:
        given = function(value)
        rows: list[Any] = [given] if isinstance(given, Mapping) else list(cast("Iterable[Any]", given or ()))
    except Exception as error:
        text = error.message if isinstance(error, RejectedError) else f"{type(error).__name__}: {error}"
        raise RefusedError(text) from error
    for row in rows:
        if not isinstance(row, Mapping):
            message = f"$: The parser gave {type(cast('object', row)).__name__}, which is no dict"
            raise RefusedError(message)
    return rows


def _function(parser: str) -> Callable[[bytes], Any]:
    module, _, name = parser.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        message = f"There is no parser {parser}: {error}"
        raise NotFoundError(message, "The Python of each task manager must find its module.") from error
    return cast("Callable[[bytes], Any]", found)


def _string(value: object) -> str:
    if isinstance(value, (str, Decimal, datetime)):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _int64(value: object) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -_LARGEST <= value < _LARGEST:
        raise TypeError
    return value


def _float64(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError
    return float(value)


def _boolean(value: object) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        raise TypeError
    return value


def _timestamp(value: object) -> datetime:
    """A time in UTC; what names no zone is UTC."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    if not isinstance(value, datetime):
        raise TypeError
    return value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo else value


_CELLS: dict[ColumnType, Callable[[Any], Any]] = {
    "string": _string,
    "int64": _int64,
    "float64": _float64,
    "boolean": _boolean,
    "timestamp": _timestamp,
}
