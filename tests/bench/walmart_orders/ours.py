"""pipeline_core: bytes to Arrow columns, on all cores."""

from __future__ import annotations

from typing import Any

from tests.bench.children import peak_of
from tests.bench.task import ParseTask, perform
from tests.bench.walmart_orders.batches import BATCH, parsed

from pipeline_core import parse_walmart_orders


def work(task: ParseTask, size: int = BATCH) -> dict[str, Any]:
    """Parse all orders, then once more for what is in them: pyarrow, which adds it up, is no part of the measured."""
    taken = parsed(task, parse_walmart_orders, lambda orders: {"rows": len(orders)}, size)
    return taken | {"peak_bytes": peak_of("self"), "cents": _cents(task)}


def _cents(task: ParseTask) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    def total(orders: Any) -> dict[str, int]:
        charges = pa.record_batch(orders).column("chargeAmount")
        return {"cents": int(pc.sum(charges).as_py() * 100)}

    return parsed(task, parse_walmart_orders, total)["cents"]


if __name__ == "__main__":
    perform(ParseTask, work)
