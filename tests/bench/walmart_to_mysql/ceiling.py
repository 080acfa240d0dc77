"""The ceiling: LOAD DATA LOCAL INFILE of the same four tables, from files written beforehand."""

from __future__ import annotations

from tests.bench.task import LoadTask, perform
from tests.bench.walmart_to_mysql.rows import NAMES, load_files


def work(task: LoadTask) -> None:
    """Load the four tables."""
    load_files(task, list(NAMES))


if __name__ == "__main__":
    perform(LoadTask, work)
