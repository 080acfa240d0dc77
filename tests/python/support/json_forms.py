"""BSON as JSON, told from the rules alone: what `canonical`, `relaxed` and `plain` must say, and back to the bytes.

An object is a `Pairs`, so that the order of its fields counts, and a name may be there twice.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from bson import Decimal128
from tests.python.support import documents
from tests.python.support.documents import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMS = ("canonical", "relaxed", "plain")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Milliseconds of the years 1970 to 9999, which `relaxed` writes as text, and 1 to 9999.
RELAXED_DATES = range(253_402_300_800_000)
PLAIN_DATES = range(-62_135_596_800_000, 253_402_300_800_000)


class Pairs(tuple[tuple[str, Any], ...]):
    """The fields of a JSON object."""

    __slots__ = ()


def parse(written: str | bytes) -> Any:
    """JSON as a user reads it; NaN and Infinity are none."""

    def refuse(name: str) -> None:
        message = f"{name} is no JSON"
        raise ValueError(message)

    return json.loads(written, object_pairs_hook=Pairs, parse_constant=refuse)


def written(value: Any) -> str:
    """Compact JSON in raw UTF-8."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{written(name)}:{written(held)}" for name, held in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def form(raw: bytes, name: str) -> Pairs:
    """A document in one of the forms."""
    write: Callable[[Value], Any] = {"canonical": canonical, "relaxed": relaxed, "plain": plain}[name]
    return Pairs((field, write(value)) for field, value in fields(raw))


def fields(raw: bytes) -> Iterator[tuple[str, Value]]:
    """The fields of a document."""
    at, end = 4, struct.unpack_from("<i", raw)[0] - 1
    assert raw[end:] == b"\0", "The document does not end where it says"
    while at < end:
        kind, stop = raw[at], raw.index(b"\0", at + 1)
        size = _size(kind, raw, stop + 1)
        yield raw[at + 1 : stop].decode(), Value(kind, raw[stop + 1 : stop + 1 + size])
        at = stop + 1 + size


def key(raw: bytes) -> bytes:
    """The message key of a document."""
    [found] = [value for name, value in fields(raw) if name == "_id"]
    match found.kind:
        case 0x07:
            return found.content.hex().encode()
        case 0x02:
            return found.content[4:-1]
        case _:
            return written(canonical(found)).encode()


def canonical(value: Value) -> Any:
    """MongoDB Extended JSON v2, canonical."""
    content = value.content
    match value.kind:
        case 0x01:
            return _one("$numberDouble", _double_text(*struct.unpack("<d", content)))
        case 0x10:
            return _one("$numberInt", str(*struct.unpack("<i", content)))
        case 0x12:
            return _one("$numberLong", str(*struct.unpack("<q", content)))
        case 0x09:
            return _one("$date", _one("$numberLong", str(*struct.unpack("<q", content))))
        case _:
            return _extended(value, canonical)


def relaxed(value: Value) -> Any:
    """MongoDB Extended JSON v2, relaxed."""
    content = value.content
    match value.kind:
        case 0x01:
            [number] = struct.unpack("<d", content)
            return number if math.isfinite(number) else canonical(value)
        case 0x10 | 0x12:
            return int.from_bytes(content, "little", signed=True)
        case 0x09:
            [instant] = struct.unpack("<q", content)
            if instant not in RELAXED_DATES:
                return canonical(value)
            return _one("$date", _iso(instant, "milliseconds" if instant % 1000 else "seconds"))
        case _:
            return _extended(value, relaxed)


def plain(value: Value) -> Any:
    """The form for those who know nothing of MongoDB."""
    return PLAIN[value.kind](value.content)


def bson(value: Pairs) -> bytes:
    """The document that canonical Extended JSON tells of."""
    return documents.document((name, _value(held)) for name, held in value)


def _extended(value: Value, write: Callable[[Value], Any]) -> Any:
    """What canonical and relaxed write alike."""
    if value.kind == 0x03:
        return Pairs((name, write(held)) for name, held in fields(value.content))
    if value.kind == 0x04:
        return [write(held) for _, held in fields(value.content)]
    if value.kind == 0x0F:
        written_code, scope = _scoped(value.content)
        return Pairs([("$code", written_code), ("$scope", Pairs((name, write(held)) for name, held in fields(scope)))])
    return EXTENDED[value.kind](value.content)


def _value(found: Any) -> Value:
    """The value that canonical Extended JSON tells of."""
    match found:
        case None:
            return documents.null()
        case bool():
            return documents.boolean(is_true=found)
        case str():
            return documents.text(found)
        case list():
            return documents.array(*map(_value, found))
        case _:
            assert isinstance(found, Pairs), f"Canonical Extended JSON has no bare {found!r}"
            return _wrapped(found) or documents.embedded((name, _value(held)) for name, held in found)


def _wrapped(found: Pairs) -> Value | None:
    """The value of an object that stands for a type; None of a mere document."""
    names = tuple(name for name, _ in found)
    if names == ("$code", "$scope"):
        (_, content), (_, scope) = found
        return documents.code_with_scope(content, [(name, _value(held)) for name, held in scope])
    if len(names) != 1 or names[0] not in WRAPPED:
        return None
    [held] = (held for _, held in found)
    return WRAPPED[names[0]](dict(held) if isinstance(held, Pairs) else held)


