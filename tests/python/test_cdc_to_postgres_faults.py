"""PostgreSQL restarted, cut off, locked and full under `cdc-to-postgres`: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.python.support.applies import Apply
from tests.python.support.children import Ended, side_by_side, wait_until
from tests.python.support.events import History, inserted, sent, updated
from tests.python.support.postgres_proxy import PostgresProxy
from tests.python.test_kill_cdc_to_postgres import CHECK, Feeding, padded, poisoned, refused
from tests.services.install import ServiceUnavailableError
from tests.services.postgres import small_tablespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.services.process import Server

PARTITIONS = 2
DRAIN_SECONDS = 30
TABLES = ("employees", "processed_events", "pipeline_core_position", "pipeline_core_tombstone")


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


def applied_through(apply: Apply, troubles: list[Callable[[], object]]) -> Ended:
    """Apply a history while something happens now and then; the one process must carry on by itself."""

    def done() -> int:
        # A partition that was claimed and not begun has no position.
        return sum(at or 0 for at in apply.positions().values())

    dice = random.Random(11)
    given = poisoned(dice, History(dice, 60).more(2000, truncates=2), apply.partitions)
    share = -(-len(given) // len(troubles))
    with apply.worker(until="stopped") as worker:
        for number, trouble in enumerate(troubles):
            before = done()
            with Feeding(apply, given[number * share : (number + 1) * share], pause=0.02):
                wait_until(lambda before=before: done() > before or not worker.is_running, "data flows")
                assert worker.is_running, worker.said[-3000:]
                trouble()
        apply.wait_until_applied(worker)
        worker.send(signal.SIGTERM)
        return worker.wait(DRAIN_SECONDS)


@pytest.fixture
def through(kafka, own_postgres, tmp_path) -> Apply:
    """Two partitions and tables on a server of the test's own."""
    settings = {"batch_size": 40, "batch_interval_ms": 50, "max_rejected_share": 1}
    apply = Apply(kafka, own_postgres, tmp_path, partitions=PARTITIONS, settings=settings)
    apply.init()
    apply.query(CHECK)
    return apply


def test_a_run_carries_on_by_itself_each_time_the_database_comes_back(through, own_postgres) -> None:
    troubles = [
        lambda trouble=trouble: trouble(own_postgres.server) for trouble in (restart, power_cut, freeze, power_cut)
    ]
    ended = applied_through(through, troubles)
    assert ended.code == 143, ended.err[-3000:]
    through.assert_exact(through.replica(refuses=refused), twice=True)


def test_sessions_that_are_ended_by_others_are_opened_again(through) -> None:
    ended_pids: set[int] = set()

    def end_all() -> None:
        found = through.query(
            "SELECT pid, pg_terminate_backend(pid) AS is_ended FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> pg_backend_pid()",
            through.database,
        )
        ended_pids.update(row["pid"] for row in found if row["is_ended"])

    ended = applied_through(through, [end_all] * 10)
    assert len(ended_pids) >= 10, "Sessions of the run were ended"
    assert ended.code == 143, ended.err[-3000:]
    through.assert_exact(through.replica(refuses=refused), twice=True)


LOST: dict[str, Callable[[PostgresProxy], object]] = {
    "the reply to every third COMMIT": lambda proxy: proxy.lose_reply("^COMMIT", every=3),
    "every third COMMIT": lambda proxy: proxy.lose_request("^COMMIT", every=3),
    "the reply to the first COMMIT": lambda proxy: proxy.lose_reply("^COMMIT", times=1),
    "the first COMMIT": lambda proxy: proxy.lose_request("^COMMIT", times=1),
    "replies to statements": lambda proxy: proxy.lose_reply("INSERT|UPDATE|SELECT|DELETE|COPY", every=97),
    "statements": lambda proxy: proxy.lose_request("INSERT|UPDATE|SELECT|DELETE|COPY", every=101),
    "replies and COMMITs in turn": lambda proxy: (
        proxy.lose_reply("^COMMIT", every=4),
        proxy.lose_request("^COMMIT", every=5),
    ),
}
CASES = [(what, copy_rows) for what in LOST for copy_rows in (0, 10**9)]


