"""Columns of a pandera schema whose values may be text, as `kafka_to_parquet` writes them, or typed."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import pandera.polars as pa
import polars as pl

Condition = Callable[[pl.LazyFrame, str], pl.Expr]
"""Makes, of a frame and a column's name, whether a value is as it must be; no value is neither."""

DATE_FORM = "%m/%d/%Y %H:%M"
"""Dates of the supply chain's CSV: `1/31/2018 22:56`."""

_A_DAY = timedelta(days=1)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def column(*checks: Any, may_be_empty: bool = False) -> Any:  # noqa: ANN401 - pandera's
    """A column that must be there, text or typed.

    Args:
        checks: What its values must be.
        may_be_empty: Whether rows may have no value.
    """
    return pa.Column(None, list(checks), nullable=may_be_empty)


def rule(name: str, condition: Condition) -> Any:  # noqa: ANN401 - pandera's
    """A check of a column's values.

    Args:
        name: What the report calls it.
        condition: What must be so.
    """

    def holds(data: Any) -> pl.LazyFrame:  # noqa: ANN401 - pandera's
        frame, key = data.lazyframe, data.key
        return frame.select(pl.col(key).is_null() | condition(frame, key).fill_null(value=False))

    return pa.Check(holds, name=name)


def whole(low: int | None = None, high: int | None = None) -> Any:  # noqa: ANN401 - pandera's
    """Whole numbers, in a range of which both ends may be met."""

    def condition(frame: pl.LazyFrame, key: str) -> pl.Expr:
        value, kind = pl.col(key), frame.collect_schema()[key]
        if kind == pl.String:
            value = value.cast(pl.Int64, strict=False)
        elif kind.is_float():
            value = pl.when(value == value.floor()).then(value)
        elif not kind.is_integer():
            return pl.lit(value=False)
        return value.is_not_null() & _within(value, low, high)

    return rule("whole number" + _range(low, high), condition)


def number(low: float | None = None, high: float | None = None) -> Any:  # noqa: ANN401 - pandera's
    """Finite numbers, in a range of which both ends may be met."""

    def condition(frame: pl.LazyFrame, key: str) -> pl.Expr:
        value = numbers(frame, key)
        return value.is_finite() & _within(value, low, high)

    return rule("number" + _range(low, high), condition)


def one_of(*values: str) -> Any:  # noqa: ANN401 - pandera's
    """One of some words."""
    return rule(f"one of {', '.join(values)}", lambda _, key: pl.col(key).cast(pl.String).is_in(values))


def text() -> Any:  # noqa: ANN401 - pandera's
    """Text that was decoded with the right charset."""

    def condition(frame: pl.LazyFrame, key: str) -> pl.Expr:
        is_text = frame.collect_schema()[key] == pl.String
        return ~pl.col(key).str.contains(_REPLACEMENT, literal=True) if is_text else pl.lit(value=False)

    return rule("text without broken letters", condition)


def date(since: datetime) -> Any:  # noqa: ANN401 - pandera's
    """Dates from then until tomorrow."""

    def condition(frame: pl.LazyFrame, key: str) -> pl.Expr:
        tomorrow = datetime.now(timezone.utc).replace(tzinfo=None) + _A_DAY
        return dates(frame, key).is_between(since, tomorrow)

    return rule(f"date from {since:%Y} until now", condition)


def numbers(frame: pl.LazyFrame, key: str) -> pl.Expr:
    """A column as numbers; null where it is none."""
    kind = frame.collect_schema()[key]
    if kind == pl.String or kind.is_numeric():
        return pl.col(key).cast(pl.Float64, strict=False)
    return pl.lit(None, pl.Float64)


def dates(frame: pl.LazyFrame, key: str) -> pl.Expr:
    """A column as dates without a zone; null where it is none."""
    match frame.collect_schema()[key]:
        case pl.String:
            return pl.col(key).str.to_datetime(DATE_FORM, strict=False)
        case pl.Datetime() as kind:
            return pl.col(key).dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else pl.col(key)
        case _:
            return pl.lit(None, pl.Datetime)


def beside(name: str, others: Iterable[str], condition: Condition) -> Any:  # noqa: ANN401 - pandera's
    """A check of a column's values against other columns; not made where one of these is missing.

    Args:
        name: What the report calls it.
        others: The other columns.
        condition: What must be so.
    """
    needed = set(others)

    def if_there(frame: pl.LazyFrame, key: str) -> pl.Expr:
        is_there = needed <= set(frame.collect_schema().names())
        return condition(frame, key) if is_there else pl.lit(value=True)

    return rule(name, if_there)


def _within(value: pl.Expr, low: float | None, high: float | None) -> pl.Expr:
    above = pl.lit(value=True) if low is None else value >= low
    return above if high is None else above & (value <= high)


def _range(low: float | None, high: float | None) -> str:
    return (f" from {low:,}" if low is not None else "") + (f" to {high:,}" if high is not None else "")
