"""One look at all files: batches of rows go through the rule sets, and keys are kept for what must be unique."""

import io
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import pandera.errors
import polars as pl

from pipeline_core.progress import OnProgress, Stats
from pipeline_core.validation import frames
from pipeline_core.validation.place import Found, Place
from pipeline_core.validation.rules import ANY, RuleSet
from pipeline_core.validation.shape import OFFSET, Shape
from pipeline_core.validation.tally import Case, Tally, brief
from pipeline_core.validation.verdict import ColumnSummary

# Rows that pandera sees at a time: few files of it, or many small ones.
_BATCH_ROWS = 200_000
_THERE = "is there"
_FILE, _ROW = "pipeline_core.file", "pipeline_core.row"
# What pandera calls its own checks, and what we call them.
_WORDS: dict[str, str] = {"not_nullable": "has a value", "column_in_dataframe": _THERE, "field_uniqueness": "unique"}


@dataclass
class _Batch:
    """Rows of some files with the same columns."""

    frames: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    files: list[str] = field(default_factory=list[str])
    starts: list[int] = field(default_factory=list[int])
    rows: int = 0

    def takes(self, frame: pl.DataFrame) -> bool:
        """Whether a file's rows may stand with those that are there."""
        return not self.frames or (self.rows < _BATCH_ROWS and self.frames[0].schema == frame.schema)

    def add(self, path: str, frame: pl.DataFrame) -> None:
        """Take a file's rows."""
        self.frames.append(frame)
        self.files.append(path)
        self.starts.append(self.rows)
        self.rows += frame.height

    def case(self, count: int, example: object, index: int | None) -> Case:
        """A rule that is broken first by a row of the batch; by all, if it is none."""
        if index is None:
            return Case(self.rows, example, self.files[0])
        at = bisect_right(self.starts, index) - 1
        return Case(count, example, self.files[at], index - self.starts[at] + 1)


class Sweep:
    """The checks of one validation.

    Args:
        sets: The rule sets, beside `any`.
        tally: Where to count.
        has_same_columns: Whether all files of a topic must have the same columns.
    """

    def __init__(self, sets: list[RuleSet], tally: Tally, *, has_same_columns: bool) -> None:
        self._sets = sets
        self._tally = tally
        self._shape = Shape(tally, has_same_columns)
        self._keys: defaultdict[tuple[str, tuple[str, ...]], list[pl.DataFrame]] = defaultdict(list)
        self._columns: dict[str, ColumnSummary] = {}
        self._files: list[str] = []
        self.rows = 0
        for one in sets:
            self._expect(one)

    def run(self, place: Place, found: list[Found], on_progress: OnProgress | None = None) -> list[ColumnSummary]:
        """Look at all files; what is wrong is counted in the tally.

        Returns:
            Every column.
        """
        if not found:
            self._shape.nothing()
        total = sum(file.size for file in found)
        done, batch = 0, _Batch()
        for file, content in place.read(found):
            frame = self._frame(file.path, content)
            done += file.size
            if frame is None:
                continue
            if not batch.takes(frame):
                self._check(batch)
                batch = _Batch()
            batch.add(file.path, frame)
            self.rows += frame.height
            if on_progress:
                on_progress(Stats(rows_read=self.rows, bytes_read=done, bytes_total=total))
        self._check(batch)
        self._see_duplicates()
        return list(self._columns.values())

    def _frame(self, path: str, content: bytes) -> pl.DataFrame | None:
        """A file's rows; None if it cannot be read."""
        try:
            frame = frames.of(path, content)
            metadata = pl.read_parquet_metadata(io.BytesIO(content))
        except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
            self._shape.unreadable(path, error)
            return None
        self._shape.see(path, frame, metadata)
        self._see_columns(frame)
        self._files.append(path)
        for rules, columns in self._wanted_keys(frame):
            keys = frame.select(pl.col(columns).cast(pl.String)).with_columns(
                pl.lit(len(self._files) - 1, pl.UInt32).alias(_FILE),
                pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(_ROW),
            )
            has_value = pl.any_horizontal(pl.col(columns).is_not_null() & (pl.col(columns) != ""))
            self._keys[rules, columns].append(keys.filter(has_value))
        return frame

    def _wanted_keys(self, frame: pl.DataFrame) -> Iterable[tuple[str, tuple[str, ...]]]:
        wanted = [(ANY, OFFSET), *((one.name, key) for one in self._sets for key in one.keys)]
        return [(rules, key) for rules, key in wanted if set(key) <= set(frame.columns)]

    def _see_columns(self, frame: pl.DataFrame) -> None:
        for name, kind in frame.schema.items():
            values = frame[name]
            before = self._columns.get(name, ColumnSummary(name, []))
            first = None if before.example is not None else next(iter(values.drop_nulls().head(1).to_list()), None)
            self._columns[name] = ColumnSummary(
                name,
                before.types if str(kind) in before.types else [*before.types, str(kind)],
                before.rows + frame.height,
                before.nulls + values.null_count(),
                before.empty + (int((values == "").sum()) if kind == pl.String else 0),
                before.example if first is None else brief(str(first)),
            )

    def _expect(self, rules: RuleSet) -> None:
        for name, column in rules.schema.columns.items():
            self._tally.expect(rules.name, _THERE, name)
            if not column.nullable:
                self._tally.expect(rules.name, _WORDS["not_nullable"], name)
            for check in column.checks:
                self._tally.expect(rules.name, _label(check), name)
        for check in rules.schema.checks:
            self._tally.expect(rules.name, _label(check))

    def _check(self, batch: _Batch) -> None:
        if not batch.rows:
            return
        frame = pl.concat(batch.frames)
        for one in self._sets:
            cases = _failures(one, frame)
            if cases is not None:
                self._count(one.name, cases, batch)

    def _count(self, rules: str, cases: Any, batch: _Batch) -> None:  # noqa: ANN401 - pandera's
        """Count the broken rules of a batch."""
        firsts = cases.group_by("column", "check", maintain_order=True).agg(
            pl.len(), pl.first("failure_case"), pl.first("index")
        )
        for column, check, count, case, index in firsts.iter_rows():
            rule = str(_WORDS.get(check, check))
            about = case if rule == _THERE else column
            example = None if rule in {_THERE, _WORDS["not_nullable"]} else case
            self._tally.broken(rules, rule, about, batch.case(count, example, index))

    def _see_duplicates(self) -> None:
        self._shape.end(is_by_rows=(ANY, OFFSET) in self._keys)
        for (rules, columns), parts in self._keys.items():
            keys = pl.concat(parts)
            named = columns[0] if len(columns) == 1 else None
            rule = "unique" if named else f"unique {', '.join(columns)}"
            self._tally.expect(rules, rule, named)
            again = keys.filter(~pl.struct(columns).is_first_distinct())
            if again.height:
                row = again.row(0, named=True)
                example = ", ".join(str(row[name]) for name in columns)
                case = Case(again.height, example, self._files[row[_FILE]], row[_ROW])
                self._tally.broken(rules, rule, named, case)


def _failures(rules: RuleSet, frame: pl.DataFrame) -> Any:  # noqa: ANN401 - pandera's
    """What pandera finds wrong, or None."""
    try:
        rules.schema.validate(rules.prepare(frame), lazy=True)
    except pandera.errors.SchemaErrors as broken:
        return cast("Any", broken).failure_cases
    return None


def _label(check: Any) -> str:  # noqa: ANN401 - pandera's
    """What pandera calls a check where it is broken."""
    return check.error or check.name or str(check)
