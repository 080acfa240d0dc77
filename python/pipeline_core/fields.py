"""The kinds of setting there are, each with what it accepts beside its plain type."""

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, Field

from pipeline_core import units

_IDENTIFIER = re.compile(r"[A-Za-z0-9_$]+", re.ASCII)
_TABLE = re.compile(r"([A-Za-z0-9_$]{1,63}\.)?[A-Za-z0-9_$]{1,63}", re.ASCII)


@dataclass(frozen=True)
class Metavar:
    """What the command line's help calls a value of this kind."""

    text: str


@dataclass(frozen=True)
class Short:
    """Gives a field's flag a short form, such as `-H`."""

    text: str


def _place(value: object) -> object:
    text = os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value
    return os.path.expanduser(text) if isinstance(text, str) and text.startswith("~") else text  # noqa: PTH111 - may be a URL


def _places(value: object) -> object:
    if isinstance(value, os.PathLike):
        return [_place(cast("object", value))]
    value = _json_or(value, lambda text: [text])
    return [_place(item) for item in cast("Iterable[object]", value)] if isinstance(value, (list, tuple)) else value


def _names(value: object) -> object:
    if isinstance(value, tuple):
        return list(cast("tuple[object, ...]", value))
    return _json_or(value, lambda text: [part.strip() for part in text.split(",") if part.strip()])


def _keys(value: object) -> object:
    """One key, or a JSON list of them: a key may hold anything, commas too."""
    if isinstance(value, tuple):
        return list(cast("tuple[object, ...]", value))
    keys = _json_or(value, lambda text: [text])
    return [value] if isinstance(keys, dict) else keys


def _pairs(value: object) -> object:
    """A mapping from JSON text or a list of `NAME=VALUE`; numbers and booleans become the text librdkafka reads."""
    value = _json_or(value, lambda text: [text])
    if isinstance(value, (list, tuple)):
        items: dict[str, object] = {}
        for item in cast("Iterable[object]", value):
            name, equals, text = str(item).partition("=")
            if not equals or not name.strip():
                message = "Write each as NAME=VALUE"
                raise ValueError(message)
            items[name.strip()] = text
        return items
    if isinstance(value, dict):
        return {name: _scalar(entry) for name, entry in cast("dict[str, object]", value).items()}
    return value


def named(value: object) -> object:
    """Things by their names, out of JSON objects and `NAME=VALUE` in one text or a list of them.

    Raises:
        ValueError: A text is neither.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    found: dict[str, object] = {}
    for text in map(str, cast("Iterable[object]", texts)):
        if text.lstrip().startswith("{"):
            item = _json_or(text, lambda _: None)
        else:
            name, equals, rest = text.partition("=")
            item = {name.strip(): rest} if equals and name.strip() else None
        if not isinstance(item, dict):
            message = "Write each as NAME=VALUE, or all as a JSON object"
            raise ValueError(message)  # noqa: TRY004 - pydantic explains ValueErrors
        found |= cast("dict[str, object]", item)
    return found


def _scalar(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _json_or(value: object, otherwise: Callable[[str], object]) -> object:
    """A JSON list or object out of text, as the environment holds one; other text goes to `otherwise`."""
    if not isinstance(value, str):
        return value
    if value.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            pass
    return otherwise(value)


def _joined(value: object) -> object:
    """A list of text as one text with commas, as librdkafka reads it."""
    if not isinstance(value, (list, tuple)):
        return value
    items = list(cast("Iterable[object]", value))
    parts = [item for item in items if isinstance(item, str)]
    return ",".join(parts) if len(parts) == len(items) else items


def _text(value: object) -> object:
    """A number as text: YAML takes a password of digits for one."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _identifier(value: object) -> object:
    if isinstance(value, str) and not _IDENTIFIER.fullmatch(value):
        message = "Write letters, digits, _ and $ only"
        raise ValueError(message)
    return value


def _table(value: object) -> object:
    if isinstance(value, str) and not _TABLE.fullmatch(value):
        message = "Write a name, or schema.name, of up to 63 letters, digits, _ and $ each"
        raise ValueError(message)
    return value


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _one_character(value: object) -> object:
    if isinstance(value, str):
        value = {"\\t": "\t", "tab": "\t"}.get(value, value)
        if len(value) != 1 or not value.isascii():
            message = "Write one ASCII character, or \\t for a tab"
            raise ValueError(message)
    return value


