"""Dead letters of a change, in either format."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.python.support.topics import Message

REASON = "__connect.errors.exception.message"
ORIGIN = [f"__connect.errors.{word}" for word in ("topic", "partition", "offset")]
PIPELINE = "pipeline_core.pipeline"
FORMAT = "pipeline_core.dlq_format"
OWN = {REASON, *ORIGIN, PIPELINE, FORMAT}
# The original's, in its order.
FIELDS = [
    "original_topic",
    "original_partition",
    "original_offset",
    "original_key",
    "original_value",
    "error_reason",
    "timestamp",
]


@dataclass(frozen=True)
class Letter:
    """A message that was refused.

    Attributes:
        topic: Where it was.
        partition: Where it was.
        offset: Where it was.
        key: Its bytes.
        value: Its bytes.
        reason: Why it was refused.
        form: `original` or `raw`.
        time: Milliseconds; the original format alone has them.
        headers: Those that it had itself.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    form: str
    time: int | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def place(self) -> tuple[int, int]:
        """Where it was on its topic."""
        return (self.partition, self.offset)


def letter(message: Message) -> Letter:
    """A message of the dead-letter topic, checked for its shape."""
    given = message.headers
    assert given.keys() >= OWN - {FORMAT}, given
    assert given[PIPELINE] == "cdc_to_postgres"
    topic, partition, offset = (given[name] for name in ORIGIN)
    kept = {name: text for name, text in given.items() if name not in OWN}
    place = (topic, int(partition), int(offset))
    if FORMAT not in given:
        return Letter(*place, message.key, message.value, given[REASON], "raw", None, kept)
    assert given[FORMAT] == "original"
    told = json.loads(message.value or b"")
    assert list(told) == FIELDS, told
    assert (told["original_topic"], told["original_partition"], told["original_offset"]) == place
    assert told["error_reason"] == given[REASON]
    key, value = (None if text is None else text.encode() for text in (told["original_key"], told["original_value"]))
    assert key == message.key
    return Letter(*place, key, value, told["error_reason"], "original", told["timestamp"], kept)
