"""The ceiling: simdjson parses each order into its own memory, and nothing is read from there."""

from __future__ import annotations

from typing import Any

import simdjson
from tests.bench.task import ParseTask, perform
from tests.bench.walmart_orders.batches import parsed


def work(task: ParseTask) -> dict[str, Any]:
    """Parse all orders, with one parser as its makers advise."""
    parser = simdjson.Parser()

    def parse(batch: list[bytes]) -> int:
        for document in batch:
            parser.parse(document)
        return len(batch)

    return parsed(task, parse, lambda orders: {"orders": orders})


if __name__ == "__main__":
    perform(ParseTask, work)
