"""What a topic may say of documents whose changes are known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from tests.python.support.feeds import OPERATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.python.support.document_writers import Change
    from tests.python.support.topics import Message

KINDS = {"replace": "update"}


class Told(NamedTuple):
    """What a message says: the kind of change, and the version where it has a document."""

    kind: str
    version: int


class Vanished(NamedTuple):
    """How many updates were not sent, because their documents were gone: at least and at most."""

    at_least: int
    at_most: int


def told(message: Message) -> Told:
    """What a message of a stream says."""
    operation = message.headers[OPERATION]
    version = json.loads(message.value)["version"] if message.value is not None else 0
    assert (message.value is None) == (operation == "delete"), message
    return Told(KINDS.get(operation, operation), version)


def assert_told(
    expected: Mapping[bytes, Sequence[Change]], found: Mapping[bytes, Sequence[Message]], *, after_snapshot: bool
) -> Vanished:
    """Each change of each document is told once and in order.

    An update may show a later version. It may be missing where its document was deleted afterwards.

    Args:
        expected: The changes by key.
        found: The messages by key.
        after_snapshot: The stream began with documents that were read; then changes before those are not there.
    """
    assert expected, "Nothing was written: the test sees nothing"
    assert found.keys() <= expected.keys(), f"Of {sorted(found.keys() - expected.keys())[:3]} nobody knows"
    wrong: dict[bytes, str] = {}
    at_least = at_most = 0
    for key, changes in expected.items():
        messages = [told(message) for message in found.get(key, ())]
        read = [one.version for one in messages[:1] if one.kind == "read"]
        try:
            begin, vanished = _aligned(changes, messages[len(read) :])
            if after_snapshot:
                _assert_no_gap(changes, begin, read)
            else:
                assert not read, "There was no snapshot"
                assert not begin, "It does not begin with the first change"
        except AssertionError as error:
            wrong[key] = f"{error}: {changes[-12:]} was told as {messages[-12:]}"
            continue
        at_least += vanished
        at_most += vanished + sum(change.kind == "update" for change in changes[:begin])
    assert not wrong, f"{len(wrong)} of {len(expected)} are told wrong: {next(iter(wrong.items()))}"
    return Vanished(at_least, at_most)


def _aligned(changes: Sequence[Change], messages: Sequence[Told]) -> tuple[int, int]:
    """Where the messages begin in the changes, and how many updates after that are not told; from the end backwards."""
    at, vanished, end = len(changes), 0, None
    for message in reversed(messages):
        while True:
            assert at, f"{message} is not among the changes"
            change = changes[at - 1]
            if end and end.is_vague and change.kind != "delete" and message.version > change.version:
                break
            if _is(change, message):
                at -= 1
                end = {"delete": change, "insert": None}.get(change.kind, end)
                break
            assert change.kind == "update", f"{change} is not told"
            assert end, f"{change} is not told, and the document is there"
            vanished += 1
            at -= 1
    return at, vanished


def _is(change: Change, message: Told) -> bool:
    if change.kind == "update":
        return message.kind == "update" and change.version <= message.version
    return change.kind == message.kind and (change.kind == "delete" or change.version == message.version)


def _assert_no_gap(changes: Sequence[Change], begin: int, read: Sequence[int]) -> None:
    """What was not told as a change was told by the snapshot, or is of a document that was deleted before it came."""
    untold, told_after = changes[:begin], changes[begin:]
    ends = next((change.kind for change in told_after if change.kind != "update"), None)
    if read:
        missed = [change for change in untold if change.version > read[0] or change == ("delete", read[0], False)]
        has_vanished = ends == "delete" and all(change.kind == "update" for change in missed)
        assert has_vanished or not missed, f"{missed} are behind what the snapshot read, version {read[0]}"
    elif untold and untold[-1].kind != "delete":
        assert ends == "delete", "The snapshot has left it out"
