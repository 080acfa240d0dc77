"""What a run did, to read in a terminal or notebook and to hand on as plain data."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any, Literal, cast

from pydantic import TypeAdapter
from typing_extensions import Self

from pipeline_core.units import bytes_text, seconds_text

# From here on, tenths are fine enough.
_TENTHS = 100
_CELL = "padding:0.15em 0.8em;text-align:left;vertical-align:top;border-bottom:1px solid rgba(128,128,128,0.35)"


class Document:
    """A report that the engine wrote as JSON; the subclasses are frozen dataclasses."""

    @classmethod
    def from_json(cls, document: str) -> Self:
        """The report in a JSON document."""
        return TypeAdapter(cls).validate_json(document)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in the engine's JSON: times are RFC 3339 text."""
        return cast("dict[str, Any]", TypeAdapter(type(self)).dump_python(self, mode="json"))

    def heading(self) -> str:
        """One line that says what became of it."""
        raise NotImplementedError

    def lines(self) -> Iterator[tuple[str, str]]:
        """Names and texts, the most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = list(self.lines())
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join([self.heading(), *(f"  {name:<{width}}  {text}" for name, text in rows)])

    def _repr_html_(self) -> str:
        """A small table that takes its colours from the notebook's theme."""
        rows = "".join(
            f'<tr><th scope="row" style="{_CELL}">{escape(name)}</th><td style="{_CELL}">{escape(text)}</td></tr>'
            for name, text in self.lines()
        )
        style = "caption-side:top;padding:0.15em 0.8em;text-align:left;color:inherit"
        caption = f'<caption style="{style}">{escape(self.heading())}</caption>'
        return f'<table style="border-collapse:collapse">{caption}<tbody>{rows}</tbody></table>'


@dataclass(frozen=True, repr=False)
class Report(Document):
    """What one run of a pipeline did.

    Attributes:
        pipeline: Its name, such as `csv_to_kafka`.
        status: `complete`, or `stopped` by a stop token or signal.
        reason: Why it ended.
        rows_read: Rows taken from the source.
        rows_written: Rows the sink has for good.
        rows_rejected: Rows refused and put into the dead letters.
        bytes_read: Bytes taken from the source.
        bytes_written: Bytes the sink has for good.
        started_at: When it began.
        seconds: How long it took.
        details: What only this pipeline has to say, such as the encoding taken or the objects written.
    """

    pipeline: str
    status: Literal["complete", "stopped"]
    reason: str
    rows_read: int
    rows_written: int
    rows_rejected: int
    bytes_read: int
    bytes_written: int
    started_at: datetime
    seconds: float
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def rows_per_second(self) -> float:
        """Rows written a second, over the whole run."""
        return self.rows_written / self.seconds if self.seconds > 0 else 0.0

    def heading(self) -> str:
        """`csv_to_kafka complete in 3.2 s (end of input)`."""
        return f"{self.pipeline} {self.status} in {seconds_text(self.seconds)} ({self.reason})"

    def lines(self) -> Iterator[tuple[str, str]]:
        """Counts first, then the details that there are."""
        yield "rows", f"{self.rows_read:,} read, {self.rows_written:,} written, {self.rows_rejected:,} rejected"
        yield "bytes", f"{bytes_text(self.bytes_read)} read, {bytes_text(self.bytes_written)} written"
        yield "rate", f"{self.rows_per_second:,.0f} rows a second"
        yield "started", self.started_at.isoformat(sep=" ", timespec="seconds")
        for name, value in self.details.items():
            if value not in (None, "", {}):
                yield name.replace("_", " "), brief(value)


@dataclass(frozen=True)
class PartitionReport:
    """One partition's rows in the objects, against the topic.

    Attributes:
        partition: Its number.
        objects: How many objects hold rows of it.
        rows: Rows in them, or None where the format does not say.
        rejected: Messages among their offsets that were refused and are in the dead letters.
        first_offset: The lowest offset in them.
        last_offset: The highest offset in them.
        gaps: Ranges of offsets, both ends included, that no object accounts for though the topic has them.
        overlaps: Ranges of offsets, both ends included, that several objects hold.
        topic_low: First offset that the topic still has.
        topic_high: Offset that the topic's next message will get.
        behind: Messages on the topic after `last_offset`.
    """

    partition: int
    objects: int
    rows: int | None = None
    rejected: int = 0
    first_offset: int | None = None
    last_offset: int | None = None
    gaps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    overlaps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    topic_low: int | None = None
    topic_high: int | None = None
    behind: int = 0


