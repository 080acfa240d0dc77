"""The races over object stores measure what they say they do. On little data, as `test_bench.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.bench import files
from tests.bench.broker import Broker
from tests.bench.children import children, peak_of, peak_of_children
from tests.bench.contestants import BUCKET_TO_KAFKA, CONTESTANTS, OBS_WORKER, Contestant, Part, field_of
from tests.bench.file_course import FileCourse
from tests.bench.goals import verdicts
from tests.bench.lap import ROOT, Lap, LapError
from tests.bench.native import has_native
from tests.bench.obs_worker import parsers
from tests.bench.race import Race
from tests.bench.store import Store, listed_store
from tests.bench.table import markdown
from tests.bench.task_messages import formatted, send_tasks, successes

from pipeline_core import _core

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

COUNT = 30
FILES = [one.cut(COUNT) for one in files.FILES]
SMALL, LARGE, COMPUTED = FILES
KEYS = [one.cut(files.KEYS_OF_A_FOLDER + 10) for one in files.KEYS]
ALLOCATE = "import time; data = bytearray(80_000_000); time.sleep(0.5)"


@pytest.fixture(scope="module")
def course(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> FileCourse:
    return FileCourse(Broker(kafka, None), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def store(s3_memory: S3) -> Store:
    return Store(s3_memory)


@pytest.fixture(params=[SMALL, LARGE, COMPUTED], ids=lambda one: one.name)
def filled(request: pytest.FixtureRequest, store: Store):
    with store.bucket() as bucket:
        store.fill(bucket, ((key, request.param.body(at)) for at, key in enumerate(request.param.names(COUNT))))
        yield request.param, bucket


def contestants(command: str) -> list[Contestant]:
    """Those of a command; without ours or the ceiling where the wheel has none, except in CI, where that fails."""
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    missing = set[Part]()
    if not hasattr(_core, command):
        missing.add(Part.OURS)
    if not has_native(command):
        missing.add(Part.CEILING)
    return [one for one in CONTESTANTS[command] if is_ci or one.part not in missing]


@pytest.mark.parametrize("contestant", contestants(OBS_WORKER), ids=lambda one: one.name)
def test_every_contestant_of_obs_worker_copies_every_file(course, store, filled, contestant, monkeypatch):
    some, bucket = filled
    found: dict[str, bytes] = {}
    results = Store.results

    def read_first(self: Store, dest_bucket: str) -> tuple[int, int]:
        found.update({key: self.s3.read(dest_bucket, key) for key in self.s3.keys(dest_bucket)})
        return results(self, dest_bucket)

    monkeypatch.setattr(Store, "results", read_first)
    taken = course.work(contestant, some, store, bucket)
    assert found == {f"{key}.parsed.json": some.body(at) for at, key in enumerate(some.names(COUNT))}
    assert taken.seconds > 0
    assert taken.process_seconds > taken.seconds
    assert taken.cpu_seconds > 0
    assert taken.store_cpu_seconds >= 0
    assert taken.peak_bytes > 1_000_000
    assert course.broker.topics == []


@pytest.mark.parametrize("keys", KEYS, ids=lambda one: one.name)
def test_every_contestant_of_bucket_to_kafka_lists_every_key(course, keys):
    with listed_store(keys) as (store, bucket):
        for contestant in contestants(BUCKET_TO_KAFKA):
            assert course.list(contestant, keys, store, bucket).said["rows"] == keys.rows, contestant.name
        assert store.s3.keys(bucket) == sorted(keys.names())


def test_a_contestant_that_leaves_files_out_is_not_measured(course, store):
    boto3 = next(one for one in CONTESTANTS[OBS_WORKER] if one.name == "boto3")
    with store.bucket() as bucket:
        store.fill(bucket, ((key, b"short") for key in SMALL.names(COUNT)))
        with pytest.raises(LapError, match=r"\(30, 150\), not \(30, 30000\)"):
            course.work(boto3, SMALL, store, bucket)


def test_a_notice_counts_once_and_only_of_success(course):
    topic = course.broker.new_topic(2)
    notices = [("a", "success"), ("a", "success"), ("b", "failed"), ("c", "success")]
    messages = [{"key": key, "status": status, "source": {"key": key}} for key, status in notices]
    send_tasks(course.broker, topic, messages)
    assert successes(course.broker, topic, 2, len(notices)) == 2
    course.broker.delete_topic(topic)


def test_the_command_line_races_over_object_stores_too(kafka, tmp_path):
    out = tmp_path / "bench.json"
    arguments = ["obs_worker", "--files", "20", "--rounds", "2", "--only", "boto3,obstore", "--shape", "1 KB"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments, "--markdown", "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| shape | contestant | files/s |" in done.stdout
    assert "| 1 KB | boto3, one after the other |" in done.stdout
    [race] = json.loads(out.read_text())["races"]
    assert {name: len(laps) for name, laps in race["laps"].items()} == {"boto3": 2, "obstore": 2}


def test_the_goals_of_files_are_those_of_the_issue():
    ours, two, ceiling, boto3, _, obstore = CONTESTANTS[OBS_WORKER]
    laps = {ours: [lap(2.0)], two: [lap(2.0)], ceiling: [lap(1.5)], boto3: [lap(1.5)], obstore: [lap(2.5)]}
    race = Race(OBS_WORKER, files.SMALL, laps)
    found = {(one.what, round(one.found, 3), one.goal, one.is_met) for one in verdicts(race)}
    # boto3 had a twentieth of the files.
    expected = {("ceiling", 0.75, 0.8, False), ("boto3", 15.0, 5.0, True), ("obstore", 1.25, 1.3, False)}
    assert found == {(f"{name} / {other}", *rest) for name in ("ours", "ours2") for other, *rest in expected}
    assert "| 10,000 | 10 | 2.00 |" in markdown([race])


def test_two_processes_race_against_one_where_the_parser_computes():
    two, one = field_of(OBS_WORKER, COMPUTED.name)
    assert (two.processes, one.processes) == (2, 1)
    [verdict] = verdicts(Race(OBS_WORKER, COMPUTED, {two: [lap(1.0)], one: [lap(1.8)]}))
    assert (verdict.found, verdict.goal, verdict.is_met) == (1.8, 1.7, True)


def test_a_listing_has_its_goals_on_both_servers():
    ours, ceiling, boto3, obstore = CONTESTANTS[BUCKET_TO_KAFKA]
    laps = {ours: [lap(1.0)], ceiling: [lap(0.9)], boto3: [lap(3.0)], obstore: [lap(1.0)]}
    memory, disk = (verdicts(Race(BUCKET_TO_KAFKA, keys, laps)) for keys in KEYS)
    assert [(one.goal, one.is_met) for one in memory] == [(2.0, True)]
    assert [(one.goal, one.is_met) for one in disk] == [(1.0, False), (2.0, True)]


def test_the_memory_of_children_is_seen():
    servers = sum(map(peak_of, children()))
    with peak_of_children() as peak:
        first = subprocess.Popen([sys.executable, "-S", "-E", "-c", ALLOCATE])
        second = subprocess.Popen([sys.executable, "-S", "-E", "-c", ALLOCATE])
        assert first.wait() + second.wait() == 0
    assert 160_000_000 < peak.bytes - servers < 260_000_000


def test_the_parsers_give_the_file_itself(tmp_path: Path):
    source = tmp_path / "a"
    source.write_bytes(b"1")
    parsers.linking()(source, tmp_path / "b")
    started = time.process_time()
    parsers.computing()(source, tmp_path / "c")
    assert time.process_time() - started > 0.002
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes() == b"1"


def test_sizes_are_written_as_the_original_does():
    assert [formatted(size) for size in (0, 1, 1023, 1536, 1024**3)] == ["0 B", "1.0 B", "1023.0 B", "1.5 KB", "1.0 GB"]


def lap(seconds: float) -> Lap:
    return Lap(seconds, seconds, seconds, seconds, 1_000_000)
