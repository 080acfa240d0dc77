"""What a message of a change topic says, told from the rules alone: a change, or why it is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from tests.python.support.change_values import Fraction, of_type, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.python.support.shapes import Key, Shape, Values

GENERATION = 2**48
ACTIONS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
DEBEZIUM = {"c": "INSERT", "r": "INSERT", "u": "UPDATE", "d": "DELETE", "t": "TRUNCATE"}
UNAVAILABLE = "__debezium_unavailable_value"
GENERATION_HEADER = "pipeline_core.generation"
SNAPSHOT_HEADER = "pipeline_core.snapshot"


@dataclass(frozen=True)
class Change:
    """What is to be done to the table.

    Attributes:
        action: INSERT, UPDATE, DELETE or TRUNCATE.
        key: The row's key; empty for all rows.
        values: What the row shall hold, as text; empty where it shall go.
        number: The change's own number; without one it is not in the ledger.
        version: Its place among all changes of its key; without one the order of the topic counts.
    """

    action: str
    key: Key = ()
    values: Values = field(default_factory=dict[str, "str | None"])
    number: int | None = None
    version: int | None = None

    @property
    def kind(self) -> Literal["upsert", "delete", "truncate"]:
        """What it does."""
        if self.action == "TRUNCATE":
            return "truncate"
        return "delete" if self.action == "DELETE" else "upsert"


def read(
    shape: Shape, key: bytes | None, value: bytes | None, headers: Mapping[str, str], *, ignores_unknown: bool = False
) -> Change:
    """What a message says; raises RefusedError where a rule is broken."""
    if value is None:
        return Change("DELETE", _bare_key(shape, key))
    document = _object(value)
    generation = int(headers.get(GENERATION_HEADER, "0"))
    inner = document.get("payload", document)
    if "op" in inner and ("before" in inner or "after" in inner):
        return _of_envelope(shape, inner, generation)
    unknown = {*document} - {shape.id_field, shape.action_field, *(n for one in shape.columns for n in one.names)}
    if unknown and not ignores_unknown:
        refuse(f"$.{min(unknown)}", "unknown")
    action = document.get(shape.action_field)
    if not isinstance(action, str) or action not in {*ACTIONS, *map(str.lower, ACTIONS)}:
        refuse(f"$.{shape.action_field}", "unknown action")
    text = of_type("bigint", document.get(shape.id_field), f"$.{shape.id_field}")
    number = int(text) if text is not None else refuse(f"$.{shape.id_field}", "missing")
    given = {name: (f"$.{name}", document[name]) for name in document}
    is_counted = number > 0 and headers.get(SNAPSHOT_HEADER) != "true"
    version = generation * GENERATION + max(number, 0)
    return _change(shape, action.upper(), given, number if is_counted else None, version)


def _of_envelope(shape: Shape, inner: dict[str, Any], generation: int) -> Change:
    """A change in Debezium's form."""
    action = DEBEZIUM.get(inner["op"]) or refuse("$.op", "unknown")
    side = "before" if action == "DELETE" else "after"
    if inner.get(side) is None and action != "TRUNCATE":
        refuse(f"$.{side}", "missing")
    given = {name: (f"$.{side}.{name}", value) for name, value in dict(inner.get(side) or {}).items()}
    for path, value in given.values():
        if value == UNAVAILABLE:
            refuse(path, "unavailable")
    lsn = dict(inner.get("source") or {}).get("lsn")
    version = None if lsn is None else generation * GENERATION + int(lsn)
    return _change(shape, action, given, None, version, f"$.{side}")


def _change(
    shape: Shape,
    action: str,
    given: dict[str, tuple[str, Any]],
    number: int | None,
    version: int | None,
    place: str = "$",
) -> Change:
    if action == "TRUNCATE":
        return Change(action, number=number, version=version)
    values: Values = {}
    for column in shape.columns:
        if action == "DELETE" and column.name not in shape.key:
            continue
        names = column.names if place == "$" else [column.name]
        found = next((name for name in names if name in given), None)
        path, value = given[found] if found else refuse(f"{place}.{names[0]}", "missing")
        values[column.name] = text = of_type(column.type, value, path)
        if text is None and (column.required or column.name in shape.key):
            refuse(path, "null")
    return Change(action, shape.key_of(values), {} if action == "DELETE" else values, number, version)


def _bare_key(shape: Shape, key: bytes | None) -> Key:
    """The key of a message without a value."""
    if key is None:
        refuse("$", "neither key nor value")
    types = {column.name: column.type for column in shape.columns}
    try:
        texts: list[Any] = [key.decode()] if len(shape.key) == 1 else json.loads(key)
        if key[:1] == b"{":
            document = json.loads(key)
            row = document.get("payload", document)
            texts = [row[name] for name in shape.key]
        return tuple(str(of_type(types[name], text, "$")) for name, text in zip(shape.key, texts, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        refuse("$", error)


def _object(value: bytes) -> dict[str, Any]:
    def no_json(word: str) -> None:
        refuse("$", f"{word} is no JSON")

    try:
        document: Any = json.loads(value.decode("utf-8"), parse_float=Fraction, parse_constant=no_json)
        # Half a letter, which Python lets pass, is no UTF-8 either.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        refuse("$", error)
    if not isinstance(document, dict):
        refuse("$", "no object")
    return cast("dict[str, Any]", document)