@dataclass(frozen=True, repr=False)
class VerifyReport(Document):
    """Whether the objects in a place hold each message of a topic once.

    Attributes:
        topic: The topic.
        url: The place.
        ok: Whether nothing is wrong.
        rows: Rows in all objects, or None where the format does not say.
        rejected: Messages that were refused and are in the dead letters.
        objects: How many objects there are.
        partitions: Each partition's ranges.
        problems: What is wrong, one sentence each.
    """

    topic: str
    url: str
    ok: bool
    rows: int | None
    partitions: list[PartitionReport]
    problems: list[str] = field(default_factory=list[str])
    rejected: int = 0
    objects: int = 0

    def heading(self) -> str:
        """`orders in ./lake: ok`."""
        found = "ok" if self.ok else counted(len(self.problems), "problem")
        return f"{self.topic} in {self.url}: {found}"

    def lines(self) -> Iterator[tuple[str, str]]:
        """Problems first, then each partition."""
        for problem in self.problems:
            yield "problem", problem
        rows = "" if self.rows is None else f"{self.rows:,} in "
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        yield "rows", f"{rows}{counted(self.objects, 'object')}{rejected}"
        for part in self.partitions:
            text = f"{counted(part.objects, 'object')}, offsets {part.first_offset} to {part.last_offset}"
            text += "" if part.rows is None else f", {part.rows:,} rows"
            text += f", {part.rejected:,} rejected" if part.rejected else ""
            text += f", {part.behind:,} behind the topic" if part.behind else ""
            yield f"partition {part.partition}", text if part.objects else "no objects"


@dataclass(frozen=True)
class Migration:
    """How a table of the original's shape got our key.

    Attributes:
        from_key: Columns of its key before.
        rows: Rows that it has, before and after.
        renumbered: Rows that had no line number, or one that another row had, and were given one.
    """

    from_key: list[str]
    rows: int
    renumbered: int = 0


@dataclass(frozen=True, repr=False)
class DatabaseReport(Document):
    """What making the tables of a pipeline did.

    Attributes:
        server: The server and its version.
        database: The database of the tables.
        created: Databases and tables that were missing and are there now.
        migrated: What was done to a table that was there, or None.
        statements: The SQL that changed something, in order.
    """

    server: str
    database: str
    created: list[str] = field(default_factory=list[str])
    migrated: Migration | None = None
    statements: list[str] = field(default_factory=list[str])

    def heading(self) -> str:
        """`ods on MariaDB 10.11.6: 9 created`."""
        parts = [f"{len(self.created):,} created"] if self.created else []
        parts += ["1 table migrated"] if self.migrated else []
        return f"{self.database} on {self.server}: {', '.join(parts) or 'nothing to do'}"

    def lines(self) -> Iterator[tuple[str, str]]:
        """What was created first."""
        for name in self.created:
            yield "created", name
        if self.migrated:
            key = ", ".join(self.migrated.from_key)
            text = f"{self.migrated.rows:,} rows kept, {self.migrated.renumbered:,} lines numbered anew"
            yield "migrated", f"from the key ({key}): {text}"
        yield "statements", f"{len(self.statements):,}"


def brief(value: object, longest: int = 5) -> str:
    """A detail on one line: long lists are counted, what is not known is left out."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        more = f" and {len(items) - longest:,} more" if len(items) > longest else ""
        between = "; " if any(isinstance(item, dict) for item in items) else ", "
        return between.join(brief(item) for item in items[:longest]) + more
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return ", ".join(f"{name.replace('_', ' ')} {brief(item)}" for name, item in pairs if item is not None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= _TENTHS else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def counted(count: int, noun: str) -> str:
    """`1 object`, `2,000 objects`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
