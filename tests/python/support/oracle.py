"""What ought to be in the files, told by Python's csv and pyarrow alone, and compared as multisets of whole rows."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tests.python.support.data import ENCODING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.python.support.places import Place
    from tests.python.support.topics import Message

METADATA = ["topic", "partition", "offset", "time", "key"]
NULL = "\x00"
BETWEEN_CELLS = "\x1f"
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
NAME = re.compile(
    r"raw_streaming/(?:[^/]+=[^/]*/)*orders_(?P<stamp>\d{8}_\d{6})_(?P<topic>.+)-(?P<partition>\d+)"
    r"_(?P<first>\d{19})-(?P<last>\d{19})\.(?P<extension>parquet|json)"
)


def csv_rows(*paths: Path, encoding: str = ENCODING) -> tuple[list[str], Counter[str]]:
    """The header of CSV files, and how often each of their rows is there."""
    header: list[str] = []
    found: Counter[str] = Counter()
    for path in paths:
        with path.open(encoding=encoding, newline="") as text:
            header, *rows = csv.reader(text)
        found.update(map(BETWEEN_CELLS.join, rows))
    return header, found


def tables(place: Place) -> dict[str, pa.Table]:
    """Each Parquet object by its name, the columns that stand in its folders' names put back."""
    found: dict[str, pa.Table] = {}
    for name in place.names():
        assert NAME.fullmatch(name), f"{name} is not a name of the contract"
        table = pq.read_table(io.BytesIO(place.read(name)))
        for column, value in re.findall(r"([^/]+)=([^/]*)/", name):
            cell = None if value == HIVE_NULL else unquote(value)
            table = table.append_column(unquote(column), pa.array([cell] * table.num_rows, pa.string()))
        found[name] = table
    assert found, f"No object is in {place.url}"
    return found


def rows(table: pa.Table, columns: Sequence[str]) -> list[str]:
    """Whole rows of these columns as text."""
    cells = [pc.fill_null(table[column].cast(pa.string()), NULL) for column in columns]
    return pc.binary_join_element_wise(*cells, BETWEEN_CELLS).to_pylist()


def assert_each_row_once(place: Place, header: list[str], expected: Counter[str], sent: Sequence[Message]) -> None:
    """Rows in are rows in the files, each once and with the same text; positions are those of the topic's messages."""
    found: Counter[str] = Counter()
    positions: Counter[tuple[int, int]] = Counter()
    for name, table in tables(place).items():
        assert {field.type for field in table.schema if field.name in header} <= {pa.string()}, name
        assert [column for column in table.column_names if column in header or column in METADATA] == [
            *(column for column in header if f"/{column}=" not in name),
            *METADATA,
            *(column for column in header if f"/{column}=" in name),
        ], name
        found.update(rows(table, header))
        positions.update(zip(table["partition"].to_pylist(), table["offset"].to_pylist(), strict=True))
    assert_same(found, expected, "rows")
    assert_same(positions, Counter((message.partition, message.offset) for message in sent), "positions")


def assert_same(found: Counter, expected: Counter, what: str) -> None:
    """Two multisets are equal; says what is missing and what is there too often."""
    assert expected, f"Nothing was expected of the {what}: the test sees nothing"
    missing, surplus = expected - found, found - expected
    assert not missing, f"{missing.total()} of {expected.total()} {what} are missing: {some(missing)}"
    assert not surplus, f"{surplus.total()} {what} are there too often: {some(surplus)}"


def some(found: Counter) -> list:
    """The first few of many."""
    return sorted(found)[:3]
