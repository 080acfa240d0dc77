"""What the races with Walmart's orders are run on: some 2,000 orders, each copy under a number of its own."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from tests.python.support.orders import sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "orders"
PARSED = 40_000
LOADED = 120_000
FLOWING = 40_000
APART = 10**15
"""The numbers of two copies: one has 15 digits."""


@dataclass(frozen=True)
class Facts:
    """What orders hold, told from their JSON without anything of ours."""

    orders: int = 0
    order: int = 0
    """Rows of the table of the order lines."""
    charge: int = 0
    status: int = 0
    refund: int = 0
    cents: int = 0
    """The first charges of all lines."""

    def __add__(self, other: Facts) -> Facts:
        mine = vars(self)
        return Facts(**{name: mine[name] + more for name, more in vars(other).items()})

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each table."""
        return {name: getattr(self, name) for name in ("order", "charge", "status", "refund")}


@dataclass(frozen=True)
class Orders:
    """Orders written down, one line of JSON each; orders or their lines are counted."""

    path: Path
    bytes: int
    facts: Facts
    unit: str = "orders"
    name: str = NAME

    @property
    def rows(self) -> int:
        """How many."""
        return self.facts.orders if self.unit == "orders" else self.facts.order

    @property
    def slow_rows(self) -> int:
        """All do all."""
        return self.rows


def write(count: int, folder: Path) -> Orders:
    """Write so many orders into `folder`."""
    path, size = folder / "orders.jsonl", 0
    with path.open("wb") as file:
        for _, document in messages(count):
            size += file.write(document + b"\n") - 1
    return Orders(path, size, sum(islice(cycle(map(facts, sample())), count), Facts()))


def messages(count: int) -> Iterator[tuple[str, bytes]]:
    """Numbers and JSON of so many orders, as they stand on the topic."""
    base = sample()
    numbers = [json.loads(document)["purchaseOrderId"] for document in base]
    for at in range(count):
        copy, which = divmod(at, len(base))
        number = str(int(numbers[which]) + copy * APART)
        yield number, base[which].replace(numbers[which].encode(), number.encode(), 1)


def facts(document: bytes) -> Facts:
    """What one order holds."""
    lines = json.loads(document, parse_float=Decimal)["orderLines"]["orderLine"]
    found = Counter[str](orders=1, order=len(lines))
    for line in lines:
        charges, refund = line["charges"]["charge"], line.get("refund")
        found["charge"] += len(charges)
        found["status"] += len(line["orderLineStatuses"]["orderLineStatus"])
        found["refund"] += _refunds(refund) if refund else 0
        found["cents"] += int(charges[0]["chargeAmount"]["amount"] * 100)
    return Facts(**found)


def _refunds(refund: dict[str, Any]) -> int:
    charges = (refund.get("refundCharges") or {}).get("refundCharge") or []
    return max(1, len(charges))
