"""Orders written in other ways: some say the same by the parser's rules, some have holes, some hold anything at all."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from tests.python.support.order_columns import Number, loads

if TYPE_CHECKING:
    from collections.abc import Iterator

# Places of an order: keys and indices from its top.
Place = tuple[str | int, ...]

SINGLE = {"orderLine", "charge", "orderLineStatus", "refundCharge"}
JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
# Whose spelling as a number or as text is the same by the rules: all of them are columns.
SPELT = {
    "purchaseOrderId",
    "customerOrderId",
    "orderDate",
    "estimatedDeliveryDate",
    "estimatedShipDate",
    "lineNumber",
    "amount",
    "statusDate",
    "shipDateTime",
    "phone",
    "postalCode",
    "carrierMethodCode",
    "trackingNumber",
}
LONGEST_WHOLE = 18

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
# Not `randoms`: an order takes thousands of throws.
dice = st.integers(min_value=0, max_value=2**32).map(random.Random)
unknown = st.dictionaries(st.text(max_size=9).map(lambda name: f"x-{name}"), anything, min_size=1, max_size=3)


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place of a document below its top."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key)
        yield from places(item, (*place, key))


def at(value: Any, place: Place) -> Any:
    """What stands at a place."""
    for key in place:
        value = value[key]
    return value


def put(document: Any, place: Place, value: object) -> None:
    """Put something at a place that is there."""
    at(document, place[:-1])[place[-1]] = value


def respell(document: Any, place: Place) -> None:
    """A number becomes text, text that is a number becomes one, an array of one becomes its element."""
    found, name = at(document, place), place[-1]
    if isinstance(found, list) and len(found) == 1 and name in SINGLE:
        put(document, place, found[0])
    elif name not in SPELT:
        return
    elif isinstance(found, Number):
        put(document, place, str(found))
    elif isinstance(found, str) and JSON_NUMBER.fullmatch(found) and len(found) <= LONGEST_WHOLE:
        put(document, place, Number(found))


@st.composite
def respelt(draw: st.DrawFn, order: bytes) -> bytes:
    """The same order: numbers as text and the other way round, one object for an array, fields that nobody knows."""
    document = loads(order)
    # The deepest first: an array that becomes its element takes the places below it along.
    for place in sorted(draw(st.sets(st.sampled_from(list(places(document))), max_size=20)), key=len, reverse=True):
        respell(document, place)
    objects = [place for place in [(), *places(document)] if isinstance(at(document, place), dict)]
    for place in draw(st.lists(st.sampled_from(objects), max_size=3)):
        at(document, place).update(loads(json.dumps(draw(unknown))))
    return written(document, draw(dice))


@st.composite
def holed(draw: st.DrawFn, order: bytes) -> bytes:
    """The order with null at some places; a line itself is none of them."""
    document = loads(order)
    allowed = [place for place in places(document) if place[-2:-1] != ("orderLine",)]
    for place in sorted(draw(st.sets(st.sampled_from(allowed), min_size=1, max_size=8)), key=len, reverse=True):
        put(document, place, None)
    return written(document, draw(dice))


@st.composite
def broken(draw: st.DrawFn, order: bytes) -> bytes:
    """The order with anything at all at some places."""
    document = loads(order)
    chosen = draw(st.sets(st.sampled_from(list(places(document))), min_size=1, max_size=4))
    for place in sorted(chosen, key=len, reverse=True):
        put(document, place, loads(json.dumps(draw(anything))))
    return written(document, draw(dice))


def written(value: Any, by: random.Random) -> bytes:
    """JSON with blanks, escapes and an order of keys by chance; numbers as they are written."""
    return _text(value, by).encode()


def _text(value: Any, by: random.Random) -> str:
    blank = by.choice(["", "", "", " ", "\n\t", "\r\n"])
    if isinstance(value, Number):
        return f"{blank}{value}"
    if isinstance(value, str):
        return blank + _string(value, by)
    if isinstance(value, dict):
        pairs = list(value.items())
        by.shuffle(pairs)
        return f"{blank}{{{','.join(f'{_string(name, by)}{blank}:{_text(item, by)}' for name, item in pairs)}{blank}}}"
    if isinstance(value, list):
        return f"{blank}[{','.join(_text(item, by) for item in value)}{blank}]"
    return blank + json.dumps(value)


def _string(value: str, by: random.Random) -> str:
    """A string as JSON writes it: plain, or with some letters as \\uXXXX; one beyond 16 bits is a pair of them."""
    if by.random() < 0.5:
        return json.dumps(value, ensure_ascii=False)
    return '"' + "".join(_letter(letter, by) for letter in value) + '"'


def _letter(letter: str, by: random.Random) -> str:
    if by.random() < 0.7:
        plain = json.dumps(letter, ensure_ascii=by.random() < 0.5)[1:-1]
        return plain.replace("/", by.choice(["/", "\\/"]))
    pairs = letter.encode("utf-16-be").hex()
    digits = [pairs[place : place + 4] for place in range(0, len(pairs), 4)]
    return "".join(f"\\u{by.choice([unit, unit.upper()])}" for unit in digits)
