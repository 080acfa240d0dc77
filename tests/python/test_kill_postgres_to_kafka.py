"""`postgres-to-kafka` killed, frozen and cut off from its database under load: each change once and in order."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.python.support import sources
from tests.python.support.captures import Capture
from tests.python.support.children import Child, Ended, seeded, side_by_side, wait_until
from tests.python.support.postgres_proxy import Fault, PostgresProxy
from tests.python.support.writers import APPLICATION, Poller, Writers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.postgres import Postgres
    from tests.services.process import Server

WRITING_SECONDS = 60
KILLS = 10
DRAIN_SECONDS = 30
WAKING_SECONDS = 60
# In the order of the protocol.
STEPS = ("before_fence", "after_fence", "after_read", "before_commit", "after_commit")
AT_STEPS = [f"{step}:{count}" for step in STEPS for count in (1, 2, 7)]


def begun(kafka: Kafka, source: Postgres, folder: Path, **settings: object) -> Capture:
    """Tables and triggers, and small batches."""
    capture = Capture(kafka, source, folder, settings={"batch_size": 50, **settings})
    capture.init()
    return capture


def assert_as_written(capture: Capture, writers: Writers) -> None:
    """The topic has what is committed, each row's changes in the order of their commits, and nothing rolled back."""
    capture.assert_exact()
    found = sources.by_key(capture.messages())
    expected = writers.by_key()
    told = {
        int(key): [(event["action"], event["emp_salary"]) for event in events]
        for key, events in found.items()
        if key is not None
    }
    wrong = {key: changes for key, changes in expected.items() if told.get(key) != changes}
    assert not wrong, f"{len(wrong)} of {len(expected)} rows are told in another order: {sorted(wrong)[:5]}"
    assert told.keys() == expected.keys()
    salaries = {salary for changes in told.values() for _, salary in changes}
    assert writers.rolled_back, "Nothing was rolled back: the test sees nothing"
    assert not salaries & writers.rolled_back


def test_eight_writers_and_ten_kills_leave_each_change_on_the_topic_once_and_in_order(
    kafka, source_postgres, tmp_path
) -> None:
    dice = seeded("writers and kills")
    capture = begun(kafka, source_postgres, tmp_path, batch_size=500)
    writers = Writers(source_postgres, capture.database, dice)
    with Poller(source_postgres, capture.database) as poller, writers:
        start = time.monotonic()
        for number in range(1, KILLS + 1):
            due = start + (number + dice.uniform(-0.3, 0.3)) * WRITING_SECONDS / (KILLS + 1)
            before = capture.sent()
            with capture.worker(until="stopped") as child:
                wait_until(lambda child=child, before=before: has_sent(capture, child, before), "it is at work")
                time.sleep(max(0, due - time.monotonic()))
                child.kill()
                assert child.process.returncode == -signal.SIGKILL, child.said[-3000:]
        time.sleep(max(0, start + WRITING_SECONDS - time.monotonic()))
    capture.work()
    assert_as_written(capture, writers)
    committed = [change.number for change in capture.committed()]
    assert len(committed) > 10_000, "There was load"
    assert poller.missed(committed), "What the original does sees all: the load has no late commits"


def has_sent(capture: Capture, child: Child, before: int) -> bool:
    assert child.is_running, child.said[-3000:]
    return capture.sent() > before


@pytest.fixture(scope="module")
def killed(kafka, source_postgres, tmp_path_factory) -> Iterator[dict[str, Future[tuple[Capture, Writers]]]]:
    """Captures that were killed at a step under load; another has sent the rest."""

    def scenario(at: str) -> tuple[Capture, Writers]:
        capture = begun(kafka, source_postgres, tmp_path_factory.mktemp("killed"))
        with Writers(source_postgres, capture.database, seeded(at), threads=3) as writers:
            with capture.worker(until="stopped", fault=f"{at}:kill") as child:
                child.wait_until_killed()
            wait_until(lambda: writers.rolled_back, "something is rolled back")
        capture.work()
        return capture, writers

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, AT_STEPS)


@pytest.mark.parametrize("at", AT_STEPS)
def test_a_kill_at_any_step_of_postgres_to_kafka_loses_nothing_and_doubles_nothing(killed, at) -> None:
    assert_as_written(*killed[at].result())


def test_a_kill_at_every_step_in_turn_loses_nothing_and_doubles_nothing(kafka, source_postgres, tmp_path) -> None:
    capture = begun(kafka, source_postgres, tmp_path)
    with Writers(source_postgres, capture.database, seeded("every step"), threads=3) as writers:
        for step in STEPS:
            with capture.worker(until="stopped", fault=f"{step}:2:kill") as child:
                child.wait_until_killed()
    capture.work()
    assert_as_written(capture, writers)


@pytest.mark.parametrize("at", ["after_fence", "after_read", "before_commit"])
def test_a_frozen_run_that_wakes_after_another_has_taken_over_sends_nothing(
    kafka, source_postgres, tmp_path, at
) -> None:
    capture = begun(kafka, source_postgres, tmp_path)
    with (
        Writers(source_postgres, capture.database, seeded(at), threads=3) as writers,
        capture.worker(until="stopped", fault=f"{at}:3:stop") as zombie,
    ):
        zombie.wait_until_frozen()
        with capture.worker(until="stopped") as other:
            wait_until(lambda: has_sent(capture, other, 500), "the other has taken over")
            zombie.wake()
            ended = zombie.wait(WAKING_SECONDS)
            assert (ended.code, ended.error["kind"]) == (1, "conflict"), ended.err[-3000:]
            before = capture.sent()
            wait_until(lambda: has_sent(capture, other, before), "the other goes on")
            other.send(signal.SIGTERM)
            assert other.wait(DRAIN_SECONDS).code == 143, other.said[-3000:]
    capture.work()
    assert_as_written(capture, writers)


