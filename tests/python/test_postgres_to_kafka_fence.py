"""Transactions that end late: none of their changes is missed, none overtakes them, and who holds all up is told."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.captures import Capture
from tests.python.support.children import wait_until
from tests.python.support.sources import SEQUENCE, number_of
from tests.python.support.stories import told

if TYPE_CHECKING:
    from collections.abc import Callable

INSERT = "INSERT INTO employees (emp_id, first_name, last_name) VALUES ({}, 'Ann', 'Lee')"
# Long enough for a run to look at the table many times.
MANY_LOOKS = 1.5
SLOW = "a slow one"


@pytest.fixture
def capture(kafka, source_postgres, tmp_path) -> Capture:
    """Tables and triggers, and two changes; once they are on the topic, a run is at work."""
    found = Capture(kafka, source_postgres, tmp_path, partitions=1)
    found.init()
    found.query(INSERT.format(1), INSERT.format(2))
    return found


def wait_for(capture: Capture, *numbers: int) -> None:
    """Wait until these changes are on the topic."""
    wait_until(lambda: capture.numbers() == [*numbers], f"changes {numbers} are on the topic", 30)


def has_no_transaction_id(capture: Capture, session: Any) -> bool:
    asked = f"SELECT backend_xid IS NULL FROM pg_stat_activity WHERE pid = {session.info.backend_pid}"
    return capture.query(asked) == [(True,)]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_no_change_overtakes_one_of_a_lower_number_whose_transaction_is_still_open(capture, end) -> None:
    def story() -> None:
        wait_for(capture, 1, 2)
        with capture.session(autocommit=False) as slow:
            slow.execute(INSERT.format(3))
            capture.query(INSERT.format(4))
            time.sleep(MANY_LOOKS)
            assert capture.numbers() == [1, 2]
            slow.execute(INSERT.format(5))
            getattr(slow, end)()
        wait_for(capture, 1, 2, *([3, 4, 5] if end == "commit" else [4]))

    told(capture, story)
    capture.assert_exact()


def test_the_transaction_that_holds_changes_back_is_told(capture) -> None:
    pids: list[int] = []

    def story() -> None:
        wait_for(capture, 1, 2)
        with capture.session(autocommit=False, application_name=SLOW) as slow:
            pids.append(slow.info.backend_pid)
            slow.execute(INSERT.format(3))
            capture.query(INSERT.format(4))
            time.sleep(MANY_LOOKS)
            slow.commit()
        wait_for(capture, 1, 2, 3, 4)

    details = told(capture, story).details
    held = details["held_back_by"]
    assert [held["pid"], held["application_name"], held["state"]] == [*pids, SLOW, "idle in transaction"]
    assert held["xid"]
    assert held["seconds"] > MANY_LOOKS / 3
    assert MANY_LOOKS / 2 < details["oldest_fence_seconds"] < 20


def test_who_holds_changes_back_can_be_seen_while_it_does(capture) -> None:
    with capture.session(autocommit=False, application_name=SLOW) as slow:
        slow.execute(INSERT.format(3))
        with capture.worker(until="stopped", stats_interval_seconds=0.3) as child:
            capture.query(INSERT.format(4))
            child.wait_for(str(slow.info.backend_pid), 30)
            slow.commit()
            capture.wait_until_sent(child)
    capture.assert_exact()


def test_a_transaction_that_changed_nothing_here_delays_but_does_not_stop_the_run(capture) -> None:
    """What was committed before it began is sent while it is open; what comes later waits for its end."""

    def story() -> None:
        wait_for(capture, 1, 2)
        with capture.session(autocommit=False) as before, capture.session(autocommit=False) as slow:
            before.execute(INSERT.format(3))
            time.sleep(MANY_LOOKS / 3)
            slow.execute("CREATE TEMP TABLE nothing (of_ours INT)")
            before.commit()
            wait_for(capture, 1, 2, 3)
            capture.query(INSERT.format(4))
            time.sleep(MANY_LOOKS)
            slow.rollback()
        wait_for(capture, 1, 2, 3, 4)
        capture.query(INSERT.format(5))
        wait_for(capture, 1, 2, 3, 4, 5)

    told(capture, story)
    capture.assert_exact()


def test_transactions_that_overlap_without_end_do_not_stop_the_run(capture) -> None:
    """At each moment one is open, but none for long."""

    def story() -> None:
        wait_for(capture, 1, 2)
        deadline = time.monotonic() + 4
        with capture.session(autocommit=False) as one, capture.session(autocommit=False) as other:
            sessions = [one, other]
            one.execute(INSERT.format(100))
            for key in range(101, 100_000):
                sessions[key % 2].execute(INSERT.format(key))
                time.sleep(0.1)
                sessions[(key + 1) % 2].commit()
                if time.monotonic() > deadline:
                    break
            assert len(capture.numbers()) > 12, "Changes flow although there is always one open"
            one.commit()
            other.commit()
        wait_until(lambda: len(capture.numbers()) == len(capture.committed()), "all are sent", 30)

    told(capture, story)
    capture.assert_exact()


def test_a_transaction_with_savepoints_is_waited_for_as_a_whole(capture) -> None:
    def story() -> None:
        wait_for(capture, 1, 2)
        with capture.session(autocommit=False) as slow:
            slow.execute("SAVEPOINT a")
            slow.execute(INSERT.format(3))
            slow.execute("RELEASE a")
            slow.execute("SAVEPOINT b")
            slow.execute(INSERT.format(4))
            slow.execute("ROLLBACK TO b")
            capture.query(INSERT.format(5))
            time.sleep(MANY_LOOKS)
            assert capture.numbers() == [1, 2]
            slow.commit()
        wait_for(capture, 1, 2, 3, 5)

    told(capture, story)
    capture.assert_exact()


def test_a_prepared_transaction_is_waited_for(capture) -> None:
    name = f"p{capture.database}"

    def story() -> None:
        wait_for(capture, 1, 2)
        with capture.session(autocommit=False) as slow:
            slow.execute(INSERT.format(3))
            slow.execute(f"PREPARE TRANSACTION '{name}'")
        capture.query(INSERT.format(4))
        time.sleep(MANY_LOOKS)
        assert capture.numbers() == [1, 2]
        capture.query(f"COMMIT PREPARED '{name}'")
        wait_for(capture, 1, 2, 3, 4)

    told(capture, story)
    capture.assert_exact()


def by_hand(capture: Capture, then: Callable[[], None]) -> None:
    """A number is drawn; long after, the change is inserted with it."""
    with capture.session(autocommit=False) as slow:
        [number] = slow.execute(f"SELECT nextval('{SEQUENCE}')").fetchone()
        assert slow.execute("SELECT pg_current_xact_id_if_assigned() IS NULL").fetchone() == (True,)
        then()
        columns = "(action_id, emp_id, first_name, last_name, action)"
        slow.execute(f"INSERT INTO emp_cdc {columns} VALUES (%s, 3, 'A', 'B', 'INSERT')", [number])
        slow.commit()


def in_one_statement(capture: Capture, then: Callable[[], None]) -> None:
    """An INSERT takes its number first, and then long to make its other values."""
    insert = f"""
        INSERT INTO emp_cdc (action_id, emp_id, first_name, last_name, city, action)
        SELECT nextval('{SEQUENCE}'), 3, 'A', 'B', 'C' || pg_sleep({2 * MANY_LOOKS})::text, 'INSERT'
    """
    with capture.session() as slow:
        thread = threading.Thread(target=slow.execute, args=(insert,))
        thread.start()
        sleeps = f"SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = {slow.info.backend_pid}"
        wait_until(lambda: capture.query(sleeps) == [(True,)], "it has its number", 10)
        assert has_no_transaction_id(capture, slow)
        then()
        thread.join()


@pytest.mark.parametrize("draws", [by_hand, in_one_statement])
def test_a_number_that_was_drawn_before_its_transaction_had_an_id_is_waited_for(capture, draws) -> None:
    def meanwhile() -> None:
        capture.query(INSERT.format(4), INSERT.format(5))
        time.sleep(MANY_LOOKS)

    def story() -> None:
        wait_for(capture, 1, 2)
        draws(capture, meanwhile)
        wait_until(lambda: len(capture.numbers()) >= 5, "all are sent", 30)

    told(capture, story)
    capture.assert_exact()
    assert [number_of(message) for message in capture.messages()] == [1, 2, 3, 4, 5]


def test_a_run_until_the_end_waits_for_what_was_committed_behind_an_open_transaction(capture) -> None:
    def story() -> None:
        time.sleep(MANY_LOOKS)
        slow.commit()

    with capture.session(autocommit=False) as slow:
        slow.execute(INSERT.format(3))
        capture.query(INSERT.format(4))
        report = told(capture, story, until="end", is_stopped=False)
        assert report.status == "complete"
    assert 4 in capture.numbers()
    capture.run()
    capture.assert_exact()


def test_a_run_is_stopped_while_a_transaction_holds_all_up(capture) -> None:
    capture.run()
    with capture.session(autocommit=False) as slow:
        slow.execute(INSERT.format(3))
        capture.query(INSERT.format(4))
        report = told(capture, lambda: time.sleep(MANY_LOOKS))
        assert (report.status, report.rows_read) == ("stopped", 0)
        assert capture.numbers() == [1, 2]
        slow.commit()
    capture.run()
    capture.assert_exact()


def test_the_run_asks_for_no_lock_that_writers_would_wait_behind(capture) -> None:
    """A lock that conflicts with a writer's would be waited for as long as that one is open, and all others behind."""

    def story() -> None:
        wait_for(capture, 1, 2)
        with capture.session(autocommit=False) as slow, capture.session() as session:
            slow.execute(INSERT.format(3))
            session.execute("SET lock_timeout = '300ms'")
            for key in range(4, 34):
                session.execute(INSERT.format(key))
                time.sleep(MANY_LOOKS / 30)
            slow.commit()
        wait_for(capture, *range(1, 34))

    told(capture, story)
    capture.assert_exact()
