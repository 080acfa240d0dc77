"""The races with changes measure what they say they do. On few changes, as `test_bench.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import AdminClient
from tests.bench import change_course, changes
from tests.bench.broker import Broker
from tests.bench.change_course import ChangeCourse
from tests.bench.changes import BACKLOG, COLUMNS, DELAY, FIELDS, Backlog, Events, Held, Load
from tests.bench.cluster import Cluster
from tests.bench.contestants import CDC_TO_POSTGRES, CONTESTANTS, POSTGRES_TO_KAFKA, Part, field_of
from tests.bench.goals import verdicts
from tests.bench.lap import ROOT, Lap, LapError
from tests.bench.race import Race
from tests.bench.table import markdown
from tests.python.support import topics
from tests.python.support.children import wait_until

if TYPE_CHECKING:
    from tests.services.kafka import Kafka
    from tests.services.postgres import Postgres

COUNT = 400
OURS, ORIGINAL, _ = CONTESTANTS[POSTGRES_TO_KAFKA]
COPY = next(one for one in CONTESTANTS[CDC_TO_POSTGRES] if one.part is Part.CEILING)


@pytest.fixture(scope="module")
def course(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> ChangeCourse:
    return ChangeCourse(Broker(kafka, None), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module", params=changes.SHAPES, ids=lambda shape: shape.name)
def events(request: pytest.FixtureRequest, course: ChangeCourse) -> Events:
    return changes.write(request.param, COUNT, course.folder)


@pytest.fixture
def target(target_postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return not_measured(target_postgres, monkeypatch)


@pytest.fixture
def source(source_postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return not_measured(source_postgres, monkeypatch)


def not_measured(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The environment's server is another's process."""
    monkeypatch.setattr(Cluster, "cpu_seconds", lambda _: time.process_time())
    return Cluster(postgres)


def test_every_contestant_of_cdc_to_postgres_applies_the_same_changes(course, events, target, monkeypatch):
    found: list[list[tuple[Any, ...]]] = []
    holds = Cluster.holds

    def read_first(self: Cluster, name: str, table: str) -> Held:
        with self.postgres.connect(name) as connection:
            found.append(
                connection.execute(f"SELECT emp_id, salary, dob::text FROM {table} ORDER BY 1, 2, 3").fetchall()
            )
        return holds(self, name, table)

    monkeypatch.setattr(Cluster, "holds", read_first)
    with course.shelf(events, target) as shelf:
        for contestant in CONTESTANTS[CDC_TO_POSTGRES]:
            taken = course.apply(contestant, events, target, shelf)
            assert taken.process_seconds > taken.seconds > 0, contestant.name
            expected = rows(events, events.slow_rows if contestant.is_slow else COUNT)
            keyed = {row[0]: row for row in expected}
            every = contestant is COPY
            assert found.pop() == sorted(expected if every else keyed.values(), key=nulls_last), contestant.name
    assert not found


def test_a_contestant_that_leaves_changes_out_is_not_measured(course, events, target, tmp_path):
    fewer = changes.write(events.shape, COUNT - 1, tmp_path)
    with course.shelf(fewer, target) as shelf, pytest.raises(LapError, match=f"rows={COUNT - 1}.*, not .*rows={COUNT}"):
        course.apply(COPY, events, target, shelf)


def test_a_ledger_that_should_not_be_there_is_seen(course, events, target):
    original = next(one for one in CONTESTANTS[CDC_TO_POSTGRES] if one.part is Part.ORIGINAL)
    with course.shelf(events, target) as shelf, pytest.raises(LapError, match=f"the ledger: {events.slow_rows}, not 0"):
        course.apply(replace(original, keeps_ledger=False), events, target, shelf)


