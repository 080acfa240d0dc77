"""LOAD DATA LOCAL INFILE of the order table alone, from a file written beforehand."""

from __future__ import annotations

from tests.bench.task import LoadTask, perform
from tests.bench.walmart_to_mysql.rows import load_files


def work(task: LoadTask) -> None:
    """Load the order table."""
    load_files(task, ["order"])


if __name__ == "__main__":
    perform(LoadTask, work)
