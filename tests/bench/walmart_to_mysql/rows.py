"""The rows of the tables: as files for LOAD DATA, or batch by batch through `executemany`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.walmart_orders.batches import Stopwatch, batches
from tests.services.mariadb import Mariadb

from pipeline_core import parse_walmart_orders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.task import LoadTask

NAMES = {"order": "walmart_order", **{name: f"walmart_order_{name}" for name in ("charge", "status", "refund")}}
READ = 2_000
"""Orders that are parsed at a time."""
FILLED_IN = "load_time"
"""The column that the server fills in."""
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n"})


def connect(task: LoadTask) -> Any:
    """A connection to the task's database; without TLS, as for all."""
    return Mariadb(task.url, "").connect(task.database, local_infile=True, ssl_disabled=True)


def write_files(documents: str, folder: Path) -> None:
    """Write the rows of all tables for LOAD DATA, a file each."""
    for table in NAMES:
        with _file(folder, table).open("w", encoding="utf-8", newline="") as file:
            for batch in batches(documents, READ):
                for row in parse_walmart_orders(batch, table=table).to_pylist():
                    row.pop(FILLED_IN, None)
                    file.write("\t".join(map(_cell, row.values())) + "\n")


def load_files(task: LoadTask, tables: Sequence[str]) -> None:
    """Load the files of these tables in one transaction."""
    connection = connect(task)
    cursor = connection.cursor()
    for table in tables:
        columns = ", ".join(parse_walmart_orders([], table=table).column_names).removesuffix(f", {FILLED_IN}")
        file = connection.escape(str(_file(Path(task.folder), table)))
        into = f"REPLACE INTO TABLE {NAMES[table]} CHARACTER SET utf8mb4"
        cursor.execute(f"LOAD DATA LOCAL INFILE {file} {into} ({columns})")
    connection.commit()
    connection.close()


def execute_batches(task: LoadTask, statement: str, size: int) -> dict[str, float]:
    """Give the order table's rows to `executemany`, so many in a transaction; how they were parsed is not measured.

    In `statement`, `{columns}` are their names and `{marks}` the places of their values.
    """
    watch, columns = Stopwatch(), parse_walmart_orders([]).column_names
    statement = statement.format(columns=", ".join(columns), marks=", ".join(["%s"] * len(columns)))
    with watch:
        connection = connect(task)
        cursor = connection.cursor()
    for documents in batches(task.documents, READ):
        rows = [tuple(row.values()) for row in parse_walmart_orders(documents).to_pylist()]
        with watch:
            for at in range(0, len(rows), size):
                cursor.executemany(statement, rows[at : at + size])
                connection.commit()
    with watch:
        connection.close()
    return watch.said()


def _file(folder: Path, table: str) -> Path:
    return folder / f"{table}.tsv"


def _cell(value: Any) -> str:
    return "\\N" if value is None else str(value).translate(ESCAPES)
