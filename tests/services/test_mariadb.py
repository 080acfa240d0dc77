"""The MariaDB of the tests does what the product's tests build on."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import pymysql
import pytest
from tests.services.install import ServiceUnavailableError, run_tool
from tests.services.mariadb import SYSTEM_TABLES, Mariadb, install_mariadb
from tests.services.process import temporary_folder
from tests.services.tls import make_certificates

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20
STAND_IN = """#!/bin/sh
for word; do
    case $word in
        --version) echo stand-in ;;
        --datadir=*) cat >"${word#--datadir=}/asked" ;;
    esac
done
"""


def rows(connection: pymysql.Connection, statement: str) -> list[tuple]:
    """What a statement answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def with_table(mariadb: Mariadb) -> str:
    """A new database with an empty table `kept (number INT PRIMARY KEY)`."""
    database = mariadb.new_database()
    with mariadb.connect() as connection:
        rows(connection, f"CREATE DATABASE {database}")
        rows(connection, f"CREATE TABLE {database}.kept (number INT PRIMARY KEY)")
    return database


def test_it_is_a_mariadb_with_the_settings_that_tests_rely_on(mariadb: Mariadb) -> None:
    with mariadb.connect() as connection:
        asked = "@@version, @@local_infile, @@innodb_flush_log_at_trx_commit, @@innodb_buffer_pool_size, @@time_zone"
        [(version, *settings)] = rows(connection, f"SELECT {asked}")
        assert "MariaDB" in version
        assert settings == [1, 1, 256 * 1024 * 1024, "+00:00"]
        assert rows(connection, "SHOW VARIABLES LIKE 'max_connections'") == [("max_connections", "100")]


def test_nobody_comes_in_without_the_password(mariadb: Mariadb) -> None:
    for wrong in ({"password": ""}, {"user": "", "password": ""}):
        url = mariadb.url.replace("pipeline-secret", wrong["password"]).replace("root", wrong.get("user", "root"))
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            Mariadb(url, mariadb.ca).connect()


def test_tls_shows_a_certificate_of_our_ca_and_is_not_forced(mariadb: Mariadb, tmp_path: Path) -> None:
    def cipher(**options: object) -> str:
        with mariadb.connect(**options) as connection:
            return rows(connection, "SHOW STATUS LIKE 'Ssl_cipher'")[0][1]

    assert cipher(ssl={"ca": mariadb.ca, "check_hostname": True, "verify_mode": ssl.CERT_REQUIRED})
    assert not cipher(ssl_disabled=True)
    make_certificates(tmp_path)
    with pytest.raises(pymysql.OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        cipher(ssl={"ca": str(tmp_path / "ca.pem")})


def test_new_databases_have_names_of_their_own(mariadb: Mariadb) -> None:
    names = {mariadb.new_database() for _ in range(100)}
    assert len(names) == 100
    with mariadb.connect() as connection:
        assert not names & {name for (name,) in rows(connection, "SHOW DATABASES")}


def test_a_file_of_the_client_can_be_loaded(mariadb: Mariadb, tmp_path: Path) -> None:
    database = with_table(mariadb)
    (tmp_path / "numbers").write_text("1\n2\n3\n")
    with mariadb.connect(database, local_infile=True) as connection:
        rows(connection, f"LOAD DATA LOCAL INFILE '{tmp_path}/numbers' INTO TABLE kept")
        assert rows(connection, "SELECT SUM(number) FROM kept") == [(6,)]


def test_what_was_committed_survives_a_kill_and_the_rest_does_not(own_mariadb: Mariadb) -> None:
    database, server = with_table(own_mariadb), own_mariadb.server
    with own_mariadb.connect(database) as connection:
        rows(connection, "INSERT INTO kept VALUES (1)")
        connection.commit()
        rows(connection, "INSERT INTO kept VALUES (2)")
        server.kill()
        with pytest.raises(pymysql.OperationalError):
            connection.commit()
    server.start()
    server.restart()
    with own_mariadb.connect(database) as connection:
        assert rows(connection, "SELECT number FROM kept") == [(1,)]


def test_a_paused_server_answers_when_it_is_resumed(own_mariadb: Mariadb) -> None:
    own_mariadb.server.pause()
    with pytest.raises(pymysql.OperationalError):
        own_mariadb.connect(connect_timeout=1, read_timeout=1)
    own_mariadb.server.resume()
    begun = time.monotonic()
    with own_mariadb.connect(connect_timeout=SECONDS) as connection:
        assert rows(connection, "SELECT 1") == [(1,)]
    assert time.monotonic() - begun < SECONDS


def test_a_server_that_the_machine_has_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, share = tmp_path / "sbin" / "mariadbd", tmp_path / "share" / "mysql"
    monkeypatch.setenv("PIPELINE_CORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    for folder in (program.parent, share):
        folder.mkdir(parents=True)
    program.write_text(STAND_IN)
    program.chmod(0o755)
    with pytest.raises(ServiceUnavailableError, match=r"not the mysql_system_tables\.sql"):
        install_mariadb()
    for name in SYSTEM_TABLES:
        (share / name).write_text(f"-- {name}\n")
    installation = install_mariadb()
    assert [path.name for path in installation.iterdir()] == ["formatted"]
    assert set(SYSTEM_TABLES) <= {*(installation / "formatted" / "asked").read_text().replace("-- ", "").split()}


def test_an_installer_gives_what_it_printed() -> None:
    assert run_tool("echo", "said", directory=temporary_folder("echo")) == "said\n"
