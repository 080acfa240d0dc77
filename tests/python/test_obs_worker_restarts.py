"""Slow parsers, restarts and ends of `obs_worker`: nothing is run twice in vain, and what was tried is remembered."""

from __future__ import annotations

import re
import signal
import time

import pytest
from tests.python.support.children import run, wait_until
from tests.python.support.files import File
from tests.python.support.jobs import Job, attempts_told
from tests.python.support.parsers import RAISED


@pytest.fixture
def job(kafka, s3, tmp_path) -> Job:
    return Job(kafka, s3, tmp_path)


def test_a_parser_that_outlives_the_poll_interval_is_run_once_by_obs_worker(job) -> None:
    """Two workers, so that there is somebody who would take the task over."""
    files = [File("slow", acts=("sleep:7",)), *(File(f"quick {number}") for number in range(10))]
    poll = {"KAFKA_MAX_POLL_INTERVAL_MS": "2000", "KAFKA_SESSION_TIMEOUT_MS": "1500"}
    poll["KAFKA_HEARTBEAT_INTERVAL_MS"] = "300"
    given = {"session_timeout_seconds": None, "heartbeat_seconds": None, "environment": poll, "until": "stopped"}
    with job.worker(**given) as one, job.worker(**given) as other:
        job.wait_for_members(2)
        began = time.monotonic()
        job.add(*files)
        job.wait_for_notices(len(files), one, other)
        assert time.monotonic() - began > 7
        time.sleep(3)
        for worker in (one, other):
            worker.send(signal.SIGTERM)
        assert {one.wait().code, other.wait().code} == {143}
    assert [job.runs(file.key) for file in files] == [1] * len(files)
    assert job.notice("slow")["headers"]["pipeline_core.attempts"] == "1"
    assert job.work().report["rows_read"] == 0
    job.assert_each_file_once(*files)


def test_tasks_behind_a_slow_one_do_not_wait_for_it(job) -> None:
    """All are on one partition: results come out of order, and none is told twice by the next worker."""
    files = [File("slow", acts=("sleep:60",)), *(File(f"quick {number}") for number in range(20))]
    job.add(*files)
    with job.worker(until="stopped") as worker:
        job.wait_for_notices(20, worker, seconds=30)
        assert worker.is_running
    quick = {notice["source"]["key"] for notice in job.notices()}
    assert quick == {file.key for file in files[1:]}
    job.work()
    assert job.runs("slow") == 2, "The killed one, and one that slept no more"
    assert [job.runs(file.key) for file in files[1:]] == [1] * 20
    job.assert_each_file_once(*files)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_attempts_are_counted_over_a_restart_of_obs_worker(job, number) -> None:
    job.add(File("bad", acts=("raise",) * 9))
    with job.worker(until="stopped", retry_seconds=25) as worker:
        worker.wait_for('"status": ?"retry"')
        time.sleep(1.5)  # What is remembered of an attempt need not be there at the very moment it is logged.
        worker.send(number)
        worker.wait()
    assert job.runs("bad") == 1
    ended = job.work()
    assert job.runs("bad") == 3
    assert job.notice("bad")["headers"]["pipeline_core.attempts"] == "3"
    assert [line["attempts"] for line in attempts_told(ended.err)] == [2, 3]


NO_PARSERS = {
    "nowhere:factory": "No module named 'nowhere'",
    "parsers:nowhere": "nowhere",
    "parsers:broken": RAISED,
    "parsers:number": "int|callable|parse",
    "nowhere": "parser",
    "parsers": "parser",
}


@pytest.mark.parametrize("parser", NO_PARSERS)
def test_a_parser_that_cannot_be_loaded_stops_obs_worker_at_once(job, parser) -> None:
    job.add(File("a"))
    given = {**job.settings, "until": "stopped", "parser": parser}
    began = time.monotonic()
    ended = run(job.folder, "obs-worker", **given)
    assert time.monotonic() - began < 20
    assert ended.code in {1, 2}
    assert re.search(NO_PARSERS[parser], ended.error["event"]), ended.error
    assert ended.error["hint"]
    assert (job.notices(), job.letters()) == ([], [])
    assert job.work().report["rows_written"] == 1


def test_an_obs_worker_that_is_told_to_end_drains(job) -> None:
    """What runs is finished and told; the rest is left for the next one, and nothing is run twice."""
    files = [File(f"{number}", acts=("sleep:2",)) for number in range(6)]
    job.add(*files)
    with job.worker(until="stopped") as worker:
        wait_until(lambda: sum(job.runs(file.key) for file in files) >= 2, "two parsers run")
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        assert worker.wait().code == 143
    assert time.monotonic() - began < 8
    assert 2 <= len(job.notices()) < len(files)
    assert sum(job.runs(file.key) for file in files) == len(job.notices())
    job.work()
    assert [job.runs(file.key) for file in files] == [1] * len(files)
    job.assert_each_file_once(*files)


def test_a_drain_waits_no_longer_than_it_was_told(job) -> None:
    job.add(file := File("slow", acts=("hang",)))
    with job.worker(until="stopped", drain_seconds=1) as worker:
        wait_until(lambda: job.runs("slow"), "its parser runs")
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        assert worker.wait().code == 143
    assert time.monotonic() - began < 6
    assert (job.notices(), job.letters()) == ([], [])
    job.work()
    assert job.notice("slow")["headers"]["pipeline_core.attempts"] == "1", "To be told to end is no fault of the file"
    job.assert_each_file_once(file)
