"""A value of a change's JSON as the text that PostgreSQL may be given, or why it is refused."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
BITS = {"smallint": 15, "integer": 31, "bigint": 63}
WHOLE = re.compile(r"-?\d+")
DAY = re.compile(r"\d{4}-\d\d-\d\d")


class RefusedError(Exception):
    """A rule is broken at `path`."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


class Fraction(str):
    """A number of JSON that is no whole one, as it was written."""

    __slots__ = ()


def refuse(path: str, why: object) -> NoReturn:
    """A rule is broken at this path."""
    raise RefusedError(path, str(why))


def of_type(kind: str, value: Any, path: str) -> str | None:
    """The text for a column of this type."""
    name, _, given = kind.partition("(")
    if value is None:
        return None
    if name in {"json", "jsonb"}:
        return json.dumps(_plain(value))
    if name in BITS:
        return _integer(value, path, BITS[name])
    if name in READERS:
        return READERS[name](value, path)
    return _text(value, path, int(given.rstrip(")")) if given else None)


def _plain(value: Any) -> Any:
    """JSON with its fractions as numbers."""
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in cast("dict[str, Any]", value).items()}
    return [*map(_plain, cast("list[Any]", value))] if isinstance(value, list) else value


def _text(value: Any, path: str, limit: int | None = None) -> str:
    if not isinstance(value, str) or isinstance(value, Fraction):
        refuse(path, "no text")
    if "\0" in value or (limit is not None and len(value) > limit):
        refuse(path, "too long, or U+0000")
    return value


def _integer(value: Any, path: str, bits: int) -> str:
    is_number = isinstance(value, int | str) and not isinstance(value, bool | Fraction)
    if not is_number or not WHOLE.fullmatch(str(value)):
        refuse(path, "no whole number")
    if not -(2**bits) <= int(value) < 2**bits:
        refuse(path, "out of range")
    return str(int(value))


def _date(value: Any, path: str) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return _after_epoch(path, days=value).date().isoformat()
    text = _text(value, path)
    if text in {"None", "infinity", "-infinity"}:
        return None if text == "None" else text
    day = text.removesuffix(" BC")
    if not DAY.fullmatch(day):
        refuse(path, "no date")
    try:
        date.fromisoformat(day)
    except ValueError as error:
        refuse(path, error)
    return text


def _moment(value: Any, path: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return _after_epoch(path, microseconds=value).isoformat()
    text = _text(value, path)
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        refuse(path, error)
    return text


def _after_epoch(path: str, **past: int) -> datetime:
    try:
        return EPOCH + timedelta(**past)
    except OverflowError as error:
        refuse(path, error)


def _decimal(value: Any, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        refuse(path, "no number")
    try:
        Decimal(value)
    except InvalidOperation:
        refuse(path, "no number")
    return str(value)


def _boolean(value: Any, path: str) -> str:
    return str(value).lower() if isinstance(value, bool) else _text(value, path)


READERS: dict[str, Callable[[Any, str], str | None]] = {
    "date": _date,
    "timestamp": _moment,
    "timestamptz": _moment,
    "numeric": _decimal,
    "real": _decimal,
    "double precision": _decimal,
    "boolean": _boolean,
}
