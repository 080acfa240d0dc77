"""The PostgreSQL of the tests does what the product's tests build on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.python.support.postgres_proxy import PostgresProxy
from tests.services.postgres import Postgres, install_postgres, small_tablespace
from tests.services.tls import make_certificates

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 20
REPOSITORY = Path(__file__).parents[2]
PAUSE_AND_HANG = """
import json, time
from tests.services.postgres import small_tablespace, start_postgres
postgres = start_postgres()
with small_tablespace(postgres, 8), postgres.connect() as connection:
    asked = "SELECT pg_tablespace_location(oid) FROM pg_tablespace ORDER BY oid DESC LIMIT 1"
    folders = [*connection.execute(asked).fetchone(), str(postgres.server.folder)]
    postgres.server.pause()
    print(json.dumps({"pids": [postgres.server.pid, connection.info.backend_pid], "folders": folders}), flush=True)
    time.sleep(600)
"""
needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="Only root may mount")


def with_table(postgres: Postgres) -> str:
    """A new database with an empty table `kept (number INT PRIMARY KEY)`."""
    database = postgres.new_database()
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE kept (number INT PRIMARY KEY)")
    return database


def numbers(postgres: Postgres, database: str) -> list[int]:
    """What is in `kept`."""
    with postgres.connect(database) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM kept ORDER BY number")]


def insert(url: str, number: int, *, prepare: bool = False) -> None:
    """Insert into `kept` and commit, in a simple query or in the extended protocol, over one connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ("BEGIN", f"INSERT INTO kept VALUES ({number})", "COMMIT"):
            connection.execute(statement.encode(), prepare=prepare)


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Whether `condition` comes true in a while."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_it_is_a_postgres_with_the_settings_that_tests_rely_on(source_postgres: Postgres) -> None:
    settings = {
        "fsync": "on",
        "max_connections": "200",
        "server_encoding": "UTF8",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "wal_level": "logical",
    }
    with source_postgres.connect() as connection:
        asked = ", ".join(f"current_setting('{name}')" for name in settings)
        assert connection.execute(f"SELECT {asked}").fetchone() == tuple(settings.values())


def test_source_and_target_are_clusters_of_their_own(source_postgres: Postgres, target_postgres: Postgres) -> None:
    def identity(postgres: Postgres) -> int:
        with postgres.connect() as connection:
            return connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()[0]

    assert source_postgres.url != target_postgres.url
    assert identity(source_postgres) != identity(target_postgres)


def test_nobody_comes_in_without_the_password(source_postgres: Postgres) -> None:
    for password in ("", "wrong"):
        url = source_postgres.url.replace("pipeline-secret", password)
        with pytest.raises(psycopg.OperationalError, match="password"):
            Postgres(url, source_postgres.ca).connect()


def test_tls_shows_a_certificate_of_our_ca_and_is_not_forced(source_postgres: Postgres, tmp_path: Path) -> None:
    def is_encrypted(**options: str) -> bool:
        with source_postgres.connect(**options) as connection:
            return connection.pgconn.ssl_in_use

    assert is_encrypted(sslmode="verify-full", sslrootcert=source_postgres.ca)
    assert not is_encrypted(sslmode="disable")
    make_certificates(tmp_path)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        is_encrypted(sslmode="verify-ca", sslrootcert=str(tmp_path / "ca.pem"))


def test_new_databases_are_empty_and_have_names_of_their_own(source_postgres: Postgres) -> None:
    names = {with_table(source_postgres) for _ in range(3)}
    assert len(names) == 3
    assert [numbers(source_postgres, name) for name in names] == [[]] * 3


def test_what_was_committed_survives_a_kill_and_the_rest_does_not(own_postgres: Postgres) -> None:
    database, server = with_table(own_postgres), own_postgres.server
    with own_postgres.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO kept VALUES (2)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("COMMIT")
    server.start()
    assert numbers(own_postgres, database) == [1]
    with own_postgres.connect(database):
        server.restart()
    assert numbers(own_postgres, database) == [1]


def test_a_paused_server_answers_when_it_is_resumed_also_those_who_are_connected(own_postgres: Postgres) -> None:
    with own_postgres.connect() as connection, ThreadPoolExecutor() as pool:
        own_postgres.server.pause()
        asking = pool.submit(connection.execute, "SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            own_postgres.connect(connect_timeout=2)
        assert not asking.done()
        own_postgres.server.resume()
        assert asking.result(SECONDS).fetchone() == (1,)


@needs_mount
def test_a_killed_parent_leaves_no_frozen_backend_and_no_mounted_folder_behind() -> None:
    command = [sys.executable, "-c", PAUSE_AND_HANG]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        left = json.loads(parent.stdout.readline())
        parent.kill()
    assert len(left["folders"]) == 2
    assert becomes_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left["pids"]))
    assert becomes_true(lambda: not any(Path(folder).exists() for folder in left["folders"]))


