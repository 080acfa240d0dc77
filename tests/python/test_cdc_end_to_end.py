"""From one PostgreSQL to another, through real triggers and a real topic: the same table, whatever is killed."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.captures import Capture, Replication, replica_of
from tests.python.support.children import Child, Ended, seeded, side_by_side, wait_until
from tests.python.support.histories import History
from tests.python.support.writers import Writers

if TYPE_CHECKING:
    import random
    from collections.abc import Generator, Iterator
    from concurrent.futures import Future

CHANGES = 200_000
SOURCE, TARGET = "source", "target"
VICTIMS = [SOURCE, TARGET] * 10
PARTITIONS = 4
SESSION_SECONDS = 1.5
DRAIN_SECONDS = 30
WAKING_SECONDS = 60
BAD = 12

SOURCE_STEPS = ("before_fence", "after_fence", "after_read", "before_commit", "after_commit", "after_chunk")
TARGET_STEPS = (
    "after_claim",
    "before_transaction",
    "after_begin",
    "before_rows",
    "after_rows",
    "after_positions",
    "before_commit_sql",
    "after_commit_sql",
    "before_outbox",
    "after_outbox",
    "before_commit",
    "after_commit",
)
# All partitions are claimed together.
AT_TARGET = [f"{step}:{1 if step == 'after_claim' else 2}" for step in TARGET_STEPS]


@contextmanager
def growing(history: History, changes: int, truncates: int) -> Generator[None, None, None]:
    """A history goes on meanwhile; the end waits for all of it."""
    failed: list[Exception] = []

    def grow() -> None:
        try:
            history.grow(changes, truncates)
        except Exception as error:  # noqa: BLE001 - told at the end
            failed.append(error)

    thread = threading.Thread(target=grow, daemon=True)
    thread.start()
    yield
    thread.join(120)
    assert not thread.is_alive()
    assert not failed, failed


class Sides:
    """A process of each side, started again when it has been killed."""

    def __init__(self, replication: Replication) -> None:
        self._replication = replication
        self._children: dict[str, Child] = {}
        self._begun: dict[str, int] = {}
        for side in (SOURCE, TARGET):
            self.start(side)

    def start(self, side: str) -> None:
        run = self._replication.capture.worker if side == SOURCE else self._replication.apply.worker
        self._begun[side] = self._progress(side)
        self._children[side] = run(until="stopped")

    def kill(self, side: str, dice: random.Random) -> None:
        """Kill a process some time after it has done something."""
        child = self._children[side]

        def is_at_work() -> bool:
            assert child.is_running, child.said[-3000:]
            return self._progress(side) > self._begun[side]

        wait_until(is_at_work, f"the {side} is at work", 60)
        time.sleep(dice.uniform(0, 1))
        child.kill()
        assert child.process.returncode == -signal.SIGKILL, child.said[-3000:]

    def end(self) -> None:
        """End both as a user does."""
        for child in self._children.values():
            child.send(signal.SIGTERM)
        # SIGTERM before Python has set its handlers ends a child that has done nothing yet.
        codes = {child.wait(DRAIN_SECONDS).code for child in self._children.values()}
        assert codes <= {143, -signal.SIGTERM}, [child.said[-3000:] for child in self._children.values()]

    def close(self) -> None:
        for child in self._children.values():
            child.kill()

    def _progress(self, side: str) -> int:
        if side == SOURCE:
            return self._replication.capture.sent()
        return sum(at or 0 for at in self._replication.apply.positions().values())


def test_a_long_history_arrives_whole_whatever_is_killed_on_either_side(
    kafka, source_postgres, target_postgres, tmp_path
) -> None:
    dice = seeded("a long history")
    replication = Replication.begun(
        kafka, source_postgres, target_postgres, tmp_path, PARTITIONS, session_timeout_seconds=SESSION_SECONDS
    )
    capture = replication.capture
    sides = Sides(replication)
    try:
        with capture.session() as session, Writers(source_postgres, capture.database, dice, threads=2):
            history = History(session, dice)
            for number, victim in enumerate(dice.sample(VICTIMS, len(VICTIMS))):
                with growing(history, CHANGES // len(VICTIMS), truncates=int(number % 5 == 2)):
                    capture.disturb(number)
                    sides.kill(victim, dice)
                    sides.start(victim)
        sides.end()
    finally:
        sides.close()
    replication.work()
    assert history.changes >= CHANGES
    assert {"INSERT", "UPDATE", "DELETE", "TRUNCATE"} == {change.action for change in capture.committed()}
    replication.assert_same(twice=True)
    assert len(replication.apply.refused()) == len(VICTIMS)


@pytest.fixture(scope="module")
def captures_killed(kafka, source_postgres, target_postgres, tmp_path_factory) -> Iterator[dict[str, Future[Any]]]:
    """Pairs of databases whose source was killed at a step; another has sent the rest."""

    def scenario(step: str) -> Replication:
        folder = tmp_path_factory.mktemp("source")
        replication = Replication.begun(kafka, source_postgres, target_postgres, folder)
        capture, dice = replication.capture, seeded(step)
        given = {"snapshot": True, "snapshot_rows": 100} if step == "after_chunk" else {}
        with capture.session() as session:
            history = History(session, dice)
            history.grow(1500, truncates=1)
            with (
                Writers(source_postgres, capture.database, dice, threads=2),
                capture.worker(until="stopped", batch_size=100, fault=f"{step}:3:kill", **given) as child,
            ):
                child.wait_until_killed()
            history.grow(500, truncates=int(not given))
        replication.work()
        return replication

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, SOURCE_STEPS)


@pytest.mark.parametrize("step", SOURCE_STEPS)
def test_a_source_killed_at_any_step_leaves_the_same_table_on_both_sides(captures_killed, step) -> None:
    replication = captures_killed[step].result()
    if step != "after_chunk":
        replication.assert_same()
    source, target = replication.fingerprints()
    assert source == target
    assert source[0] > 0


@dataclass(frozen=True)
class Known:
    """A source whose history is on the topic, with messages between that are none."""

    capture: Capture

    def replication(self, target: Any, **settings: Any) -> Replication:
        """A target of its own for it."""
        given = {"session_timeout_seconds": SESSION_SECONDS, "batch_size": 100, "batch_interval_ms": 100}
        return Replication(self.capture, replica_of(self.capture, target, **{**given, **settings}))

    def assert_same(self, replication: Replication, *, twice: bool = True) -> None:
        """Both tables are the same, and each bad message is a dead letter."""
        replication.assert_same(twice=twice)
        assert len(replication.apply.refused()) == BAD


@pytest.fixture(scope="module")
def known(kafka, source_postgres, tmp_path_factory) -> Known:
    """A history of inserts, updates, deletes, changed keys and TRUNCATEs."""
    capture = Capture(kafka, source_postgres, tmp_path_factory.mktemp("known"), PARTITIONS)
    capture.init()
    with capture.session() as session:
        history = History(session, seeded("a history"))
        for number in range(BAD):
            history.grow(250, truncates=int(number in {2, 7}))
            capture.run()
            capture.disturb(number)
    return Known(capture)


@pytest.fixture(scope="module")
def applies_killed(target_postgres, known, tmp_path_factory) -> Iterator[dict[str, Future[Replication]]]:
    """Targets that were killed at a step; another run has done the rest."""

    def scenario(at: str) -> Replication:
        replication = known.replication(target_postgres)
        with replication.apply.worker(fault=f"{at}:kill") as child:
            child.wait_until_killed()
        replication.apply.work()
        return replication

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, AT_TARGET)


@pytest.mark.parametrize("at", AT_TARGET)
def test_a_target_killed_at_any_step_leaves_the_same_table_on_both_sides(known, applies_killed, at) -> None:
    known.assert_same(applies_killed[at].result())


def test_a_target_killed_at_every_step_in_turn_leaves_the_same_table(target_postgres, known) -> None:
    replication = known.replication(target_postgres)
    for step in TARGET_STEPS:
        with replication.apply.worker(fault=f"{step}:1:kill") as child:
            child.wait_until_killed()
    replication.apply.work()
    known.assert_same(replication)


def test_a_target_killed_while_partitions_move_leaves_the_same_table(target_postgres, known) -> None:
    replication = known.replication(target_postgres, batch_size=20)
    apply = replication.apply
    with apply.worker(until="stopped") as first, apply.worker(until="stopped", fault="after_claim:1:kill") as second:
        second.wait_until_killed()
        with apply.worker(until="stopped") as third:
            apply.wait_until_applied(first, third)
            for child in (first, third):
                child.send(signal.SIGTERM)
                assert child.wait(DRAIN_SECONDS).code in {143, -signal.SIGTERM}, child.said[-3000:]
    known.assert_same(replication)


@dataclass(frozen=True)
class Woken:
    """What was in a target when its zombie was woken, and how that ended."""

    replication: Replication
    before: dict[str, Any]
    ended: Ended


# Where it freezes, and whether its successor is still in the group when it wakes.
Case = tuple[str, str]
ZOMBIES: list[Case] = [
    ("before_transaction", "empty"),
    ("after_begin", "empty"),
    ("after_rows", "empty"),
    ("after_positions", "empty"),
    ("before_commit_sql", "empty"),
    ("after_commit_sql", "empty"),
    ("after_rows", "shared"),
    ("before_commit_sql", "shared"),
]


@pytest.fixture(scope="module")
def zombies(target_postgres, known, tmp_path_factory) -> Iterator[dict[Case, Future[Woken]]]:
    """Targets' processes frozen at a step past their session, and woken when a successor has applied all."""

    def scenario(case: Case) -> Woken:
        at, group = case
        replication = known.replication(target_postgres)
        apply = replication.apply
        with apply.worker(fault=f"{at}:2:stop") as zombie:
            zombie.wait_until_frozen()
            if group == "empty":
                apply.work()
                before = apply.dump()
                zombie.wake()
                return Woken(replication, before, zombie.wait(WAKING_SECONDS))
            with apply.worker(until="stopped") as other:
                apply.wait_until_applied(other)
                before = apply.dump()
                zombie.wake()
                ended = zombie.wait(WAKING_SECONDS)
                other.send(signal.SIGTERM)
                assert other.wait(DRAIN_SECONDS).code == 143, other.said[-3000:]
                return Woken(replication, before, ended)

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, ZOMBIES)