Size = Annotated[int, Metavar("SIZE"), BeforeValidator(units.size), Field(gt=0)]
"""Bytes; `"256MB"` and `"128MiB"` are understood."""

Seconds = Annotated[float, Metavar("DURATION"), BeforeValidator(units.seconds), Field(gt=0, allow_inf_nan=False)]
"""Seconds; `"90s"`, `"10m"`, `"1h30m"` and timedeltas are understood."""

Until = Annotated[str, Metavar("WHEN"), BeforeValidator(units.until)]
"""When a run ends."""

Place = Annotated[str, Metavar("URL"), BeforeValidator(_place)]
"""A path or a `gs://`, `s3://`, `obs://` or `file://` URL; `~` and `pathlib.Path` are understood."""

Files = Annotated[list[str], Metavar("FILE"), BeforeValidator(_places)]
"""Places, or none; a single one needs no list."""

Places = Annotated[Files, Field(min_length=1)]
"""One or more places; a single one needs no list."""

Names = Annotated[list[str], Metavar("NAME"), BeforeValidator(_names)]
"""A list of names; text is split at commas."""

Keys = Annotated[list[Annotated[str, Field(min_length=1)]], Metavar("KEY"), BeforeValidator(_keys)]
"""Keys of objects; text is one key or a JSON list, and is not split."""

Scheme = Literal["obs", "s3", "gs", "file"]
"""Where a bucket is; for `file` it is a folder."""

ShipNodeType = Literal["SellerFulfilled", "WFSFulfilled", "3PLFulfilled"]
"""Who ships an order: the seller, Walmart, or a third party."""

Since = Annotated[str, Metavar("WHEN"), BeforeValidator(units.since)]
"""A time in the past as RFC 3339 text in UTC; dates, durations ago and datetimes are understood."""

Day = Annotated[str, Metavar("DATE"), BeforeValidator(units.day)]
"""A day as `YYYY-MM-DD`; `YYYYMMDD` and dates are understood."""

Zone = Annotated[str, Metavar("ZONE"), BeforeValidator(units.zone)]
"""The name of an IANA time zone."""

Identifier = Annotated[str, Metavar("NAME"), BeforeValidator(_identifier), Field(max_length=64)]
"""A name in a database that needs no quotes."""

Column = Annotated[str, BeforeValidator(_identifier), Field(max_length=63)]
"""A column of PostgreSQL."""

Table = Annotated[str, Metavar("NAME"), BeforeValidator(_table)]
"""A table of PostgreSQL; it may be named with its schema."""

Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP port."""

Pairs = Annotated[dict[str, str], Metavar("NAME=VALUE"), BeforeValidator(_pairs)]
"""A mapping of text to text; `NAME=VALUE` and JSON are understood."""

ColumnType = Literal["string", "int64", "float64", "boolean", "timestamp"]

ColumnTypes = Annotated[dict[str, ColumnType], Metavar("COLUMN=TYPE"), BeforeValidator(_pairs)]
"""Types by column name."""

Share = Annotated[float, Metavar("SHARE"), Field(ge=0, le=1)]
"""A part of the whole, from 0 to 1."""

Character = Annotated[str, Metavar("CHAR"), BeforeValidator(_one_character)]

Upper = BeforeValidator(_upper)
"""Lets closed sets of capital letters be written small."""

Joined = BeforeValidator(_joined)
"""Lets a list of text stand for one text with commas."""

Text = BeforeValidator(_text)
"""Lets a number stand for its text."""

Partitions = Annotated[int | None, Field(gt=0, description="Partitions of a topic that is created.")]

Replicas = Annotated[int | None, Field(gt=0, description="Replicas of a topic that is created.")]

Partitioner = Annotated[
    Literal["murmur2_random", "murmur2", "consistent_random", "consistent", "random", "fnv1a_random", "fnv1a"],
    Metavar("NAME"),
    Field(
        description="How keys choose partitions: murmur2_random as Java and kafka-python do, consistent_random as"
        " librdkafka does, or another of librdkafka's."
    ),
]

Compression = Annotated[
    Literal["lz4", "zstd", "snappy", "gzip", "none"],
    Metavar("NAME"),
    Field(description="Compression of the messages: lz4, zstd, snappy, gzip or none."),
]
