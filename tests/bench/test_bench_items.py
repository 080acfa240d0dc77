"""The migrations measure what they say they do. On few items, as `test_bench.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.bench import items
from tests.bench.broker import Broker
from tests.bench.contestants import CONTESTANTS, MYSQL_TO_MYSQL
from tests.bench.database import Database
from tests.bench.goals import verdicts
from tests.bench.item_course import ItemCourse
from tests.bench.items import SECTIONS, TAGS, Items, Sum
from tests.bench.lap import ROOT, Lap, LapError
from tests.bench.race import Race
from tests.bench.table import markdown
from tests.python.support.migrations import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb

COUNT = 1_200
"""More than two chunks of items."""
OURS, ORIGINAL, EXECUTEMANY = CONTESTANTS[MYSQL_TO_MYSQL]


@pytest.fixture(scope="module")
def course(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> ItemCourse:
    return ItemCourse(Broker(kafka, None), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def data() -> Items:
    return items.items(COUNT)


@pytest.fixture(scope="module")
def sources(mariadb: Mariadb, data: Items) -> Iterator[dict[int, str]]:
    server = Database(mariadb)
    with server.source(data.rows) as whole, server.source(data.slow_rows) as part:
        yield {data.rows: whole, data.slow_rows: part}


@pytest.fixture
def server(mariadb: Mariadb, monkeypatch: pytest.MonkeyPatch) -> Database:
    # The environment's server is another's process.
    monkeypatch.setattr(Database, "cpu_seconds", lambda _: time.process_time())
    return Database(mariadb)


@pytest.mark.parametrize("contestant", CONTESTANTS[MYSQL_TO_MYSQL], ids=lambda one: one.name)
def test_every_contestant_of_mysql_to_mysql_migrates_every_item(course, data, server, sources, contestant):
    taken = course.migrate(contestant, data, server, sources)
    assert taken.process_seconds > taken.seconds > 0
    assert taken.cpu_seconds > taken.work_cpu_seconds > 0
    assert taken.peak_bytes > 1_000_000
    assert taken.said["rows"] == (data.slow_rows if contestant.is_slow else COUNT)


def test_a_contestant_that_leaves_rows_out_or_changes_one_is_not_measured(course, data, server, sources):
    table = "nfsc_information_section_list"
    there = data.state[table]
    more = {**data.state, table: replace(there, rows=there.rows + 1)}
    with pytest.raises(LapError, match=f"ours gave .*rows={there.rows}, .*, not .*rows={there.rows + 1}, "):
        course.migrate(OURS, replace(data, state=more), server, sources)
    other = {**data.state, table: replace(there, checksum=there.checksum + 1)}
    with pytest.raises(LapError, match=f"executemany gave .*={there.checksum}.*, not .*={there.checksum + 1}"):
        course.migrate(EXECUTEMANY, replace(data, state=other), server, sources)
    with pytest.raises(LapError, match="original gave"):
        course.migrate(ORIGINAL, replace(data, slow_state=data.state), server, sources)


@pytest.mark.parametrize("count", [1, 7, 300])
def test_the_items_are_the_same_each_time_and_some_stay(count):
    made = items.of(count)
    assert made == items.of(count)
    moved, whole = len(reference(made)["nfsc_info_list"]), len(made["information_list"])
    assert (moved, whole) == (count, count + count // len(items.SITES))
    assert len(made["information_tags_relationship"]) == TAGS * whole
    assert len(made["information_section_list"]) == SECTIONS * whole
    for table, key in (("information_list", "information_id"), ("information_section_list", "section_id")):
        assert len({row[key] for row in made[table]}) == len(made[table])


def test_a_checksum_knows_a_value_from_another_and_none_from_an_empty_one(server):
    with server.target() as name:
        assert server.migrated(name) == dict.fromkeys(items.COLUMNS, Sum(0, 0))
        found: set[int] = set()
        for value in (None, "", "\\", "源\t1", "None"):
            columns, row = items.COLUMNS["nfsc_info_list"], ("i", 3, 1, "s", "名", value, "O'Brien", "2024-02-29")
            with server.mariadb.connect(name) as connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM nfsc_info_list")
                marks = ", ".join(["%s"] * len(row))
                cursor.execute(f"INSERT INTO nfsc_info_list ({', '.join(columns)}) VALUES ({marks})", row)
                connection.commit()
            there = server.migrated(name)["nfsc_info_list"]
            assert there == items.sums({"": [items.line(row)]})[""]
            found.add(there.checksum)
    assert len(found) == 5


def test_the_command_line_races_with_items_too(kafka, tmp_path):
    out = tmp_path / "bench.json"
    arguments = [MYSQL_TO_MYSQL, "--rows", "50", "--rounds", "2", "--only", "ours,original", "--shape", items.NAME]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments, "--markdown", "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| shape | contestant | items/s |" in done.stdout
    [race] = json.loads(out.read_text())["races"]
    assert {name: len(laps) for name, laps in race["laps"].items()} == {"ours": 2, "original": 2}


def test_items_have_no_goals_and_the_table_has_the_cpu_seconds_of_the_database(data):
    race = Race(MYSQL_TO_MYSQL, data, {one: [lap(2.0)] for one in CONTESTANTS[MYSQL_TO_MYSQL]})
    assert verdicts(race) == []
    text = markdown([race])
    assert "| items/s | MB/s | seconds | whole process | CPU s | MariaDB CPU s | peak MB |" in text
    assert "| 2.00 | 3.00 | 1.00 | 5.00 | 1 |" in text


def lap(seconds: float) -> Lap:
    return Lap(seconds, seconds + 1, seconds, 1.0, 1_000_000, store_cpu_seconds=5.0)
