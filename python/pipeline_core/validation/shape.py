"""What must be so of all files, whatever is in them: the same columns, the counts of the footers, no message twice."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from pipeline_core.validation.rules import ANY
from pipeline_core.validation.tally import Case, Tally

OFFSET = ("topic", "partition", "offset")

_THERE = "there are files"
_READABLE = "a whole Parquet file"
_COLUMNS = "the same columns in all files"
_TYPES = "the same type in all files"
_ROWS = "as many rows as the footer says"
_OFFSETS = "offsets that the footer says"
_NAME = "the offsets of its name in the footer"
_ONCE = "each offset in one file, by their names"
_FOOTER = "pipeline_core."
_OUR_NAME = re.compile(
    r"[^/]*_(?P<stamp>\d{8}_\d{6})_(?P<lane>(?P<topic>[^/]+)-\d+)_(?P<first>\d+)-(?P<last>\d+)\.parquet"
)


class _File(NamedTuple):
    """What a file is, but for its rows."""

    path: str
    rows: int
    columns: dict[str, str]


@dataclass
class Shape:
    """The checks of the rule set `any`.

    Attributes:
        tally: Where to count.
        has_same_columns: Whether all files of a topic must have the same columns.
    """

    tally: Tally
    has_same_columns: bool
    _files: defaultdict[str, list[_File]] = field(default_factory=lambda: defaultdict[str, list[_File]](list))
    _ranges: defaultdict[str, set[tuple[int, int, str, str]]] = field(
        default_factory=lambda: defaultdict[str, set[tuple[int, int, str, str]]](set)
    )

    def __post_init__(self) -> None:
        self.tally.expect(ANY, _THERE)
        self.tally.expect(ANY, _READABLE)
        self.tally.expect(ANY, _TYPES)
        if self.has_same_columns:
            self.tally.expect(ANY, _COLUMNS)

    def nothing(self) -> None:
        """Say that there is no file."""
        self.tally.broken(ANY, _THERE, None, Case(1, None, ""))

    def unreadable(self, path: str, error: Exception) -> None:
        """Count a file that cannot be read."""
        self.tally.broken(ANY, _READABLE, None, Case(1, error, path))

    def see(self, path: str, frame: pl.DataFrame, metadata: dict[str, str]) -> None:
        """Look at one file."""
        said = {name.removeprefix(_FOOTER): text for name, text in metadata.items() if name.startswith(_FOOTER)}
        match = _OUR_NAME.fullmatch(path.rpartition("/")[2])
        topic = said.get("topic", match["topic"] if match else "")
        columns = {name: str(kind) for name, kind in frame.schema.items()}
        self._files[topic].append(_File(path, frame.height, columns))
        if said:
            self._see_footer(path, frame, said)
        if match:
            # A cut in several folders has one file in each, of one name.
            self._ranges[match["lane"]].add((int(match["first"]), int(match["last"]), match["stamp"], path))

    def end(self, *, is_by_rows: bool) -> None:
        """Compare the files: their columns, and their names, unless the rows themselves told what came twice."""
        for files in self._files.values():
            self._compare(files)
        if is_by_rows or not self._ranges:
            return
        self.tally.expect(ANY, _ONCE)
        for ranges in self._ranges.values():
            reached, cut = -1, ""
            for first, last, stamp, path in sorted(ranges):
                own_cut = f"{first}-{last} {stamp}"
                if own_cut != cut and first <= reached:
                    twice = min(reached, last) - first + 1
                    self.tally.broken(ANY, _ONCE, None, Case(twice, first, path))
                reached, cut = max(reached, last), own_cut

    def _compare(self, files: list[_File]) -> None:
        """What most rows have is right."""
        kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for file in files:
            for name, kind in file.columns.items():
                kinds[name][kind] += file.rows
        rows = sum(file.rows for file in files)
        usual = {name: found.most_common(1)[0][0] for name, found in kinds.items()}
        expected = {name for name, found in kinds.items() if 2 * found.total() > rows}
        for file in files:
            for name, kind in file.columns.items():
                if kind != usual[name]:
                    text = f"{kind}, elsewhere {usual[name]}"
                    self.tally.broken(ANY, _TYPES, name, Case(file.rows, text, file.path))
            if self.has_same_columns:
                for name in sorted(expected ^ file.columns.keys()):
                    text = "is missing" if name in expected else "is in few files"
                    self.tally.broken(ANY, _COLUMNS, name, Case(file.rows, text, file.path))

    def _see_footer(self, path: str, frame: pl.DataFrame, said: dict[str, str]) -> None:
        for rule in (_ROWS, _OFFSETS):
            self.tally.expect(ANY, rule)
        rows = int(said["rows"])
        if rows != frame.height:
            self.tally.broken(ANY, _ROWS, None, Case(1, f"{frame.height:,} rows, {rows:,} in the footer", path))
        first, last = int(said["first_offset"]), int(said["last_offset"])
        if {"partition", "offset"} <= set(frame.columns):
            is_own = pl.col("offset").is_between(first, last) & (pl.col("partition") == int(said["partition"]))
            others = frame.with_row_index("row").filter(~is_own.fill_null(value=False))
            if others.height:
                row, offset = others.item(0, "row"), others.item(0, "offset")
                self.tally.broken(ANY, _OFFSETS, "offset", Case(others.height, offset, path, row + 1))
        if match := _OUR_NAME.fullmatch(path.rpartition("/")[2]):
            self.tally.expect(ANY, _NAME)
            if (int(match["first"]), int(match["last"])) != (first, last):
                self.tally.broken(ANY, _NAME, None, Case(1, f"{first} to {last} in the footer", path))
