"""`mysql-to-mysql` killed at every step of every chunk, cut off from its servers: the same tables as one clean run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.python.support.children import seeded, side_by_side, wait_until
from tests.python.support.migrations import KEYS, STEPS, Migration, Tables, made
from tests.python.support.mysql_proxy import MysqlProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.services.mariadb import Mariadb

CHUNKS = 4
ROWS = 30
AT_STEPS = [f"{step}:{count}" for step in STEPS for count in range(1, CHUNKS + 1)]


def migration(mariadb: Mariadb, folder: Path, given: Tables, **settings: object) -> Migration:
    """Databases of their own with these items in the source."""
    found = Migration(mariadb, folder, settings={"chunk_rows": ROWS, **settings})
    found.init()
    found.fill(given)
    return found


@pytest.fixture(scope="module")
def given() -> Tables:
    """Items that make four chunks."""
    dice = seeded("items of four chunks")
    found = made(dice, 240)
    meant = [row for row in found["information_list"] if row["source_id"] != "s3"][: ROWS * CHUNKS - 5]
    return {**found, "information_list": meant}


@pytest.fixture(scope="module")
def killed(mariadb, given, tmp_path_factory) -> Iterator[dict[str, Future[Migration]]]:
    """Migrations that were killed at a step, and run again."""

    def scenario(at: str) -> Migration:
        found = migration(mariadb, tmp_path_factory.mktemp("killed"), given)
        with found.child(fault=f"{at}:kill") as child:
            child.wait_until_killed()
        there = len(found.rows("nfsc_info_list"))
        chunk = int(at.rpartition(":")[2])
        whole = min(ROWS * (chunk - (not at.startswith("after_commit_sql"))), ROWS * CHUNKS - 5)
        assert there == whole, "whole chunks are there, and no part of one"
        found.work()
        return found

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, AT_STEPS)


@pytest.mark.parametrize("at", AT_STEPS)
def test_a_kill_at_any_step_of_mysql_to_mysql_leaves_what_one_clean_run_leaves(killed, at) -> None:
    found = killed[at].result()
    found.assert_is_as_the_reference()
    before = found.dump()
    found.run()
    assert found.dump() == before


def test_kills_at_random_moments_leave_what_one_clean_run_leaves(mariadb, given, tmp_path) -> None:
    dice = seeded("random moments")
    found = migration(mariadb, tmp_path, given, chunk_rows=2)
    for _ in range(5):
        with found.child() as child:
            time.sleep(dice.uniform(0.3, 1.5))
            child.kill()
    found.work()
    found.assert_is_as_the_reference()


def test_changes_that_are_killed_while_they_are_written_are_written_in_the_end(mariadb, given, tmp_path) -> None:
    found = migration(mariadb, tmp_path, given)
    found.work()
    found.change("UPDATE information_list SET original_link = CONCAT(original_link, '/new')")
    found.change("UPDATE information_section_list SET section_order = section_order + 10 WHERE section_order > 1")
    found.change("DELETE FROM information_section_list WHERE section_order = 0")
    for step in STEPS:
        with found.child(fault=f"{step}:2:kill") as child:
            child.wait_until_killed()
    found.work()
    found.assert_is_as_the_reference()


def test_a_frozen_run_loses_its_lock_to_the_next_one_and_harms_nothing(own_mariadb, given, tmp_path) -> None:
    found = migration(own_mariadb, tmp_path, given)
    with found.child(fault="before_commit_sql:2:stop") as zombie:
        zombie.wait_until_frozen()
        # The server itself ends a session after a minute of silence.
        listed = "SELECT id FROM information_schema.processlist WHERE id != CONNECTION_ID() AND user = 'root'"
        sessions = [row["id"] for row in found.query(listed)]
        assert len(sessions) == 2, "one of the source, one of the target"
        for number in sessions:
            found.query(f"KILL {number}")
        found.work()
        before = found.dump()
        zombie.wake()
        ended = zombie.wait()
        assert ended.code == 0, ended.err[-3000:]
        assert found.dump() == before
    found.assert_is_as_the_reference()


TROUBLES: dict[str, Callable[[MysqlProxy], object]] = {
    "the reply to every second COMMIT": lambda proxy: proxy.lose_reply("^COMMIT", every=2),
    "every second COMMIT": lambda proxy: proxy.lose_request("^COMMIT", every=2),
    "replies to statements": lambda proxy: proxy.lose_reply("<execute>", every=31),
    "statements": lambda proxy: proxy.lose_request("<execute>", every=37),
}


@pytest.fixture(scope="module")
def cut_off(mariadb, given, tmp_path_factory) -> Iterator[dict[str, Future[tuple[Migration, int, int]]]]:
    """Migrations through a proxy that breaks connections, how often it did, and how many items they wrote."""

    def scenario(case: str) -> tuple[Migration, int, int]:
        found = migration(mariadb, tmp_path_factory.mktemp("cut off"), given, target_tls="disabled", chunk_rows=10)
        with MysqlProxy(mariadb.url) as proxy:
            found.url = proxy.url
            TROUBLES[case](proxy)
            ended = found.work(max_retries=30)
            found.url = None
            return found, proxy.happened, ended.report["rows_written"]

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, TROUBLES)


@pytest.mark.parametrize("case", TROUBLES)
def test_a_connection_that_breaks_costs_nothing_and_the_report_is_true(cut_off, case) -> None:
    found, happened, written = cut_off[case].result()
    assert happened >= 2, "Something was lost"
    found.assert_is_as_the_reference()
    assert written == len(found.rows("nfsc_info_list"))


def test_a_server_that_is_restarted_is_waited_for(own_mariadb, given, tmp_path) -> None:
    found = migration(own_mariadb, tmp_path, given, chunk_rows=1)
    with found.child() as child:
        wait_until(lambda: len(found.rows("nfsc_info_list")) > 5, "items are there")
        own_mariadb.server.restart()
        wait_until(lambda: len(found.rows("nfsc_info_list")) > 20, "it goes on")
        own_mariadb.server.kill()
        time.sleep(1)
        own_mariadb.server.start()
        ended = child.wait()
    assert ended.code == 0, ended.err[-3000:]
    found.assert_is_as_the_reference()


def test_a_row_that_another_holds_is_waited_for_and_tried_again(own_mariadb, given, tmp_path) -> None:
    found = migration(own_mariadb, tmp_path, given)
    found.work()
    found.change("UPDATE information_list SET original_link = CONCAT(original_link, '/new')")
    found.query("SET GLOBAL innodb_lock_wait_timeout = 1")
    with found.session(found.target, autocommit=False) as cursor:
        cursor.execute("SELECT * FROM nfsc_info_list FOR UPDATE")
        assert cursor.fetchall()
        with found.child() as child:
            child.wait_for("trying again", 60)
            cursor.connection.rollback()
            ended = child.wait()
    assert ended.code == 0, ended.err[-3000:]
    assert ended.report["details"]["retries"] >= 1
    found.assert_is_as_the_reference()


def test_a_lock_that_is_never_released_ends_the_run_with_nothing_half_done(own_mariadb, given, tmp_path) -> None:
    found = migration(own_mariadb, tmp_path, given)
    found.work()
    found.change("UPDATE information_list SET original_link = CONCAT(original_link, '/new')")
    found.query("SET GLOBAL innodb_lock_wait_timeout = 1")
    before = found.contents()
    with found.session(found.target, autocommit=False) as cursor:
        cursor.execute("SELECT * FROM nfsc_info_list FOR UPDATE")
        with found.child(max_retries=1) as child:
            ended = child.wait()
    assert ended.code == 1
    assert ended.error["kind"] == "unavailable"
    assert found.contents() == before
    assert set(before) == set(KEYS)
