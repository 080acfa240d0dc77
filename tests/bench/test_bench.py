"""The benchmark measures what it says it does. On little data: nothing here looks at how fast anything was."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from tests.bench import shapes
from tests.bench.broker import Broker
from tests.bench.clients import CONSUMER, PRODUCER, rows_on, value_of
from tests.bench.contestants import CONTESTANTS, CSV_TO_KAFKA, KAFKA_TO_PARQUET, Contestant, Part
from tests.bench.goals import verdicts
from tests.bench.lap import ROOT, Lap, LapError
from tests.bench.native import has_native
from tests.bench.race import FILLER, Course, Race
from tests.bench.table import markdown

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka

ROWS = 2_000
WORKED_OUT = {
    "queue.buffering.max.kbytes": "queue / 1024",
    "queue.buffering.max.messages": "role.buffer_bytes / 512",
    "queued.max.messages.kbytes": "fetch_bytes / 1024",
    "fetch.max.bytes": "fetch_bytes / 8",
    "fetch.message.max.bytes": "fetch_bytes / 32",
}
"""Settings that `clients.py` works out as the engine does."""
OURS, POLARS = CONTESTANTS[KAFKA_TO_PARQUET][0], CONTESTANTS[KAFKA_TO_PARQUET][-1]


@pytest.fixture(scope="module")
def course(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Course:
    return Course(Broker(kafka, None), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module", params=shapes.SHAPES, ids=lambda shape: shape.name)
def data(request: pytest.FixtureRequest, course: Course) -> shapes.Data:
    return shapes.write(request.param, ROWS, course.folder)


@pytest.fixture(scope="module")
def expected(data: shapes.Data) -> list[dict[str, str]]:
    with data.csv.open(encoding=data.shape.encoding, newline="") as file:
        return list(csv.DictReader(file))


def contestants(command: str) -> list[Contestant]:
    """Those of a command; without the ceiling where the wheel has none, except in CI, where that fails."""
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return [one for one in CONTESTANTS[command] if one.part is not Part.CEILING or has_native(command) or is_ci]


@pytest.mark.parametrize("contestant", contestants(CSV_TO_KAFKA), ids=lambda one: one.name)
def test_every_contestant_sends_every_row(course, data, expected, contestant):
    with course.topic() as topic:
        taken = course.send(contestant, data, topic)
        messages = read(course, topic)
    item = data.shape.item
    assert sorted(messages, key=lambda row: int(row[1][item])) == [(row[shapes.KEY], row) for row in expected]
    assert taken.seconds > 0
    assert taken.process_seconds > taken.seconds
    assert taken.cpu_seconds > 0
    assert taken.peak_bytes > 1_000_000


def test_every_contestant_writes_every_row(course, data, expected, tmp_path):
    with course.topic() as topic:
        course.send(FILLER, data, topic)
        for contestant in contestants(KAFKA_TO_PARQUET):
            folder = tmp_path / contestant.name
            folder.mkdir()
            taken = course.write(contestant, data, topic, folder)
            assert taken.peak_bytes > 1_000_000
            if contestant.part is not Part.CEILING:
                rows = written(folder, list(expected[0]))
                assert sorted(rows, key=lambda row: int(row[data.shape.item])) == expected, contestant.name


def test_a_contestant_that_fails_is_not_measured(course):
    wrong = shapes.Data(shapes.NARROW, course.folder / "missing.csv", course.folder / "missing", ROWS, 1)
    with course.topic() as topic, pytest.raises(LapError, match=r"missing\.csv"):
        course.send(FILLER, wrong, topic)


def test_a_contestant_that_leaves_rows_out_is_not_measured(course):
    data = shapes.write(shapes.NARROW, 10, course.folder)
    too_many = shapes.Data(data.shape, data.csv, data.payloads, 11, data.bytes)
    with course.topic() as topic, pytest.raises(LapError, match="10 rows, not 11"):
        course.send(FILLER, too_many, topic)


def test_the_command_line_prints_the_table_and_writes_the_measurements(kafka, tmp_path):
    out = tmp_path / "bench.json"
    arguments = ["all", "--rows", "500", "--rounds", "2", "--shape", "narrow", "--only", "ours,original"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments, "--markdown", "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| narrow | **pipeline_core** |" in done.stdout
    races = json.loads(out.read_text())["races"]
    assert [race["command"] for race in races] == [CSV_TO_KAFKA, KAFKA_TO_PARQUET]
    assert all(len(laps) == 2 for race in races for laps in race["laps"].values())


def test_the_goals_are_those_of_the_issue(tmp_path):
    data = shapes.Data(shapes.NARROW, tmp_path, tmp_path, 1_000, 150_000)
    race = Race(KAFKA_TO_PARQUET, data, {OURS: [lap(1.0), lap(9.0), lap(2.0)], POLARS: [lap(3.9)]})
    against_polars, memory = verdicts(race)
    assert (against_polars.found, against_polars.goal, against_polars.is_met) == (1.95, 2.0, False)
    assert memory.is_met
    assert "| 1.95x | ≥ 2x missed |" in markdown([race])


def test_the_same_number_of_rows_is_the_same_data(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    for shape in shapes.SHAPES:
        for folder in (first, second):
            folder.mkdir(exist_ok=True)
        one, other = shapes.write(shape, 100, first), shapes.write(shape, 100, second)
        assert one.csv.read_bytes() == other.csv.read_bytes()
        assert one.payloads.read_bytes() == other.payloads.read_bytes()


def test_all_clients_have_the_settings_of_the_engine():
    text = "".join(
        (ROOT / "src" / "kafka" / file).read_text(encoding="utf-8") for file in ("client.rs", "group.rs", "producer.rs")
    )
    found = dict(re.findall(r'\.set\("([a-z.]+)", "([^"]+)"\)', text))
    ours = {name: str(value).lower() for name, value in {**CONSUMER, **PRODUCER}.items()}
    shared = found.keys() & ours.keys() - {"auto.offset.reset"}
    assert len(shared) > 8, "the engine's settings are written in another way now: read them anew"
    assert {name: found[name] for name in shared} == {name: ours[name] for name in shared}
    assert [name for name, formula in WORKED_OUT.items() if f'.set("{name}", ({formula})' not in text] == []
    shares = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "src" / "pipelines").rglob("mod.rs"))
    assert "buffer_bytes: config.memory_limit / 4," in shares
    assert "fetch_bytes: config.memory_limit / 32," in shares
    assert "let queue = role.buffer_bytes.max(" in text
    # The engine starts where it knows to, and keeps its own books; the others need neither to find the end.
    assert found.keys() - ours.keys() <= {
        "client.id",
        "compression.level",
        "enable.partition.eof",
        "enable.auto.offset.store",
    }


def lap(seconds: float) -> Lap:
    return Lap(seconds, seconds, seconds, seconds, 1_000_000)


def read(course: Course, topic: str) -> list[tuple[str, dict[str, str]]]:
    """Keys and values of a topic."""
    consumer = Consumer({**course.broker.kafka.properties(), "group.id": "bench-test"})
    partitions = consumer.list_topics(topic).topics[topic].partitions
    consumer.assign([TopicPartition(topic, at, OFFSET_BEGINNING) for at in partitions])
    left, found = rows_on(consumer, topic), []
    while len(found) < left:
        messages = consumer.consume(1_000, 0.2)
        found += [(message.key().decode(), json.loads(value_of(message))) for message in messages]
    consumer.close()
    return found


def written(folder: Path, columns: list[str]) -> list[dict[str, str]]:
    """The rows of all files, without what a contestant added."""
    return [row for file in folder.rglob("*.parquet") for row in pq.read_table(file, columns=columns).to_pylist()]