@pytest.fixture(scope="module")
def cut_off(kafka, target_postgres, tmp_path_factory) -> Iterator[dict[tuple[str, int], Future[tuple[Apply, int]]]]:
    """Runs through a proxy that breaks connections around the COMMIT, and how often it did."""
    settings = {"batch_size": 40, "max_rejected_share": 1, "target_tls": "disabled", "max_retries": 30}

    def scenario(case: tuple[str, int]) -> tuple[Apply, int]:
        what, copy_rows = case
        apply = Apply(
            kafka, target_postgres, tmp_path_factory.mktemp("cut off"), partitions=PARTITIONS, settings=settings
        )
        apply.init()
        apply.query(CHECK)
        dice = random.Random(12)
        apply.send(*padded(poisoned(dice, History(dice, 60).more(800, truncates=1), PARTITIONS)))
        with PostgresProxy(target_postgres.url) as proxy:
            apply.url = proxy.url_of(apply.database)
            LOST[what](proxy)
            apply.work(copy_rows=copy_rows)
            return apply, proxy.happened

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_connection_that_breaks_around_the_commit_costs_nothing(cut_off, case) -> None:
    apply, happened = cut_off[case].result()
    assert happened >= (1 if "first" in case[0] else 3), "Something was lost"
    # Letters are forgotten in a transaction, too: if it is lost, they are sent again.
    apply.assert_exact(apply.replica(refuses=refused), twice=True)


@pytest.fixture
def updating(kafka, target_postgres, tmp_path) -> Apply:
    """Rows that are in the table, and changes of them that are not yet."""
    apply = Apply(kafka, target_postgres, tmp_path, settings={"connections": 1})
    apply.init()
    apply.send(*sent(*(inserted(row, row) for row in range(1, 301))))
    apply.run()
    apply.send(*sent(*(updated(1000 + row, row, city="changed") for row in range(1, 301))))
    return apply


def assert_changed(apply: Apply) -> None:
    """All is exact, and all rows were changed."""
    rows = apply.assert_exact().rows
    assert len(rows) == 300
    assert {row["city"] for row in rows.values()} == {"changed"}


def waits_for_a_lock(apply: Apply) -> bool:
    found = apply.query(
        "SELECT count(*) AS waiting FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'",
        apply.database,
    )
    return found[0]["waiting"] > 0


@pytest.mark.parametrize("copy_rows", [0, 10**9], ids=["COPY", "UNNEST"])
def test_a_deadlock_is_tried_again(updating, copy_rows) -> None:
    """We lock the last row, wait until the run waits for it, and ask for the first, which the run has.

    The run must give way: it looks for a deadlock after 5 s, we after a minute.
    """
    lock = "SELECT emp_id FROM employees WHERE emp_id = %s FOR UPDATE"
    updating.query(f"ALTER DATABASE {updating.database} SET deadlock_timeout = '5s'")
    with updating.session(autocommit=False) as session:
        session.execute("SET deadlock_timeout = '60s'")
        session.execute(lock, (300,))
        with updating.worker(copy_rows=copy_rows) as worker:
            wait_until(lambda: waits_for_a_lock(updating) or not worker.is_running, "the run waits for our lock")
            assert worker.is_running, worker.said[-3000:]
            session.execute(lock, (1,))
            wait_until(lambda: deadlocks(updating) == 1, "the server tells of the deadlock")
            session.rollback()
            ended = worker.wait()
    assert ended.code == 0, ended.err[-3000:]
    assert ended.report["details"]["retries"] >= 1
    assert_changed(updating)


def deadlocks(apply: Apply) -> int:
    return apply.query("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", apply.database)[0]["deadlocks"]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_row_that_another_changes_meanwhile_is_tried_again(updating, isolation) -> None:
    """Where the role's transactions are stricter than ours need to be, they fail instead of waiting."""
    updating.query(f"ALTER DATABASE {updating.database} SET default_transaction_isolation = '{isolation}'")
    with updating.session(autocommit=False) as session:
        session.execute("UPDATE employees SET last_updated = now() WHERE emp_id = 300")
        with updating.worker() as worker:
            wait_until(lambda: waits_for_a_lock(updating) or not worker.is_running, "the run waits for our lock")
            assert worker.is_running, worker.said[-3000:]
            session.commit()
            ended = worker.wait()
    assert ended.code == 0, ended.err[-3000:]
    assert_changed(updating)


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_partitions_side_by_side_are_exact_at_any_isolation(kafka, target_postgres, tmp_path, isolation) -> None:
    settings = {"batch_size": 25, "connections": 8, "max_rejected_share": 1, "max_retries": 100}
    apply = Apply(kafka, target_postgres, tmp_path, partitions=8, settings=settings)
    apply.init()
    apply.query(CHECK)
    apply.query(f"ALTER DATABASE {apply.database} SET default_transaction_isolation = '{isolation}'")
    dice = random.Random(13)
    mixed = [message.on(dice.randrange(8)) for message in poisoned(dice, History(dice, 10).more(1000, truncates=3), 8)]
    apply.send(*mixed)
    apply.work()
    apply.assert_exact(apply.replica(refuses=refused))


