"""The ceiling: COPY of the same rows in one transaction, from a file in PostgreSQL's binary format."""

from __future__ import annotations

from pathlib import Path

from tests.bench.cdc_to_postgres.events import connect
from tests.bench.changes import COLUMNS
from tests.bench.task import ApplyTask, perform

BLOCK = 128 * 1024


def work(task: ApplyTask) -> None:
    """Copy the file."""
    statement = f"COPY {task.copy_into} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"
    with (
        connect(task.url) as connection,
        connection.cursor().copy(statement) as copy,
        Path(task.rows).open("rb") as file,
    ):
        while block := file.read(BLOCK):
            copy.write(block)


if __name__ == "__main__":
    perform(ApplyTask, work)
