"""What a dead-letter topic holds, and what sending it again came to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pipeline_core.report import Document, brief, counted


@dataclass(frozen=True)
class Letter:
    """One dead letter.

    Attributes:
        partition: Its partition.
        offset: Its offset.
        time: When it was written.
        key: Key of the message that was refused, as text.
        origin: Where that message was.
        reason: Why it was refused.
        value: The first 500 characters of its value.
        replays: How often it had been sent again before.
    """

    partition: int
    offset: int
    time: datetime | None = None
    key: str | None = None
    origin: str | None = None
    reason: str | None = None
    value: str | None = None
    replays: int = 0


@dataclass(frozen=True)
class LetterReason:
    """A reason, and the letters that have it.

    Attributes:
        reason: Why they were refused, without the numbers and values that differ.
        count: How many they are.
        examples: Some of them.
    """

    reason: str
    count: int
    examples: list[Letter] = field(default_factory=list[Letter])


@dataclass(frozen=True, repr=False)
class LetterSummary(Document):
    """What a dead-letter topic holds.

    Attributes:
        topic: The topic.
        letters: How many letters it holds of those that were asked for.
        first: When the first was written; None where there is none.
        last: When the last was written; None where there is none.
        reasons: Why they were refused, the most frequent reason first.
        pipelines: How many each pipeline refused.
        origins: How many came from each topic.
    """

    topic: str
    letters: int
    first: datetime | None = None
    last: datetime | None = None
    reasons: list[LetterReason] = field(default_factory=list[LetterReason])
    pipelines: dict[str, int] = field(default_factory=dict[str, int])
    origins: dict[str, int] = field(default_factory=dict[str, int])

    def heading(self) -> str:
        """`bf_employee_cdc_dlq: 12 letters`."""
        return f"{self.topic}: {counted(self.letters, 'letter')}"

    def lines(self) -> Iterator[tuple[str, str]]:
        """When, from where, and each reason with its examples."""
        if self.first is not None and self.last is not None:
            yield "first", self.first.isoformat(sep=" ", timespec="seconds")
            yield "last", self.last.isoformat(sep=" ", timespec="seconds")
        yield from (("from", f"{topic}: {count:,}") for topic, count in self.origins.items())
        yield from (("refused by", f"{name}: {count:,}") for name, count in self.pipelines.items())
        for item in self.reasons:
            yield "reason", f"{item.count:,} times: {item.reason}"
            yield from (("  example", _told(letter)) for letter in item.examples)


@dataclass(frozen=True)
class ReplayFailure:
    """A letter that would be refused again.

    Attributes:
        partition: Its partition.
        offset: Its offset.
        reason: Why.
    """

    partition: int
    offset: int
    reason: str


@dataclass(frozen=True, repr=False)
class ReplayReport(Document):
    """What sending dead letters again came to.

    Attributes:
        topic: The dead-letter topic.
        dry_run: Whether nothing was sent.
        chosen: Letters that were asked for.
        replayed: Letters that were sent.
        would_succeed: Of a dry run: letters that would be taken now.
        would_fail: Of a dry run: letters that would be refused again.
        skipped: Letters that are not sent, by the reason.
        failures: The first 20 of those that would be refused again.
        to: How many were sent to each topic, or would be.
    """

    topic: str
    dry_run: bool
    chosen: int
    replayed: int
    would_succeed: int = 0
    would_fail: int = 0
    skipped: dict[str, int] = field(default_factory=dict[str, int])
    failures: list[ReplayFailure] = field(default_factory=list[ReplayFailure])
    to: dict[str, int] = field(default_factory=dict[str, int])

    def heading(self) -> str:
        """`bf_employee_cdc_dlq: 11 of 12 letters sent again`."""
        if self.dry_run:
            return f"{self.topic}: {counted(self.chosen, 'letter')} tried, none sent"
        return f"{self.topic}: {self.replayed:,} of {counted(self.chosen, 'letter')} sent again"

    def lines(self) -> Iterator[tuple[str, str]]:
        """What became of them, and what holds the others back."""
        if self.dry_run:
            yield "would succeed", f"{self.would_succeed:,}"
            yield "would fail", f"{self.would_fail:,}"
        if self.to:
            yield "to", brief([f"{topic}: {count:,}" for topic, count in self.to.items()])
        yield from (("left out", f"{count:,}: {why}") for why, count in self.skipped.items())
        yield from (("failure", f"{item.partition}/{item.offset}: {item.reason}") for item in self.failures)


def _told(letter: Letter) -> str:
    """A letter on one line."""
    parts = [f"{letter.partition}/{letter.offset}"]
    parts += [f"at {letter.time.isoformat(sep=' ', timespec='seconds')}"] if letter.time else []
    parts += [f"from {letter.origin}"] if letter.origin else []
    parts += [f"key {letter.key}"] if letter.key is not None else []
    parts += [f"sent again {counted(letter.replays, 'time')}"] if letter.replays else []
    parts += [letter.reason] if letter.reason else []
    value = "" if letter.value is None else f": {' '.join(letter.value.split())}"
    return ", ".join(parts) + value
