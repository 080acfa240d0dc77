"""The races with Walmart's orders measure what they say they do. On few orders, as `test_bench.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pymysql.cursors import DictCursor
from tests.bench import orders
from tests.bench.broker import Broker
from tests.bench.contestants import CONTESTANTS, WALMART_ORDERS, WALMART_TO_MYSQL
from tests.bench.database import Database
from tests.bench.goals import verdicts
from tests.bench.lap import ROOT, Lap, LapError
from tests.bench.order_course import OrderCourse, Shelf
from tests.bench.orders import Facts, Orders
from tests.bench.race import Race
from tests.bench.table import markdown
from tests.bench.walmart_orders import original
from tests.bench.walmart_orders.batches import batches
from tests.bench.walmart_to_mysql.rows import FILLED_IN, NAMES
from tests.python.support.orders import SAMPLE_ORDERS

from pipeline_core import parse_walmart_orders

if TYPE_CHECKING:
    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb

COUNT = 300
OURS = CONTESTANTS[WALMART_TO_MYSQL][0]


@pytest.fixture(scope="module")
def course(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> OrderCourse:
    return OrderCourse(Broker(kafka, None), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def data(course: OrderCourse) -> Orders:
    return orders.write(COUNT, course.folder)


@pytest.fixture(scope="module")
def shelf(course: OrderCourse, data: Orders):
    with course.shelf(data) as there:
        yield there


@pytest.fixture
def server(mariadb: Mariadb, monkeypatch: pytest.MonkeyPatch) -> Database:
    # The environment's server is another's process.
    monkeypatch.setattr(Database, "cpu_seconds", lambda _: time.process_time())
    return Database(mariadb)


@pytest.mark.parametrize("contestant", CONTESTANTS[WALMART_ORDERS], ids=lambda one: one.name)
def test_every_contestant_of_walmart_orders_parses_every_order(course, data, contestant):
    taken = course.parse(contestant, data)
    assert taken.process_seconds > taken.seconds > 0
    assert taken.cpu_seconds > taken.work_cpu_seconds > 0
    assert taken.peak_bytes > 1_000_000


def test_the_original_makes_the_rows_that_ours_makes(data, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    [documents] = batches(str(data.path), COUNT)
    rows = [row for document in documents for row in original.rows_of(json.loads(document))]
    ours = parse_walmart_orders(documents).to_pylist()
    assert [list(row) for row in rows] == [list(row) for row in ours]
    assert [_with_floats(row) for row in ours] == rows
    monkeypatch.undo()
    time.tzset()


def test_every_contestant_of_walmart_to_mysql_loads_the_same_rows(course, data, server, shelf, monkeypatch):
    found: dict[str, dict[str, list[dict[str, object]]]] = {}
    holds = Database.holds

    def read_first(self: Database, name: str) -> dict[str, int]:
        found["last"] = {table: _rows(self.mariadb, name, of_table) for table, of_table in NAMES.items()}
        return holds(self, name)

    monkeypatch.setattr(Database, "holds", read_first)
    for contestant in CONTESTANTS[WALMART_TO_MYSQL]:
        taken = course.load(contestant, data, server, shelf)
        assert taken.process_seconds > taken.seconds > 0, contestant.name
        found[contestant.name] = found.pop("last")
    ours = found["ours"]
    assert {table: len(rows) for table, rows in ours.items()} == data.facts.rows
    assert found["ours6"] == found["ceiling"] == ours
    for name in ("order", "original", "upsert"):
        assert found[name] == {**{table: [] for table in NAMES}, "order": ours["order"]}, name


def test_a_contestant_that_leaves_orders_out_is_not_measured(course, data, server):
    more = replace(data, facts=data.facts + Facts(orders=1, order=1))
    with pytest.raises(LapError, match=f"{data.facts.order}.*, not .*{more.facts.order}"):
        course.parse(CONTESTANTS[WALMART_ORDERS][0], more)
    shelf = Shelf(course.folder, {OURS.partitions: course.broker.new_topic(1)}, course.broker.new_topic(1))
    with pytest.raises(LapError, match=f"'order': 0.*, not .*'order': {data.facts.order}"):
        course.load(OURS, data, server, shelf)
    for topic in list(course.broker.topics)[-2:]:
        course.broker.delete_topic(topic)


def test_each_copy_of_an_order_has_a_number_of_its_own():
    count = SAMPLE_ORDERS + 1
    (first, document), *_, (last, copy) = orders.messages(count)
    assert int(last) - int(first) == orders.APART
    assert document.replace(first.encode(), last.encode()) == copy
    assert len({number for number, _ in orders.messages(count)}) == count
    assert orders.facts(document) == orders.facts(copy)


def test_the_command_line_races_with_orders_too(kafka, tmp_path):
    out = tmp_path / "bench.json"
    arguments = ["walmart_orders", "--rows", "50", "--rounds", "2", "--only", "ours,original", "--shape", "orders"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments, "--markdown", "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| shape | contestant | orders/s |" in done.stdout
    [race] = json.loads(out.read_text())["races"]
    assert {name: len(laps) for name, laps in race["laps"].items()} == {"ours": 2, "original": 2}
    assert [verdict["what"] for verdict in race["goals"]] == ["ours / original"]


def test_the_goals_of_orders_are_those_of_the_issue(data):
    assert goals(WALMART_ORDERS, data) == {("original", 15.0), ("orjson", 5.0)}
    assert goals(WALMART_TO_MYSQL, data) == {("original", 10.0), ("upsert", 2.0), ("ceiling", 0.5)}


def test_the_table_has_the_cpu_seconds_of_the_work_and_of_the_database(data):
    race = Race(WALMART_TO_MYSQL, replace(data, unit="rows"), {OURS: [lap(2.0)]})
    text = markdown([race])
    assert "| rows/s | MB/s | seconds | whole process | CPU s | MariaDB CPU s | peak MB |" in text
    assert "| 2.00 | 3.00 | 1.00 | 5.00 | 1 |" in text


def goals(command: str, data: Orders) -> set[tuple[str, float]]:
    """Against whom the first line of ours has a goal, and which."""
    race = Race(command, data, {one: [lap(1.0)] for one in CONTESTANTS[command]})
    found = [(verdict.what.partition(" / "), verdict.goal) for verdict in verdicts(race)]
    return {(other, goal) for (ours, _, other), goal in found if ours == "ours"}


def lap(seconds: float) -> Lap:
    return Lap(seconds, seconds + 1, seconds, 1.0, 1_000_000, store_cpu_seconds=5.0)


def _with_floats(row: dict[str, object]) -> dict[str, object]:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}


def _rows(mariadb: Mariadb, name: str, table: str) -> list[dict[str, object]]:
    connection = mariadb.connect(name, cursorclass=DictCursor)
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM {table}")
    rows = [{column: value for column, value in row.items() if column != FILLED_IN} for row in cursor.fetchall()]
    connection.close()
    return sorted(rows, key=str)