@pytest.mark.parametrize("case", ZOMBIES, ids=" ".join)
def test_a_zombie_that_wakes_after_another_has_applied_all_changes_nothing(known, zombies, case) -> None:
    woken = zombies[case].result()
    assert woken.ended.code == 0, woken.ended.err[-3000:]
    assert woken.before["employees"]
    assert woken.replication.apply.dump() == woken.before
    known.assert_same(woken.replication)


def test_four_members_that_come_and_go_leave_the_same_table(kafka, source_postgres, target_postgres, tmp_path) -> None:
    dice = seeded("a storm in a group")
    replication = Replication.begun(
        kafka,
        source_postgres,
        target_postgres,
        tmp_path,
        6,
        session_timeout_seconds=SESSION_SECONDS,
        batch_size=200,
        batch_interval_ms=50,
        until="stopped",
    )
    capture, apply = replication.capture, replication.apply
    members: list[Child] = []
    leaving: list[Child] = []
    try:
        with capture.session() as session, capture.worker(until="stopped") as source:
            history = History(session, dice)
            members += [apply.worker() for _ in range(4)]
            for number in range(10):
                with growing(history, 1500, truncates=int(number in {3, 6})):
                    time.sleep(dice.uniform(0.3, 1.2))
                    victim = members.pop(dice.randrange(len(members)))
                    assert victim.is_running, victim.said[-3000:]
                    victim.send(dice.choice([signal.SIGKILL, signal.SIGTERM]))
                    members.append(apply.worker())
                    leaving.append(victim)
            capture.wait_until_sent(source)
            apply.wait_until_applied(*members)
        for member in members:
            member.send(signal.SIGTERM)
        # SIGTERM before Python has set its handlers ends a child that has done nothing yet.
        codes = {member.wait(DRAIN_SECONDS).code for member in [*members, *leaving]}
        assert codes <= {143, -signal.SIGTERM, -signal.SIGKILL}, codes
    finally:
        for member in [*members, *leaving]:
            member.kill()
    replication.assert_same()