def test_a_key_has_as_many_changes_as_the_shape_says(events):
    keys = [row[0] for row in rows(events, COUNT)]
    assert {keys.count(key) for key in keys} == {events.shape.changes_of_a_key}
    assert events.state.rows == COUNT // events.shape.changes_of_a_key
    assert events.all_rows.rows == COUNT
    assert 0 < events.slow_rows < COUNT
    assert events.bytes == sum(map(len, events.path.read_bytes().splitlines()))


def test_every_contestant_of_postgres_to_kafka_brings_all_that_waits(course, source, monkeypatch):
    backlog = Backlog(COUNT)
    found: list[list[tuple[int, bytes | None, str]]] = []
    names: list[str] = []
    read = topics.messages

    def keep(kafka: Kafka, topic: str) -> list[topics.Message]:
        given = read(kafka, topic)
        names.append(topic)
        fields = [(message.key, json.loads(message.value or b"")) for message in given]
        found.append(sorted((one["action_id"], key, one["action"]) for key, one in fields))
        return given

    monkeypatch.setattr(topics, "messages", keep)
    with source.source(backlog.statements) as name:
        for contestant in field_of(POSTGRES_TO_KAFKA, BACKLOG):
            taken = course.capture(contestant, backlog, source, name)
            assert taken.process_seconds > taken.seconds > 0, contestant.name
        with pytest.raises(LapError, match=f"the change table: {COUNT}, not {COUNT + 1}"):
            course.capture(ORIGINAL, Backlog(COUNT + 1), source, name)
    assert len(found[0]) == COUNT
    assert {action for _, _, action in found[0]} == {"INSERT", "UPDATE", "DELETE"}
    assert all(one == found[0] for one in found)
    ours = tuple(names)
    wait_until(lambda: not any(name.startswith(ours) for name in topic_names(course)), "the topics are deleted", 30)


@pytest.mark.parametrize("contestant", CONTESTANTS[POSTGRES_TO_KAFKA], ids=lambda one: one.name)
def test_a_delay_is_that_of_changes_made_meanwhile(course, source, monkeypatch, contestant):
    monkeypatch.setattr(change_course, "QUIET_SECONDS", 2)
    load = Load(transactions=10, writers=3)
    taken = course.follow(contestant, load, source)
    assert 0 < taken.said["p50_ms"] <= taken.said["p99_ms"] <= taken.said["longest_ms"]
    assert 0 <= taken.said["missed"] < load.rows
    assert taken.process_seconds > taken.seconds > 0


def test_a_contestant_that_ends_while_others_write_is_not_measured(course, source, monkeypatch):
    told = ChangeCourse.capture_task
    monkeypatch.setattr(ChangeCourse, "capture_task", lambda *given: told(*given[:-1]))
    with pytest.raises(LapError, match="A contestant that was not told to stop has ended"):
        course.follow(ORIGINAL, Load(transactions=1, writers=1), source)


def test_delays_go_from_the_commit_to_the_arrival():
    committed = {f"0-{number}": 10.0 for number in range(100)}
    seen = [(None, 1.0), *((city, 10 + at / 1000) for at, city in enumerate(committed, start=1))]
    delays = change_course.delays_of(OURS, committed, seen)
    assert {name: round(value) for name, value in delays.items()} == {
        "p50_ms": 51,
        "p99_ms": 100,
        "longest_ms": 100,
        "missed": 0,
    }
    assert change_course.delays_of(ORIGINAL, committed, seen[:-3])["missed"] == 3
    with pytest.raises(LapError, match="ours: the missed changes: 3, not 0"):
        change_course.delays_of(OURS, committed, seen[:-3])
    for surplus in (seen[5], ("0-100", 11.0)):
        with pytest.raises(LapError, match="messages twice, or of what was not committed: 1, not 0"):
            change_course.delays_of(ORIGINAL, committed, [*seen, surplus])
    with pytest.raises(LapError, match="the missed changes: 100"):
        change_course.delays_of(ORIGINAL, committed, seen[:1])


