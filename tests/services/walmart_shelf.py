"""The orders that the look-alike of Walmart's API holds: as bytes, found by time, changed while clients look."""

from __future__ import annotations

import json
import threading
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

from .walmart_orders import created_ms, modified_ms, node_of, order_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

By = Literal["created", "lastModified"]
AFTER_ALL = 1 << 62


class Shelf:
    """Orders by ship node type and time. Those that share a millisecond stay in the order in which they came."""

    def __init__(self, orders: Iterable[Mapping[str, Any]]) -> None:
        self._lock = threading.Lock()
        self._bodies: list[bytes] = []
        self._numbers: dict[str, int] = {}
        self._places: list[list[tuple[tuple[str, By], int]]] = []
        self._times: defaultdict[tuple[str, By], list[tuple[int, int]]] = defaultdict(list)
        for order in orders:
            if order_id(order) in self._numbers:
                msg = f"Order {order_id(order)} is there twice"
                raise ValueError(msg)
            for key, time in self._take(order):
                self._times[key].append((time, len(self._bodies) - 1))
        for times in self._times.values():
            times.sort()

    def __len__(self) -> int:
        return len(self._bodies)

    def put(self, order: Mapping[str, Any]) -> None:
        """Add an order, or put it in the place of what is known of it."""
        with self._lock:
            number = self._numbers.get(order_id(order))
            if number is None:
                places = self._take(order)
                number = len(self._bodies) - 1
            else:
                for key, time in self._places[number]:
                    times = self._times[key]
                    del times[bisect_left(times, (time, number))]
                places = self._places[number] = _places(order)
                self._bodies[number] = _body(order)
            for key, time in places:
                insort(self._times[key], (time, number))

    def body(self, purchase_order_id: str) -> bytes | None:
        """One order."""
        number = self._numbers.get(purchase_order_id)
        return None if number is None else self._bodies[number]

    def find(self, by: By, node: str, begin: int, end: int, offset: int, limit: int) -> tuple[int, list[bytes]]:
        """How many orders there are from `begin` to `end`, both included, and `limit` of them."""
        with self._lock:
            times = self._times[node, by]
            low, high = bisect_left(times, (begin, 0)), bisect_right(times, (end, AFTER_ALL))
            page = times[low + offset : min(low + offset + limit, high)]
            return max(0, high - low), [self._bodies[number] for _, number in page]

    def _take(self, order: Mapping[str, Any]) -> list[tuple[tuple[str, By], int]]:
        self._numbers[order_id(order)] = len(self._bodies)
        self._bodies.append(_body(order))
        self._places.append(_places(order))
        return self._places[-1]


def _places(order: Mapping[str, Any]) -> list[tuple[tuple[str, By], int]]:
    node = node_of(order)
    return [((node, "created"), created_ms(order)), ((node, "lastModified"), modified_ms(order))]


def _body(order: Mapping[str, Any]) -> bytes:
    """The order as the API sends it; `request_time` is what those add who keep it."""
    sent = {name: value for name, value in order.items() if name != "request_time"}
    return json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode()