def test_a_target_that_has_applied_all_says_that_nothing_is_behind(target_postgres, known) -> None:
    """The source's transactions end with offsets of their own, which are no messages."""
    replication = known.replication(target_postgres, stats_interval_seconds=0.3)
    with replication.apply.worker(until="stopped") as child:
        replication.apply.wait_until_applied(child)
        said = len(child.said)
        wait_until(lambda: child.said[said:].count('"statistics"') >= 3, "it tells its lag")
        child.send(signal.SIGTERM)
        ended = child.wait(DRAIN_SECONDS)
    lines = [json.loads(line) for line in ended.err.splitlines() if '"statistics"' in line]
    assert lines[-1]["lag"] == 0, lines[-1]


def test_a_snapshot_under_load_and_the_stream_after_it_make_the_same_table(
    kafka, source_postgres, target_postgres, tmp_path
) -> None:
    dice = seeded("a snapshot under load")
    replication = Replication.begun(kafka, source_postgres, target_postgres, tmp_path, PARTITIONS)
    capture = replication.capture
    with capture.session() as session:
        History(session, dice).grow(5000)
        # Of rows that were there before the triggers no change tells.
        capture.query("TRUNCATE emp_cdc")
    with Writers(source_postgres, capture.database, dice, threads=4):
        for count in (2, 4):
            given = {"snapshot": True, "snapshot_rows": 100, "fault": f"after_chunk:{count}:kill"}
            with capture.worker(until="stopped", **given) as child:
                child.wait_until_killed()
            replication.apply.work()
        report = capture.work(snapshot=True, snapshot_rows=100).report
        assert report["details"]["snapshot_rows"] > 0
    replication.work()
    source, target = replication.fingerprints()
    assert source[0] > 0
    assert source == target
