"""orjson.loads alone: dicts as the JSON has them, which are dropped at once."""

from __future__ import annotations

from typing import Any

import orjson
from tests.bench.task import ParseTask, perform
from tests.bench.walmart_orders.batches import parsed


def work(task: ParseTask) -> dict[str, Any]:
    """Read all orders."""

    def parse(batch: list[bytes]) -> int:
        for document in batch:
            orjson.loads(document)
        return len(batch)

    return parsed(task, parse, lambda orders: {"orders": orders})


if __name__ == "__main__":
    perform(ParseTask, work)
