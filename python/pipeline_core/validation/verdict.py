"""What the checks of some files found, for a terminal, a notebook, a page and other programs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pipeline_core.report import Document, VerifyReport, counted
from pipeline_core.units import bytes_text, seconds_text


@dataclass(frozen=True)
class Check:
    """One rule, and how often it was broken.

    Attributes:
        rules: The rule set that it belongs to.
        rule: What must be so, such as `unique` or `number from 0`.
        column: The column that it is about; None where it is about files or whole rows.
        failed: Rows that break it, or files where it is about files.
        example: A value that breaks it.
        file: The file of the example, below the place.
        row: The row of the example in that file, the first is 1.
    """

    rules: str
    rule: str
    column: str | None = None
    failed: int = 0
    example: str | None = None
    file: str | None = None
    row: int | None = None

    @property
    def where(self) -> str:
        """`row 3 of a.parquet`, or nothing."""
        return " of ".join(part for part in (f"row {self.row:,}" if self.row else "", self.file or "") if part)

    def __str__(self) -> str:
        about = f"column {self.column!r}, {self.rule}" if self.column else self.rule
        such = f", such as {self.example!r}" if self.example is not None else ""
        place = f" in {self.where}" if self.where else ""
        return f"{self.rules}: {about}: {self.failed:,} failed{such}{place}"


@dataclass(frozen=True)
class ColumnSummary:
    """One column over all files.

    Attributes:
        name: Its name.
        types: Its types in the files, one unless files differ.
        rows: Rows of the files that have it.
        nulls: Rows without a value.
        empty: Rows with an empty text.
        example: Its first value.
    """

    name: str
    types: list[str]
    rows: int = 0
    nulls: int = 0
    empty: int = 0
    example: str | None = None


@dataclass(frozen=True, repr=False)
class ValidationReport(Document):
    """Whether the files in a place are what their rules say.

    Attributes:
        url: The place.
        rules: The rule sets that were applied.
        ok: Whether no check failed and, where the topic was asked, nothing is wrong with the counts.
        files: Parquet files that there are.
        rows: Rows in those that can be read.
        bytes: Their size.
        started_at: When it began.
        seconds: How long it took.
        checks: Every rule that was applied, those that failed first.
        columns: Every column.
        topic: What `verify` found, where the topic was asked.
    """

    url: str
    rules: list[str]
    ok: bool
    files: int
    rows: int
    bytes: int
    started_at: datetime
    seconds: float
    checks: list[Check]
    columns: list[ColumnSummary] = field(default_factory=list[ColumnSummary])
    topic: VerifyReport | None = None

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.failed]

    def heading(self) -> str:
        """`./lake by any, supply_chain: ok`."""
        failed = len(self.failures)
        wrong = [f"{failed:,} of {counted(len(self.checks), 'check')} failed"] if failed else []
        problems = self.topic.problems if self.topic else []
        wrong += [f"{counted(len(problems), 'problem')} with the topic"] if problems else []
        return f"{self.url} by {', '.join(self.rules)}: {' and '.join(wrong) or 'ok'}"

    def lines(self) -> Iterator[tuple[str, str]]:
        """What is wrong first."""
        for check in self.failures:
            yield "failed", str(check)
        if self.topic:
            for problem in self.topic.problems:
                yield "topic", problem
        yield "rows", f"{self.rows:,} in {counted(self.files, 'file')}, {bytes_text(self.bytes)}"
        yield "columns", f"{len(self.columns):,}"
        yield "checks", f"{len(self.checks):,}, {len(self.checks) - len(self.failures):,} passed"
        if self.topic and self.topic.ok:
            rows = "" if self.topic.rows is None else f", {self.topic.rows:,} rows"
            yield "topic", f"{self.topic.topic}: each message once{rows}"
        yield "took", seconds_text(self.seconds)
