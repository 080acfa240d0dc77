"""CSV files: the real DataCo rows where they are at hand, else as many of our own sample, and narrow made-up ones."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

from pipeline_core import sample_data

SHARED = Path(__file__).parents[4] / "shared" / "data"
SAMPLE = SHARED / "DataCoSupplyChainDataset.sample.csv"
SAMPLE_ROWS = 5_000
ALL_ROWS = 180_519
ENCODING = "latin-1"
NARROW = ("id", "account", "kind", "amount", "currency", "status", "day", "note")


def dataco(folder: Path, rows: int = SAMPLE_ROWS) -> Path:
    """A CSV of 53 columns in ISO-8859-1 in `folder`, each row with its own `Order Item Id`."""
    path = folder / f"dataco-{rows}.csv"
    if not SAMPLE.is_file():
        sample_data.write(path, rows)
    elif rows == SAMPLE_ROWS:
        path.write_bytes(SAMPLE.read_bytes())
    else:
        runpy.run_path(str(SAMPLE.with_name("expand_dataco.py")))["expand"](rows, path)
    return path


def narrow(path: Path, rows: int, first: int = 0) -> Path:
    """A CSV of 8 short columns, about 75 bytes a row; ids count from `first`."""
    with path.open("w", encoding="utf-8") as out:
        out.write(",".join(NARROW) + "\n")
        out.writelines(
            f"{row},A{row % 9973:05},{('debit', 'credit')[row % 2]},{row % 100_000 / 100:.2f},EUR,"
            f"{('open', 'done', 'späť')[row % 3]},2026-11-{row % 28 + 1:02},line {row * 2654435761 % 2**32:010}\n"
            for row in range(first, first + rows)
        )
    return path


def header(path: Path, encoding: str = ENCODING) -> list[str]:
    """The names of a CSV's columns."""
    with path.open(encoding=encoding, newline="") as text:
        return next(csv.reader(text))


def rows(path: Path, encoding: str = ENCODING) -> list[dict[str, str]]:
    """A CSV's rows as Python's own reader sees them."""
    with path.open(encoding=encoding, newline="") as text:
        return list(csv.DictReader(text))