def restart(server: Server) -> None:
    server.restart()


def power_cut(server: Server) -> None:
    server.kill()
    time.sleep(1)
    server.start()


def freeze(server: Server) -> None:
    server.pause()
    time.sleep(3)
    server.resume()


def captured_through(capture: Capture, troubles: list[Callable[[], object]]) -> Ended:
    """Capture while something happens now and then; the one run must carry on by itself."""
    dice = seeded("troubles")
    with (
        Writers(capture.source, capture.database, dice, threads=4, survives=True) as writers,
        capture.worker(until="stopped") as child,
    ):
        for trouble in troubles:
            before = capture.sent()
            wait_until(lambda before=before: has_sent(capture, child, before + 100), "changes flow")
            trouble()
        before = len(writers.made)
        wait_until(lambda: len(writers.made) > before + 100, "the writers are back")
        before = capture.sent()
        wait_until(lambda: has_sent(capture, child, before + 100), "changes flow again")
        child.send(signal.SIGTERM)
        ended = child.wait(DRAIN_SECONDS)
    capture.work()
    return ended


def test_a_run_carries_on_by_itself_each_time_the_database_comes_back(kafka, own_postgres, tmp_path) -> None:
    capture = begun(kafka, own_postgres, tmp_path)
    troubles = [
        lambda trouble=trouble: trouble(own_postgres.server) for trouble in (restart, power_cut, freeze, power_cut)
    ]
    ended = captured_through(capture, troubles)
    assert ended.code == 143, ended.err[-3000:]
    capture.assert_exact()


def test_sessions_that_are_ended_by_the_server_are_opened_again(kafka, own_postgres, tmp_path) -> None:
    capture = begun(kafka, own_postgres, tmp_path)
    ended_sessions: set[int] = set()

    def end_all() -> set[int]:
        found = capture.query(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
            f" AND application_name <> '{APPLICATION}'"
        )
        ended_now = {pid for (pid,) in found if capture.query(f"SELECT pg_terminate_backend({pid})") == [(True,)]}
        ended_now -= ended_sessions
        ended_sessions.update(ended_now)
        return ended_now

    # After each time the run opens new ones, sooner or later.
    ended = captured_through(capture, [lambda: wait_until(end_all, "the run has a session")] * 10)
    assert len(ended_sessions) >= 10, "Sessions of the run were ended"
    assert ended.code == 143, ended.err[-3000:]
    capture.assert_exact()


LOST: dict[str, Callable[[PostgresProxy], Fault]] = {
    "replies": lambda proxy: proxy.lose_reply("", every=37),
    "statements": lambda proxy: proxy.lose_request("", every=41),
}


@pytest.mark.parametrize("what", LOST)
def test_connections_that_break_in_the_middle_cost_nothing(kafka, source_postgres, tmp_path, what) -> None:
    capture = begun(kafka, source_postgres, tmp_path, source_tls="disabled")
    with PostgresProxy(capture.url) as proxy:

        def break_some() -> None:
            fault = LOST[what](proxy)
            wait_until(lambda: fault.happened >= 5, "connections broke")
            proxy.heal()

        capture.url = proxy.url
        ended = captured_through(capture, [break_some] * 3)
    assert ended.code == 143, ended.err[-3000:]
    capture.assert_exact()


def test_a_database_that_is_away_when_a_run_begins_is_waited_for(kafka, own_postgres, tmp_path) -> None:
    capture = begun(kafka, own_postgres, tmp_path)
    capture.query("INSERT INTO employees VALUES (1, 'A', 'B')")
    own_postgres.server.kill()
    with capture.worker() as child:
        time.sleep(3)
        assert child.is_running, child.said[-3000:]
        own_postgres.server.start()
        ended = child.wait()
    assert ended.code == 0, ended.err[-3000:]
    capture.assert_exact()


def test_changes_after_a_power_cut_that_sets_the_sequence_back_are_not_lost(kafka, own_postgres, tmp_path) -> None:
    """Numbers that were only rolled back are not on disk yet: after the cut the server gives them out once more."""
    capture = begun(kafka, own_postgres, tmp_path)
    capture.query("ALTER SYSTEM SET wal_writer_delay = '10s'", "SELECT pg_reload_conf()")
    insert = "INSERT INTO employees VALUES (%s, 'A', 'B')"
    capture.query("CHECKPOINT", "INSERT INTO employees VALUES (1, 'A', 'B')")
    with capture.worker(until="stopped") as child:
        capture.wait_until_sent(child)
        with capture.session(autocommit=False) as session:
            for key in range(2, 200):
                session.execute(insert, [key])
            session.rollback()
        drawn = highest(capture)
        time.sleep(1)
        own_postgres.server.kill()
        own_postgres.server.start()
        assert highest(capture) < drawn, "The sequence went back"
        for key in range(2, 300):
            capture.query(f"INSERT INTO employees VALUES ({key}, 'A', 'B')")
        wait_until(lambda: not child.is_running or len(capture.messages()) >= 299, "all are sent", 60)
        child.send(signal.SIGTERM)
        ended = child.wait(DRAIN_SECONDS)
    assert ended.code == 143, ended.err[-3000:]
    capture.work()
    capture.assert_exact()
    told = {json.loads(message.value or b"")["emp_id"] for message in capture.messages()}
    assert told == {*range(1, 300)}


def highest(capture: Capture) -> int:
    """The last number that the sequence gave out."""
    [(number,)] = capture.query(f"SELECT last_value FROM {sources.SEQUENCE}")
    return number
