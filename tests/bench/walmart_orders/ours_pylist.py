"""pipeline_core, and the rows as dicts of int, str, Decimal and datetime."""

from __future__ import annotations

from typing import Any

from tests.bench.task import ParseTask, perform
from tests.bench.walmart_orders.batches import counted, parsed

from pipeline_core import parse_walmart_orders


def work(task: ParseTask) -> dict[str, Any]:
    """Parse all orders."""
    return parsed(task, lambda batch: parse_walmart_orders(batch).to_pylist(), counted)


if __name__ == "__main__":
    perform(ParseTask, work)
