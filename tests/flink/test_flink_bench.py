"""The race by way of Flink measures what it says it does. On few orders, as `tests/bench/test_bench_orders.py`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.bench import orders
from tests.bench.broker import Broker
from tests.bench.contestants import CONTESTANTS, FLINK_WALMART, Contestant
from tests.bench.database import Database
from tests.bench.order_course import OrderCourse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb

COUNT = 300
IN_FLINK = [one for one in CONTESTANTS[FLINK_WALMART] if one.module != "alone"]


@pytest.mark.usefixtures("flink")
@pytest.mark.parametrize("contestant", IN_FLINK, ids=lambda one: one.name)
def test_every_contestant_in_flink_loads_every_line(
    contestant: Contestant, kafka: Kafka, mariadb: Mariadb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the table holds is compared by the course itself: rows and money."""
    # The environment's server is another's process.
    monkeypatch.setattr(Database, "cpu_seconds", lambda _: time.process_time())
    course = OrderCourse(Broker(kafka, None), tmp_path)
    data = orders.write(COUNT, tmp_path)
    with course.shelf(data) as shelf:
        taken = course.load(contestant, data, Database(mariadb), shelf, FLINK_WALMART)
    assert taken.process_seconds > taken.seconds > 0
    assert taken.work_cpu_seconds > 0
    assert taken.peak_bytes > 100_000_000