def _size(kind: int, raw: bytes, at: int) -> int:
    """How many bytes a value has that begins there."""
    fixed = {
        0x01: 8,
        0x06: 0,
        0x07: 12,
        0x08: 1,
        0x09: 8,
        0x0A: 0,
        0x10: 4,
        0x11: 8,
        0x12: 8,
        0x13: 16,
        0xFF: 0,
        0x7F: 0,
    }
    if kind in fixed:
        return fixed[kind]
    if kind == 0x0B:
        return raw.index(b"\0", raw.index(b"\0", at) + 1) + 1 - at
    [length] = struct.unpack_from("<i", raw, at)
    return length + {0x02: 4, 0x0D: 4, 0x0E: 4, 0x03: 0, 0x04: 0, 0x0F: 0, 0x05: 5, 0x0C: 16}[kind]


def _binary(content: bytes) -> tuple[int, bytes]:
    return content[4], content[9:] if content[4] == 2 else content[5:]


def _double_text(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return repr(number) if math.isfinite(number) else ("Infinity" if number > 0 else "-Infinity")


def _iso(instant: int, precision: str) -> str:
    moment = EPOCH + timedelta(milliseconds=instant)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _one(name: str, value: Any) -> Pairs:
    return Pairs([(name, value)])


def _text(content: bytes) -> str:
    return content[4:-1].decode()


def _plain_double(content: bytes) -> Any:
    [number] = struct.unpack("<d", content)
    return number if math.isfinite(number) else _double_text(number)


def _plain_binary(content: bytes) -> str:
    subtype, held = _binary(content)
    is_uuid = subtype == 4 and len(held) == 16
    return str(uuid.UUID(bytes=held)) if is_uuid else base64.b64encode(held).decode()


def _plain_date(content: bytes) -> Any:
    instant = _integer(content)
    return _iso(instant, "milliseconds") if instant in PLAIN_DATES else instant


def _regex(content: bytes) -> tuple[str, str]:
    pattern, options, _ = content.decode().split("\0")
    return pattern, options


def _scoped(content: bytes) -> tuple[str, bytes]:
    """Code and its scope."""
    end = 8 + struct.unpack_from("<i", content, 4)[0]
    return content[8 : end - 1].decode(), content[end:]


def _integer(content: bytes) -> int:
    return int.from_bytes(content, "little", signed=True)


def _extended_binary(content: bytes) -> Pairs:
    subtype, held = _binary(content)
    return Pairs([("base64", base64.b64encode(held).decode()), ("subType", f"{subtype:02x}")])


def _extended_timestamp(content: bytes) -> Pairs:
    increment, seconds = struct.unpack("<II", content)
    return Pairs([("t", seconds), ("i", increment)])


PLAIN: dict[int, Callable[[bytes], Any]] = {
    0x01: _plain_double,
    0x02: _text,
    0x03: lambda content: Pairs((name, plain(held)) for name, held in fields(content)),
    0x04: lambda content: [plain(held) for _, held in fields(content)],
    0x05: _plain_binary,
    0x06: lambda _: None,
    0x07: bytes.hex,
    0x08: lambda content: content == b"\1",
    0x09: _plain_date,
    0x0A: lambda _: None,
    0x0B: lambda content: "/{}/{}".format(*_regex(content)),
    0x0C: lambda content: content[-12:].hex(),
    0x0D: _text,
    0x0E: _text,
    0x0F: lambda content: _scoped(content)[0],
    0x10: _integer,
    0x11: lambda content: _iso(_integer(content[4:] + b"\0") * 1000, "seconds"),
    0x12: _integer,
    0x13: lambda content: str(Decimal128.from_bid(content)),
    0x7F: lambda _: "MaxKey",
    0xFF: lambda _: "MinKey",
}
# What canonical and relaxed write alike, but for those that hold others.
EXTENDED: dict[int, Callable[[bytes], Any]] = {
    0x02: _text,
    0x05: lambda content: _one("$binary", _extended_binary(content)),
    0x06: lambda _: _one("$undefined", value=True),
    0x07: lambda content: _one("$oid", content.hex()),
    0x08: lambda content: content == b"\1",
    0x0A: lambda _: None,
    0x0B: lambda content: _one("$regularExpression", Pairs(zip(("pattern", "options"), _regex(content), strict=True))),
    0x0C: lambda content: _one(
        "$dbPointer", Pairs([("$ref", content[4:-13].decode()), ("$id", _one("$oid", content[-12:].hex()))])
    ),
    0x0D: lambda content: _one("$code", _text(content)),
    0x0E: lambda content: _one("$symbol", _text(content)),
    0x11: lambda content: _one("$timestamp", _extended_timestamp(content)),
    0x13: lambda content: _one("$numberDecimal", str(Decimal128.from_bid(content))),
    0x7F: lambda _: _one("$maxKey", 1),
    0xFF: lambda _: _one("$minKey", 1),
}
# What an object of this one name stands for.
WRAPPED: dict[str, Callable[[Any], Value]] = {
    "$binary": lambda held: documents.binary(base64.b64decode(held["base64"]), int(held["subType"], 16)),
    "$code": documents.code,
    "$date": lambda held: documents.date(int(held["$numberLong"])),
    "$dbPointer": lambda held: documents.pointer(held["$ref"], bytes.fromhex(dict(held["$id"])["$oid"])),
    "$maxKey": lambda _: documents.max_key(),
    "$minKey": lambda _: documents.min_key(),
    "$numberDecimal": documents.decimal,
    "$numberDouble": lambda held: documents.double(float(held)),
    "$numberInt": lambda held: documents.int32(int(held)),
    "$numberLong": lambda held: documents.int64(int(held)),
    "$oid": lambda held: documents.object_id(bytes.fromhex(held)),
    "$regularExpression": lambda held: documents.regex(held["pattern"], held["options"]),
    "$symbol": documents.symbol,
    "$timestamp": lambda held: documents.timestamp(held["t"], held["i"]),
    "$undefined": lambda _: documents.undefined(),
}
