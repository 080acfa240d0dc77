"""Runs of `init-db` that have all come to its lock before one of them goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.python.support.children import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.support.children import Child, Ended
    from tests.services.mariadb import Mariadb
    from tests.services.postgres import Postgres

RUNS = 4
NAME = "pipeline_core.init_db"


def together_in_postgres(postgres: Postgres, database: str, start: Callable[[], Child]) -> list[Ended]:
    """How they end in a database."""
    waiting = "SELECT FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = %s AND NOT granted"
    with postgres.connect(database, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(hashtext(%s))", [NAME])
        return _together(start, lambda: holder.execute(waiting, [database]).rowcount, holder.close)


def together_in_mariadb(mariadb: Mariadb, start: Callable[[], Child]) -> list[Ended]:
    """How they end on a server."""
    holder = mariadb.connect(autocommit=True)
    cursor = holder.cursor()
    cursor.execute("SELECT GET_LOCK(%s, 0)", [NAME])
    waiting = "SELECT * FROM information_schema.processlist WHERE state = 'User lock'"
    return _together(start, lambda: cursor.execute(waiting), holder.close)


def _together(start: Callable[[], Child], waiting: Callable[[], int], let_go: Callable[[], None]) -> list[Ended]:
    runs = [start() for _ in range(RUNS)]

    def is_so() -> bool:
        for run in runs:
            assert run.is_running, f"It ended with {run.process.returncode} and did not wait:\n{run.said[-3000:]}"
        return waiting() == RUNS

    try:
        wait_until(is_so, "all wait for the lock")
        let_go()
        ended = [run.wait() for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert {one.code for one in ended} == {0}, [one.err[-500:] for one in ended]
    return ended
