"""Parsers of users that misbehave: each bad attempt costs its task one, the worker lives, nothing is run in vain."""

from __future__ import annotations

import json
import re
import time

import pytest
from tests.python.support.files import File
from tests.python.support.jobs import Job, attempts_told, parser_processes
from tests.python.support.parsers import RAISED

LIMITS = {"task_timeout": 2, "task_memory": "300MB", "task_output": "20MB"}
BAD = {
    "raise": RAISED,
    "raise_half": RAISED,
    "segfault": "signal|SIGSEGV|segmentation|crash",
    "exit": "SystemExit",
    "vanish": "ended|exit",
    "hang": "deadline|timeout|longer|too long|seconds",
    "hang_in_c": "deadline|timeout|longer|too long|seconds",
    "eat_memory": "memory",
    "print": "output|print",
    "write": "large|size|limit|output|SIGXFSZ|signal",
}


@pytest.fixture
def job(kafka, s3, tmp_path) -> Job:
    return Job(kafka, s3, tmp_path)


@pytest.mark.parametrize("act", BAD)
def test_a_parser_that_misbehaves_once_costs_an_attempt_of_obs_worker(job, act) -> None:
    files = [File("bad", acts=(act,)), *(File(f"good {number}") for number in range(4))]
    job.add(*files)
    ended = job.work(**LIMITS)
    assert job.runs("bad") == 2
    [retry] = attempts_told(ended.err, "retry")
    assert (retry["file_key"], retry["attempts"]) == ("bad", 1)
    assert re.search(BAD[act], retry["error"], re.IGNORECASE), retry
    [success] = [line for line in attempts_told(ended.err, "success") if line["file_key"] == "bad"]
    assert (success["attempts"], success["input_size"], success["output_size"]) == (2, 1000, 1000)
    assert job.notice("bad")["headers"]["pipeline_core.attempts"] == "2"
    assert ended.report["details"]["retries"] == 1
    job.assert_each_file_once(*files)


@pytest.mark.parametrize("act", BAD)
def test_a_parser_that_always_misbehaves_fails_its_file_alone(job, act) -> None:
    files = [File("bad", acts=(act,) * 9), *(File(f"good {number}") for number in range(4))]
    job.add(*files)
    ended = job.work(**LIMITS, max_attempts=2)
    assert job.runs("bad") == 2
    notice = job.notice("bad")
    assert re.search(BAD[act], notice["error"], re.IGNORECASE), notice
    assert notice["headers"]["pipeline_core.attempts"] == "2"
    [failed] = attempts_told(ended.err, "failed")
    assert (failed["file_key"], failed["attempts"]) == ("bad", 2)
    job.assert_each_file_once(*files, failed={"bad"})


def test_a_parser_that_leaves_no_file_and_no_dict_fails_its_file(job) -> None:
    job.add(File("a"))
    job.work(parser="parsers:idle", max_attempts=1)
    assert job.notice("a")["status"] == "failed"
    assert job.s3.keys(job.dest) == []


def test_the_traceback_of_a_parser_is_in_the_notice(job) -> None:
    job.add(File("bad", acts=("raise:Naïve\nin two lines",) * 9))
    job.work(max_attempts=1)
    error = job.notice("bad")["error"]
    assert error.startswith("ValueError: Naïve\nin two lines\n")
    assert "Traceback (most recent call last)" in error
    assert "parsers.py" in error


def test_the_pause_between_attempts_doubles(job) -> None:
    job.add(File("bad", acts=("raise",) * 9))
    began = time.monotonic()
    job.work(max_attempts=4, retry_seconds=0.5)
    assert time.monotonic() - began > 0.5 + 1 + 2
    assert job.runs("bad") == 4


def test_as_many_parsers_run_at_a_time_as_there_are_processes(job) -> None:
    files = [File(f"{number}", acts=("sleep:1",)) for number in range(12)]
    job.add(*files)
    most = 0
    with job.worker(processes=3) as worker:
        while worker.is_running:
            most = max(most, len(parser_processes(job.folder)))
            time.sleep(0.05)
        assert worker.wait().code == 0
    assert most == 3
    assert job.notice("0")["worker_type"] == "multi_process"
    job.assert_each_file_once(*files)


def test_what_a_parser_prints_does_not_disturb_its_obs_worker(job: Job) -> None:
    job.add(File("a"))
    (job.folder / "loud.py").write_text(LOUD)
    ended = job.work(parser="loud:factory")
    assert job.result("a.parsed.json") == b"done"
    assert len(ended.out.splitlines()) == 1, "Stdout is for the report"


LOUD = """
import os, subprocess, sys
print('{"ok": true}')

def factory():
    print('{"error": "x"}')
    return parse

def parse(input_path, output_path):
    print('{"ok": true}', flush=True)
    os.write(1, b'{"error": "no"}\\n')
    os.write(2, b"\\xff\\x00 no text\\n")
    subprocess.run([sys.executable, "-c", "print('{\\"ok\\": true}'); import sys; sys.stdin.read()"], check=True)
    assert sys.stdin.read() == ""
    output_path.write_bytes(b"done")
"""


def test_parsers_are_spawned_without_what_their_obs_worker_has_open(job: Job) -> None:
    """A descriptor that leaks keeps a socket or a lock alive after its owner has gone."""
    (job.folder / "opened.py").write_text(OPENED)
    job.add(File("a"))
    job.work(parser="opened:factory")
    found = json.loads(job.result("a.parsed.json"))["open"]
    assert found
    assert not [name for name in found if name.startswith("socket:")], found


OPENED = """
import os

def factory():
    return lambda input_path, output_path: {"open": [target(name) for name in os.listdir("/proc/self/fd")]}

def target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return "gone"
"""
