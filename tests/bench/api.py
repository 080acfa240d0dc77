"""The look-alike of Walmart's API that the races fetch from, in a process of its own, and what it holds."""

from __future__ import annotations

import base64
import json
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from itertools import chain
from typing import TYPE_CHECKING

import psutil
from tests.services import walmart_orders
from tests.services.process import Server, free_ports, log_says, temporary_folder
from tests.services.walmart_api import CLIENT_ID, CLIENT_SECRET, PREFIX

from .lap import ROOT
from .orders import NAME

if TYPE_CHECKING:
    from collections.abc import Generator

COUNT = 20_000
DAYS = 10
SLOW_DAYS = 2
"""For those who are slow: an hour of three kinds costs them a tenth of a second, however few orders it holds."""
ANSWER_SECONDS = 0.03
TOKEN = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()


@dataclass(frozen=True)
class ApiOrders:
    """Orders of some days that are over; days are those of UTC."""

    first_day: date
    numbers: tuple[tuple[str, ...], ...]
    """Of the orders of each day."""
    bytes: int
    slow_days: int = SLOW_DAYS
    unit: str = "orders"
    name: str = NAME

    @property
    def days(self) -> int:
        """How many."""
        return len(self.numbers)

    @property
    def rows(self) -> int:
        """How many orders there are."""
        return len(self.of_first(self.days))

    @property
    def slow_rows(self) -> int:
        """How many for those who are slow."""
        return len(self.of_first(self.slow_days))

    def of_first(self, days: int) -> list[str]:
        """The numbers of the orders of the first days, sorted."""
        return sorted(chain(*self.numbers[:days]))


@dataclass(frozen=True)
class Api:
    """The API."""

    url: str
    server: Server

    def cpu_seconds(self) -> float:
        """What it has computed since it was started."""
        times = psutil.Process(self.server.pid).cpu_times()
        return times.user + times.system


def held(count: int, days: int = DAYS, slow_days: int = SLOW_DAYS) -> ApiOrders:
    """So many orders of the last days but today and yesterday."""
    first_day = datetime.now(timezone.utc).date() - timedelta(days=days + 1)
    begin = datetime(first_day.year, first_day.month, first_day.day, tzinfo=timezone.utc)
    numbers, size = defaultdict[int, list[str]](list), 0
    for order in walmart_orders.orders(count, begin, days):
        day = (walmart_orders.created_ms(order) - walmart_orders.milliseconds(begin)) // walmart_orders.DAY_MS
        numbers[day].append(walmart_orders.order_id(order))
        size += len(json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode())
    return ApiOrders(first_day, tuple(tuple(numbers[day]) for day in range(days)), size, slow_days)


@contextmanager
def api(held: ApiOrders, seconds: float = ANSWER_SECONDS) -> Generator[Api, None, None]:
    """The API for a while, with these orders; each answer takes so long."""
    [port] = free_ports(1)
    arguments = {"orders": held.rows, "start": held.first_day, "days": held.days, "seconds": seconds, "port": port}
    command = [sys.executable, "-m", "tests.services.walmart_api"]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    folder = temporary_folder("walmart_api")
    with Server("walmart_api", command, folder, log_says("WALMART_TOKEN"), directory=ROOT) as server:
        server.start()
        yield Api(f"http://127.0.0.1:{port}{PREFIX}", server)
