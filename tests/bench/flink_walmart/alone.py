"""pipeline_core without Flink: the same orders into all four tables, exactly once."""

from __future__ import annotations

from tests.bench.task import LoadTask, perform
from tests.bench.walmart_to_mysql.ours import work

if __name__ == "__main__":
    perform(LoadTask, work)