@pytest.mark.parametrize("locked", TABLES)
@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout_seconds"])
def test_a_lock_that_is_held_too_long_is_waited_for(updating, locked, limit) -> None:
    if limit == "lock_timeout":
        updating.query(f"ALTER DATABASE {updating.database} SET lock_timeout = '500ms'")
    else:
        updating.settings["statement_timeout_seconds"] = 1
    with updating.worker(until="stopped") as worker, updating.session(autocommit=False) as session:
        updating.wait_until_applied(worker)
        session.execute(f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE")
        updating.send(*sent(*(updated(2000 + row, row, city="changed") for row in range(1, 301))))
        wait_until(lambda: waits_for_a_lock(updating) or not worker.is_running, "the run waits for our lock")
        worker.wait_for("trying again", 60)
        session.rollback()
        updating.wait_until_applied(worker)
        worker.send(signal.SIGTERM)
        ended = worker.wait(DRAIN_SECONDS)
    assert ended.code == 143, ended.err[-3000:]
    assert_changed(updating)


def test_a_lock_that_is_never_released_ends_the_run_and_nothing_is_half_done(updating) -> None:
    updating.query(f"ALTER DATABASE {updating.database} SET lock_timeout = '300ms'")
    before, positions = updating.dump(), updating.positions()
    with updating.session(autocommit=False) as session:
        session.execute("SELECT * FROM employees FOR UPDATE")
        with updating.worker(max_retries=1) as worker:
            ended = worker.wait()
    assert ended.code == 1
    assert ended.error["kind"] == "unavailable"
    assert ended.error["hint"]
    assert (updating.dump(), updating.positions()) == (before, positions)
    updating.work()
    assert_changed(updating)


@pytest.fixture
def small(own_postgres) -> Iterator[str]:
    """A tablespace of 16 MB; without the right to mount one there is no such test."""
    with ExitStack() as made:
        try:
            name = made.enter_context(small_tablespace(own_postgres, 16))
        except ServiceUnavailableError as missing:
            pytest.skip(str(missing))
        yield name


@pytest.fixture
def cramped(kafka, own_postgres, small, tmp_path) -> Apply:
    """20,000 changes of some 5 MB, and a table on a disk that has room for a few of them."""
    apply = Apply(kafka, own_postgres, tmp_path, settings={"batch_size": 2000})
    apply.init()
    rows = range(1, 20_001)
    apply.send(*sent(*(inserted(row, row, city="x" * 100, first_name="y" * 100) for row in rows)))
    apply.query(f"ALTER TABLE employees SET TABLESPACE {small}")
    apply.query(f"ALTER INDEX employees_pkey SET TABLESPACE {small}")
    filled = "SELECT repeat('z', 1000) FROM generate_series(1, 12600)"
    apply.query(f"CREATE TABLE ballast TABLESPACE {small} AS {filled}")
    return apply


@pytest.mark.parametrize("copy_rows", [0, 10**9], ids=["COPY", "UNNEST"])
def test_a_disk_that_is_full_costs_no_change_and_makes_no_dead_letter(cramped, copy_rows) -> None:
    """Room is made while the run tries again."""
    with cramped.worker(max_retries=100, copy_rows=copy_rows) as worker:
        worker.wait_for("trying again", 60)
        assert "No space left" in worker.said
        assert (cramped.letters(), cramped.is_at_end()) == ([], False)
        cramped.query("DROP TABLE ballast")
        ended = worker.wait()
    assert ended.code == 0, ended.err[-3000:]
    assert len(cramped.assert_exact().rows) == 20_000
    assert (ended.report["rows_rejected"], cramped.letters()) == (0, [])


def test_a_run_that_is_stopped_while_the_disk_is_full_leaves_nothing_half_done(cramped) -> None:
    with cramped.worker() as worker:
        worker.wait_for("trying again", 60)
        worker.send(signal.SIGTERM)
        ended = worker.wait(DRAIN_SECONDS)
    assert ended.code in {1, 143}, ended.err[-3000:]
    at = cramped.positions()[0]
    assert at < 20_000
    part = cramped.replica([message for message in cramped.messages() if message.offset < at])
    assert cramped.rows() == cramped.canonical(part.rows.values())
    cramped.query("DROP TABLE ballast")
    cramped.work()
    assert len(cramped.assert_exact().rows) == 20_000
    assert cramped.letters() == []
