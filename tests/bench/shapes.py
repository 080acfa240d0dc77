"""The two shapes of data, wide and narrow: the same bytes for the same number of rows.

A few thousand rows repeat in order, each copy with its own `Order Id` and item number, so that every row is unique.
"""

from __future__ import annotations

import csv
import json
import random
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATACO = Path(__file__).parents[3] / "shared" / "data" / "DataCoSupplyChainDataset.sample.csv"
BASE_ROWS = 5_000
ITEMS_OF_AN_ORDER = 3
KEY = "Order Id"
SEED = 2018

NARROW_HEADER = ["Order Id", "Item Id", "Sku", "City", "Quantity", "Price", "Status", "Ordered At"]
CITIES = ("Caguas", "Bogotá", "Los Angeles", "São Paulo", "Manila", "Lyon", "Sydney", "New York City")
STATUSES = ("COMPLETE", "PENDING", "CLOSED", "ON_HOLD", "CANCELED", "PROCESSING")
EPOCH = datetime(2015, 1, 1, tzinfo=timezone.utc)
MINUTES = 3 * 365 * 24 * 60


@dataclass(frozen=True)
class Shape:
    """A shape of data: its columns, and the rows that are repeated."""

    name: str
    encoding: str
    item: str
    """The column that numbers the rows."""
    default_rows: int
    base: Callable[[], tuple[list[str], list[list[str]]]]

    def rows(self, count: int) -> Iterator[list[str]]:
        """The header, then `count` rows."""
        header, base = self.base()
        key, item = header.index(KEY), header.index(self.item)
        yield header
        for number in range(count):
            row = list(base[number % len(base)])
            row[key] = str(number // ITEMS_OF_AN_ORDER + 1)
            row[item] = str(number + 1)
            yield row


@dataclass(frozen=True)
class Data:
    """A shape written down: as a CSV, and as the messages that become of it."""

    shape: Shape
    csv: Path
    payloads: Path
    """Length-prefixed keys and values: u32 little-endian and so many bytes, by turns."""
    rows: int
    bytes: int
    """Bytes of all values, as compact JSON."""
    unit: str = "rows"

    @property
    def name(self) -> str:
        """Of the shape."""
        return self.shape.name

    @property
    def slow_rows(self) -> int:
        """All do all rows."""
        return self.rows


def write(shape: Shape, count: int, folder: Path) -> Data:
    """Write `count` rows of a shape into `folder`."""
    data, payloads = folder / f"{shape.name}.csv", folder / f"{shape.name}.payloads"
    rows = shape.rows(count)
    header = next(rows)
    names = [f"{json.dumps(name, ensure_ascii=False)}:" for name in header]
    key, total = header.index(KEY), 0
    with data.open("w", encoding=shape.encoding, newline="") as text, payloads.open("wb") as binary:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(row)
            cells = (name + json.dumps(cell, ensure_ascii=False) for name, cell in zip(names, row, strict=True))
            value = f"{{{','.join(cells)}}}".encode()
            for part in (row[key].encode(), value):
                binary.write(struct.pack("<I", len(part)) + part)
            total += len(value)
    return Data(shape, data, payloads, count, total)


def wide_base() -> tuple[list[str], list[list[str]]]:
    """The DataCo rows beside the repository, else those that the product makes up."""
    if DATACO.exists():
        with DATACO.open(encoding="iso-8859-1", newline="") as file:
            header, *rows = csv.reader(file)
        return header, rows
    from pipeline_core import sample_data

    return list(sample_data.HEADER), list(sample_data.generate(BASE_ROWS))


def narrow_base() -> tuple[list[str], list[list[str]]]:
    """Orders of one line; a quarter of them with letters beyond ASCII."""
    draw = random.Random(SEED).random
    rows = [
        [
            "",
            "",
            f"SKU-{int(draw() * 100_000):05}",
            CITIES[int(draw() * len(CITIES))],
            str(1 + int(draw() * 9)),
            f"{5 + draw() * 495:.2f}",
            STATUSES[int(draw() * len(STATUSES))],
            f"{EPOCH + timedelta(minutes=int(draw() * MINUTES)):%Y-%m-%d %H:%M:%S}",
        ]
        for _ in range(BASE_ROWS)
    ]
    return NARROW_HEADER, rows


WIDE = Shape("wide", "iso-8859-1", "Order Item Id", 500_000, wide_base)
NARROW = Shape("narrow", "utf-8", "Item Id", 2_000_000, narrow_base)
SHAPES = (WIDE, NARROW)
