"""BSON documents made by hand: every type there is, also those that no driver writes any more, and what is none."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bson import CodecOptions, Decimal128, ObjectId
from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

TEXTS = ("", "a", "山田 Zoë 😀", 'quo"te \\ / \b\f\n\r\t', "\0", "\x7f\u2028", "$oid", "None", "x" * 300)
NAMES = ("a", "b c", "$odd", "with.dot", "ü", "0", "", "long" * 9)
NAN = float("nan")
DOUBLES = (0.0, -0.0, 1.0, -1.5, 1e300, 5e-324, 2.0**53, 0.1, float("inf"), float("-inf"), NAN)
LONGS = (0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
INTS = (0, 1, -1, 2**31 - 1, -(2**31))
# Up to the first and the last of ISO-8601's years, and outside.
INSTANTS = (0, -1, 1, 951_782_400_123, -62_135_596_800_000, 253_402_300_799_999)
OTHER_YEARS = (-62_135_596_800_001, 253_402_300_800_000, 2**63 - 1, -(2**63))
PATTERNS = (("", ""), ("^a/b\\d+$", "im"), ("é", "msx"))
SUBTYPES = (0, 1, 2, 3, 4, 5, 6, 128, 255)
DEPTH = 3
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True)
class Value:
    """A value as BSON has it: the type's byte and the bytes that follow the name."""

    kind: int
    content: bytes


Fields = Mapping[str, Value] | Iterable[tuple[str, Value]]


def document(fields: Fields) -> bytes:
    """A document of these fields in their order; pairs may repeat a name."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    body = b"".join(bytes([value.kind]) + _name(name) + value.content for name, value in pairs)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def double(number: float) -> Value:
    return Value(0x01, struct.pack("<d", number))


def text(content: str | bytes) -> Value:
    """A string; bytes may be no UTF-8."""
    return Value(0x02, _string(content))


def embedded(fields: Fields) -> Value:
    return Value(0x03, document(fields))


def array(*values: Value) -> Value:
    return Value(0x04, document((str(at), value) for at, value in enumerate(values)))


def binary(content: bytes, subtype: int = 0) -> Value:
    """Of the old subtype 2 the length stands there twice."""
    held = struct.pack("<i", len(content)) + content if subtype == 2 else content
    return Value(0x05, struct.pack("<i", len(held)) + bytes([subtype]) + held)


def undefined() -> Value:
    return Value(0x06, b"")


def object_id(content: bytes | ObjectId) -> Value:
    return Value(0x07, content.binary if isinstance(content, ObjectId) else content)


def boolean(*, is_true: bool) -> Value:
    return Value(0x08, bytes([is_true]))


def date(milliseconds: int) -> Value:
    return Value(0x09, struct.pack("<q", milliseconds))


def null() -> Value:
    return Value(0x0A, b"")


def regex(pattern: str, options: str) -> Value:
    return Value(0x0B, _name(pattern) + _name(options))


def pointer(name: str, content: bytes) -> Value:
    return Value(0x0C, _string(name) + content)


def code(content: str) -> Value:
    return Value(0x0D, _string(content))


def symbol(content: str) -> Value:
    return Value(0x0E, _string(content))


def code_with_scope(content: str, scope: Fields) -> Value:
    body = _string(content) + document(scope)
    return Value(0x0F, struct.pack("<i", len(body) + 4) + body)


def int32(number: int) -> Value:
    return Value(0x10, struct.pack("<i", number))


def timestamp(seconds: int, increment: int) -> Value:
    return Value(0x11, struct.pack("<II", increment, seconds))


def int64(number: int) -> Value:
    return Value(0x12, struct.pack("<q", number))


def decimal(written: str | bytes) -> Value:
    """A Decimal128 from its text, or its sixteen bytes."""
    return Value(0x13, written if isinstance(written, bytes) else Decimal128(written).bid)


def min_key() -> Value:
    return Value(0xFF, b"")


def max_key() -> Value:
    return Value(0x7F, b"")


DECIMAL_TEXTS = ("0", "-0", "1.10", "9.999999999999999999999999999999999E+6144", "1E-6176", "NaN", "Infinity", "-12E+3")
# How a random value of each type is made; those that hold others are given what they hold.
SCALARS: dict[str, Callable[[random.Random], Value]] = {
    "double": lambda dice: double(dice.choice([*DOUBLES, dice.uniform(-1e9, 1e9)])),
    "string": lambda dice: text(dice.choice(TEXTS)),
    "binary": lambda dice: binary(dice.randbytes(dice.choice((0, 1, 16, 16, 33))), dice.choice(SUBTYPES)),
    "uuid": lambda dice: binary(dice.randbytes(16), 4),
    "objectId": lambda dice: object_id(dice.randbytes(12)),
    "bool": lambda dice: boolean(is_true=dice.random() < 0.5),
    "date": lambda dice: date(dice.choice([*INSTANTS, dice.randrange(2**41)])),
    "null": lambda _: null(),
    "regex": lambda dice: regex(*dice.choice(PATTERNS)),
    "javascript": lambda dice: code(dice.choice(TEXTS)),
    "javascriptWithScope": lambda dice: code_with_scope(dice.choice(TEXTS), {"n": int32(1), "s": text("山")}),
    "int": lambda dice: int32(dice.choice([*INTS, dice.randrange(-9999, 9999)])),
    "timestamp": lambda dice: timestamp(dice.choice((0, 1, 1_700_000_000, 2**32 - 1)), dice.choice((0, 1, 2**32 - 1))),
    "long": lambda dice: int64(dice.choice([*LONGS, dice.randrange(-(2**62), 2**62)])),
    "decimal": lambda dice: decimal(dice.choice(DECIMAL_TEXTS)),
    "minKey": lambda _: min_key(),
    "maxKey": lambda _: max_key(),
}
# Those that no driver writes any more, and what the server of the tests does not take.
DEPRECATED: dict[str, Callable[[random.Random], Value]] = {
    "undefined": lambda _: undefined(),
    "dbPointer": lambda dice: pointer("db.c", dice.randbytes(12)),
    "symbol": lambda dice: symbol(dice.choice(TEXTS)),
    "year": lambda dice: date(dice.choice(OTHER_YEARS)),
}


def some(dice: random.Random, depth: int = DEPTH) -> Value:
    """A random value; arrays and documents in it are at most so deep."""
    [kind] = dice.choices(("scalar", "document", "array"), (80, 10, 10))
    if kind == "scalar" or not depth:
        return dice.choice([*SCALARS.values()])(dice)
    held = [some(dice, depth - 1) for _ in range(dice.randrange(4))]
    names = dice.sample(NAMES, len(held))
    return array(*held) if kind == "array" else embedded(zip(names, held, strict=True))


def any_document(dice: random.Random, key: Value, *, stored: bool = False) -> bytes:
    """A document of that id with every type in it, in any order, and random ones.

    Args:
        dice: What decides.
        key: The id.
        stored: Without what the server of the tests changes or refuses: types that no driver writes any more, and dates
            outside the years 1 to 9999.
    """
    made = [*SCALARS.values(), *[some] * 8, *([] if stored else [*DEPRECATED.values()])]
    dice.shuffle(made)
    fields = [(f"f{at}", make(dice)) for at, make in enumerate(made)]
    return document([("_id", key), *fields])


def _name(name: str) -> bytes:
    return name.encode() + b"\0"


def _string(content: str | bytes) -> bytes:
    encoded = content if isinstance(content, bytes) else content.encode()
    return struct.pack("<i", len(encoded) + 1) + encoded + b"\0"