def test_writers_do_what_the_issue_says():
    load = Load()
    plans = [list(load.plan(writer)) for writer in range(load.writers)]
    assert plans == [list(load.plan(writer)) for writer in range(load.writers)]
    every = [transaction for plan in plans for transaction in plan]
    assert load.writers == 8
    assert {len(one.changes) for one in every} == {1, 2, 3}
    assert sum(not one.is_committed for one in every) / len(every) == pytest.approx(0.05, abs=0.01)
    cities = [city for one in every for _, city, _ in one.changes]
    assert len(set(cities)) == len(cities) > load.rows
    assert all(pause > 0 for one in every for _, _, pause in one.changes)


def test_the_command_line_races_with_changes_too(kafka, tmp_path):
    out = tmp_path / "bench.json"
    arguments = [CDC_TO_POSTGRES, "--rows", "5000", "--rounds", "2", "--only", "ceiling,executemany"]
    arguments += ["--shape", "10 a key"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments, "--markdown", "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| shape | contestant | events/s |" in done.stdout
    [race] = json.loads(out.read_text())["races"]
    assert {name: len(laps) for name, laps in race["laps"].items()} == {"ceiling": 2, "executemany": 2}
    assert sum(lap["store_cpu_seconds"] for lap in race["laps"]["executemany"]) > 0


def test_the_goals_of_changes_are_those_of_the_issue(tmp_path):
    for shape in changes.SHAPES:
        race = Race(CDC_TO_POSTGRES, changes.write(shape, COUNT, tmp_path))
        race.laps.update({one: [lap(1.0)] for one in CONTESTANTS[CDC_TO_POSTGRES]})
        found = [(verdict.what.split(" / "), verdict.goal) for verdict in verdicts(race)]
        assert {(other, goal) for (_, other), goal in found} == {
            ("original", 150.0),
            ("executemany", 2.0),
            ("ceiling", 0.4),
        }
        assert {ours for (ours, _), _ in found} == {"ours", "ledger"}


def test_the_table_has_what_was_missed_and_no_ratio_where_writers_set_the_pace():
    load = Load(transactions=10)
    said = {"p50_ms": 40.4, "p99_ms": 99.6, "missed": load.rows // 2}
    race = Race(
        POSTGRES_TO_KAFKA, load, {ORIGINAL: [replace(lap(2.0), said=said)], OURS: [replace(lap(2.0), said=said)]}
    )
    text = markdown([race])
    assert "| CPU s | PostgreSQL CPU s | peak MB | delay p50 ms | p99 ms | missed | ours is | goal |" in text
    assert f"| 5.00 | 1 | 40 | 100 | {load.rows // 2} (50%) |  |  |" in text
    assert verdicts(race) == []
    backlog = Race(POSTGRES_TO_KAFKA, Backlog(COUNT), {OURS: [lap(1.0)], ORIGINAL: [lap(3.0)]})
    assert "| 5.00 | 1 |  |  |  | 3.00x |  |" in markdown([backlog])
    assert [one.name for one in field_of(POSTGRES_TO_KAFKA, DELAY)] == ["ours", "original", "original50"]


def lap(seconds: float) -> Lap:
    return Lap(seconds, seconds + 1, seconds, 1.0, 1_000_000, store_cpu_seconds=5.0)


def rows(events: Events, count: int) -> list[tuple[Any, ...]]:
    """Key, salary and date of birth of the first changes, told from their messages."""
    names = [FIELDS[COLUMNS.index(column)] for column in ("emp_id", "salary", "dob")]
    found = [json.loads(line) for line in events.path.read_bytes().splitlines()]
    assert [one["action_id"] for one in found] == list(range(1, len(found) + 1))
    return [tuple(one[name] for name in names) for one in found[:count]]


def nulls_last(row: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    """As PostgreSQL sorts."""
    return [(value is None, value or 0) for value in row]


def topic_names(course: ChangeCourse) -> list[str]:
    return list(AdminClient(course.broker.kafka.properties()).list_topics(timeout=30).topics)