@needs_mount
def test_a_full_tablespace_is_a_full_disk_and_goes_with_its_databases(source_postgres: Postgres) -> None:
    database = with_table(source_postgres)
    with small_tablespace(source_postgres, 8) as tablespace:
        with source_postgres.connect(database, autocommit=True) as connection:
            connection.execute(f"ALTER TABLE kept SET TABLESPACE {tablespace}")
            with pytest.raises(psycopg.errors.DiskFull) as full:
                connection.execute("INSERT INTO kept SELECT * FROM generate_series(1, 1000000)")
        assert full.value.sqlstate == "53100"
        assert numbers(source_postgres, database) == []
    with source_postgres.connect() as connection:
        left = "SELECT datname FROM pg_database WHERE datname = %s UNION SELECT spcname FROM pg_tablespace"
        assert sorted(connection.execute(left, [database])) == [("pg_default",), ("pg_global",)]


def test_programs_that_the_machine_has_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "own" / "postgres"
    monkeypatch.setenv("PIPELINE_CORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    installation = install_postgres()
    assert (installation / "bin").resolve() == program.parent
    assert install_postgres() == installation


@pytest.mark.parametrize("prepare", [False, True])
def test_a_connection_is_cut_before_commit_or_after_it(target_postgres: Postgres, *, prepare: bool) -> None:
    database = with_table(target_postgres)
    with PostgresProxy(target_postgres.url) as proxy:
        url = proxy.url_of(database)
        lost = proxy.lose_request("^COMMIT", every=2, times=1)
        insert(url, 1, prepare=prepare)
        with pytest.raises(psycopg.OperationalError):
            insert(url, 2, prepare=prepare)
        assert (lost.happened, numbers(target_postgres, database)) == (1, [1])
        untold = proxy.lose_reply("^COMMIT", every=2)
        insert(url, 3, prepare=prepare)
        with pytest.raises(psycopg.OperationalError):
            insert(url, 4, prepare=prepare)
        assert (untold.happened, numbers(target_postgres, database)) == (1, [1, 3, 4])
        proxy.heal()
        insert(url, 5, prepare=prepare)
        assert proxy.happened == 0
        assert proxy.statements.count("COMMIT") == 5


def test_a_copy_is_cut_in_its_rows_or_after_them(target_postgres: Postgres) -> None:
    database = with_table(target_postgres)

    def copy(url: str, values: range) -> None:
        connecting = psycopg.connect(url, autocommit=True)
        with connecting as connection, connection.cursor().copy("COPY kept FROM STDIN") as rows:
            for value in values:
                rows.write_row([value])

    with PostgresProxy(target_postgres.url) as proxy:
        url = proxy.url_of(database)
        proxy.lose_request("<copy done>", times=1)
        with pytest.raises(psycopg.OperationalError):
            copy(url, range(100_000))
        assert becomes_true(lambda: numbers(target_postgres, database) == [])
        proxy.lose_reply("^COPY", times=1)
        with pytest.raises(psycopg.OperationalError):
            copy(url, range(100_000))
        assert becomes_true(lambda: numbers(target_postgres, database) == [*range(100_000)])
        copy(url, range(100_000, 200_000))
    assert numbers(target_postgres, database) == [*range(200_000)]


def test_a_proxy_delays_and_holds_and_is_away_for_a_while(target_postgres: Postgres) -> None:
    database = with_table(target_postgres)
    with PostgresProxy(target_postgres.url) as proxy:
        url = proxy.url_of(database)
        proxy.delay("^INSERT", seconds=0.5, times=1)
        begun = time.monotonic()
        insert(url, 1)
        assert time.monotonic() - begun >= 0.5
        with psycopg.connect(url) as connection, proxy.away():
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            with pytest.raises(psycopg.OperationalError):
                insert(url, 2)
        insert(url, 3)
        held = proxy.hold("^COMMIT")
        with ThreadPoolExecutor() as pool:
            holding = pool.submit(insert, url, 4)
            assert held.reached.wait(SECONDS)
            assert numbers(target_postgres, database) == [1, 3]
            assert not holding.done()
            proxy.cut()
            with pytest.raises(psycopg.OperationalError):
                holding.result(SECONDS)
