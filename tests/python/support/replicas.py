"""What the table, the ledger and the dead letters must be after the messages of a topic, told from the rules alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.python.support.change_values import RefusedError
from tests.python.support.changes import GENERATION, Change, read
from tests.python.support.shapes import EMPLOYEES, Key, Shape, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.python.support.topics import Message

Place = tuple[int, int]
# Older than every change.
NEVER = -1


@dataclass(frozen=True)
class Booked:
    """A row of the ledger, and the places of the topic that it may name."""

    key: Key
    action: str
    places: list[Place]


@dataclass
class Replica:
    """The table and what belongs to it.

    Attributes:
        shape: The mapping.
        ignores_unknown: The setting.
        refuses: What the server says of a row that it does not take, e.g. 23514; None of any other.
        rows: By their key.
        ledger: By the change's number.
        letters: The path that failed, or what the server says, by the message's place.
        loose: Of `letters` those that a later change of the row may have overtaken before the server saw them; then
            they are in the ledger.
        duplicates: How many changes were there before.
    """

    shape: Shape = EMPLOYEES
    ignores_unknown: bool = False
    refuses: Callable[[Values], str | None] = lambda _: None
    rows: dict[Key, Values] = field(default_factory=dict[Key, Values])
    ledger: dict[int, Booked] = field(default_factory=dict[int, Booked])
    letters: dict[Place, str] = field(default_factory=dict[Place, str])
    loose: dict[Place, Change] = field(default_factory=dict[Place, Change])
    duplicates: int = 0
    _versions: dict[Key, int | None] = field(default_factory=dict[Key, "int | None"])
    _gone: dict[Key, int] = field(default_factory=dict[Key, int])
    _emptied: int = NEVER
    _refused: dict[Place, Change] = field(default_factory=dict[Place, Change])

    def apply(self, messages: Iterable[Message]) -> Replica:
        """What follows from more messages, partition by partition."""
        for message in sorted(messages, key=lambda message: (message.partition, message.offset)):
            place = (message.partition, message.offset)
            try:
                change = read(
                    self.shape, message.key, message.value, message.headers, ignores_unknown=self.ignores_unknown
                )
            except RefusedError as refused:
                self.letters[place] = refused.path
            else:
                self._take(change, place)
        return self

    def _take(self, change: Change, place: Place) -> None:
        booked = self._booked(change)
        if booked is not None:
            self.duplicates += 1
            booked.places.append(place)
            return
        is_newest = change.version is None or self._is_newest(change, change.version)
        said = self.refuses(change.values) if change.kind == "upsert" else None
        if said is not None:
            self.letters[place] = said
            self._refused[place] = change
            if not is_newest:
                self.loose[place] = change
            return
        if is_newest:
            self._do(change)
            self.loose |= {at: other for at, other in self._refused.items() if _overtakes(change, other)}
        if change.number is not None:
            self.ledger[_number(change)] = Booked(change.key, change.action, [place])

    def _booked(self, change: Change) -> Booked | None:
        return None if change.number is None else self.ledger.get(_number(change))

    def _is_newest(self, change: Change, version: int) -> bool:
        if change.kind == "truncate":
            return version > self._emptied
        held = [self._versions.get(change.key), self._gone.get(change.key)]
        return version > self._emptied and all(version >= other for other in held if other is not None)

    def _do(self, change: Change) -> None:
        if change.kind == "upsert":
            self.rows[change.key] = change.values
            self._versions[change.key] = change.version
            return
        if change.kind == "delete":
            gone = [change.key]
            self._gone[change.key] = max(change.version or 0, self._gone.get(change.key, 0))
        else:
            limit = change.version
            gone = [key for key in self.rows if limit is None or (self._versions[key] or 0) <= limit]
            self._emptied = max(self._emptied, NEVER if limit is None else limit)
        for key in gone:
            self.rows.pop(key, None)
            self._versions.pop(key, None)


def _number(change: Change) -> int:
    """Numbers of another generation are others."""
    return (change.version or 0) // GENERATION * GENERATION + (change.number or 0)


def _overtakes(change: Change, other: Change) -> bool:
    """Whether nothing of another change is left after this one."""
    is_later = change.version is None or other.version is None or change.version >= other.version
    return is_later and change.key in {other.key, ()}
