"""Two workers of one group that are killed again and again, over a store that is busy, with parsers that misbehave."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.python.support.children import Child, seeded, wait_until
from tests.python.support.files import File, sizes
from tests.python.support.jobs import Job, assert_no_parser_is_left, parser_processes
from tests.services.fault_proxy import FaultProxy

if TYPE_CHECKING:
    import random

FILES = 1000
KILLS = 20
WAVE = FILES // KILLS
DRAIN_SECONDS = 20
PLACES = ("before_object", "after_object", "before_commit", "after_commit")
# How many files have a parser that does this once or twice before it behaves.
ONCE = {
    "raise": 30,
    "raise_half": 15,
    "segfault": 20,
    "eat_memory": 12,
    "hang": 6,
    "hang_in_c": 4,
    "print": 6,
    "exit": 6,
    "vanish": 6,
    "write": 3,
}
TWICE = [("segfault", "raise"), ("raise", "hang"), ("eat_memory", "segfault"), ("raise_half", "raise_half")] * 3
ALWAYS = ["raise", "raise", "raise", "segfault", "segfault", "eat_memory", "vanish", "hang"]
ROOM_FOR_ACTS = 1000


def a_thousand_files(dice: random.Random) -> list[File]:
    acts = [(act,) for act, count in ONCE.items() for _ in range(count)]
    acts += [*TWICE, *((act,) * 30 for act in ALWAYS)]
    found: list[File] = []
    for number, size in enumerate(dice.sample(given := sizes(FILES, dice), len(given))):
        own = acts.pop() if acts and size >= ROOM_FOR_ACTS else ()
        found.append(File(f"in/{number % 7}/file {number:04}.bin", size, own))
    assert not acts
    assert 400e6 < sum(file.size for file in found) < 700e6
    return found


def killed_at_a_fault(child: Child) -> bool:
    """Wait for its fault, a while: the tasks that would lead it there may all be with the other worker."""
    deadline = time.monotonic() + 10
    while child.is_running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert child.process.returncode in {None, -signal.SIGKILL}, f"{child.fault}: {child.said[-3000:]}"
    return not child.is_running


def test_an_obs_worker_that_is_killed_20_times_gives_each_file_one_object_and_one_notice(kafka, s3, tmp_path) -> None:
    dice = seeded("the moments of the kills")
    files = a_thousand_files(dice)
    began = time.monotonic()
    with FaultProxy(s3.url) as proxy:
        busy = proxy.answer(503, every=10)
        given = {"until": "stopped", "processes": 3, "task_timeout": 5, "task_memory": "300MB", "task_output": "60MB"}
        job = Job(kafka, s3, tmp_path, url=proxy.url, partitions=6, settings=given)
        job.put(*files)
        at_faults: Counter[str] = Counter()
        workers = [job.worker(), job.worker()]
        try:
            for number in range(KILLS):
                job.send(keys=[file.key for file in files[number * WAVE : (number + 1) * WAVE]])
                victim = workers[number % 2]
                if victim.fault and killed_at_a_fault(victim):
                    at_faults[victim.fault.partition(":")[0]] += 1
                elif not victim.fault:
                    time.sleep(dice.uniform(0.5, 2.5))
                    assert victim.is_running, victim.said[-3000:]
                victim.kill()
                # Every second life ends at a step of the protocol, each step in turn.
                fault = f"{PLACES[number // 4 % 4]}:{dice.randint(1, 6)}:kill" if number % 4 < 2 else ""
                workers[number % 2] = job.worker(fault=fault if number < KILLS - 2 else "")
            job.wait_for_notices(FILES, *workers, seconds=150)
            for worker in workers:
                worker.send(signal.SIGTERM)
            assert [worker.wait(DRAIN_SECONDS).code for worker in workers] == [143, 143], workers[0].said[-3000:]
        finally:
            for worker in workers:
                worker.kill()
    print(f"{time.monotonic() - began:.0f} s; kills at faults: {dict(at_faults)}; 503s: {busy.happened}")  # noqa: T201
    assert busy.happened > FILES / 10
    # An armed life may get too few tasks to reach its step; each step has a test of its own below.
    assert at_faults.total() >= KILLS / 5, f"Was it built without failpoints? {at_faults}"
    assert_no_parser_is_left(tmp_path)
    failed = {file.key for file in files if len(file.acts) == 30}
    assert len(failed) == len(ALWAYS)
    job.assert_each_file_once(*files, failed=failed)
    report = job.work(obs_endpoint=s3.url, until="end").report
    assert report["rows_read"] == 0, "All is committed"
    assert sum(job.runs(file.key) > 1 for file in files) > sum(ONCE.values())


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_at_a_step_of_obs_worker_loses_nothing_and_doubles_nothing(kafka, s3, tmp_path, place) -> None:
    job = Job(kafka, s3, tmp_path)
    # What ends within a tenth of a second is committed together.
    files = [File(f"{number}.bin", acts=("sleep:0.1",)) for number in range(30)]
    job.add(*files)
    for count in (1, 1, 2) if "commit" in place else (1, 2, 5):
        with job.worker(fault=f"{place}:{count}:kill") as worker:
            worker.wait_until_killed()
    job.work()
    job.assert_each_file_once(*files)


def test_parsers_go_with_the_obs_worker_that_is_killed(kafka, s3, tmp_path) -> None:
    job = Job(kafka, s3, tmp_path)
    job.add(*(File(f"{number}", acts=(act,)) for number, act in enumerate(["hang", "hang_in_c"])))
    with job.worker(until="stopped") as worker:
        wait_until(lambda: job.runs("0") and job.runs("1"), "both parsers hang")
        assert len(parser_processes(tmp_path)) == 2
    assert_no_parser_is_left(tmp_path)
    assert worker.process.returncode == -signal.SIGKILL


def test_an_obs_worker_that_is_frozen_past_its_session_tells_nothing_twice(kafka, s3, tmp_path) -> None:
    """Another worker does its tasks; when it wakes, its parser's result is not told a second time."""
    job = Job(kafka, s3, tmp_path, partitions=2, settings={"until": "stopped"})
    files = [File(f"{number}", acts=("sleep:1",)) for number in range(6)]
    job.add(*files)
    with job.worker() as frozen:
        wait_until(lambda: any(job.runs(file.key) for file in files), "a parser runs")
        frozen.send(signal.SIGSTOP)
        with job.worker() as other:
            job.wait_for_notices(len(files), other)
            frozen.wake()
            time.sleep(3)
            for worker in (frozen, other):
                worker.send(signal.SIGTERM)
            assert other.wait(DRAIN_SECONDS).code == 143
            frozen.wait(DRAIN_SECONDS)
    job.work(until="end")
    job.assert_each_file_once(*files)
