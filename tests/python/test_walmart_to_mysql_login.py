"""Servers, logins and certificates that are wrong: one clear error each, the password in none of them."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.python.support import orders
from tests.python.support.children import Ended, run
from tests.python.support.loads import Load
from tests.python.support.mysql_proxy import MysqlProxy
from tests.services.process import free_ports
from tests.services.tls import make_certificates

from pipeline_core import walmart_to_mysql
from pipeline_core.exceptions import AccessDeniedError, NotFoundError, PipelineError

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "s3cret-p@ss/w:rd"
QUOTED = "s3cret-p%40ss%2Fw%3Ard"
# Another name of this machine, which is not in the server's certificate.
ELSEWHERE = "127.0.0.2"


@pytest.fixture
def load(kafka, mariadb, tmp_path) -> Load:
    found = Load(kafka, mariadb, tmp_path)
    found.init()
    found.send(orders.made(1))
    return found


@pytest.fixture
def wrong_ca(tmp_path) -> Path:
    folder = tmp_path / "another authority"
    folder.mkdir()
    make_certificates(folder)
    return folder / "ca.pem"


def with_login(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


def new_user(load: Load, requirement: str = "") -> str:
    """A user of this password, and the URL of its login."""
    user = f"u_{load.database}"
    with load.session() as cursor:
        cursor.execute(f"CREATE USER {user}@'%%' IDENTIFIED BY %s {requirement}", (PASSWORD,))
        cursor.execute(f"GRANT ALL ON {load.database}.* TO {user}@'%'")
    return with_login(load.mariadb.url, user, QUOTED)


def test_a_password_may_have_any_letters(load) -> None:
    load.url = new_user(load)
    load.run()
    load.assert_exact([orders.made(1)])


def test_the_parts_of_a_login_may_be_given_one_by_one(load) -> None:
    parts = urlsplit(new_user(load))
    where = {"mysql_host": parts.hostname, "mysql_port": parts.port, "mysql_user": parts.username}
    walmart_to_mysql.run(**load.settings, **where, mysql_password=PASSWORD)
    load.assert_exact([orders.made(1)])


def test_a_wrong_password_is_an_error_of_access(load) -> None:
    load.url = with_login(load.mariadb.url, "root", "wrong-s3cret")
    with pytest.raises(AccessDeniedError) as failed:
        load.run()
    assert failed.value.hint
    assert "wrong-s3cret" not in str(failed.value)


def test_a_user_without_the_right_to_write_is_an_error_of_access(load) -> None:
    load.url = new_user(load)
    with load.session() as cursor:
        cursor.execute(f"REVOKE ALL ON {load.database}.* FROM u_{load.database}@'%'")
        cursor.execute(f"GRANT SELECT ON {load.database}.* TO u_{load.database}@'%'")
    with pytest.raises(AccessDeniedError) as failed:
        load.run()
    assert failed.value.hint
    assert load.rows("order") == []


def test_a_missing_database_is_said_with_what_makes_it(load) -> None:
    with pytest.raises(NotFoundError, match="there_is_none") as failed:
        load.run(database="there_is_none")
    assert "init-db" in (failed.value.hint or "")


@pytest.mark.parametrize(
    "table", ["walmart_order", "walmart_order_charge", "walmart_order_version", "pipeline_core_position"]
)
def test_a_missing_table_is_said_with_what_makes_it(load, table) -> None:
    with load.session() as cursor:
        cursor.execute(f"DROP TABLE {table}")
    with pytest.raises(NotFoundError, match=table) as failed:
        load.run()
    assert "init-db" in (failed.value.hint or "")


def test_a_server_that_is_not_there_is_waited_for(kafka, own_mariadb, tmp_path) -> None:
    load = Load(kafka, own_mariadb, tmp_path)
    load.init()
    load.send(orders.made(1))
    own_mariadb.server.stop()
    with load.worker() as worker:
        worker.wait_for("trying again")
        own_mariadb.server.start()
        ended = worker.wait()
    assert ended.code == 0, ended.err
    load.assert_exact([orders.made(1)])


def test_a_server_that_stays_away_does_not_keep_a_loader_from_ending(load) -> None:
    [port] = free_ports(1)
    load.url = f"mysql://root:{QUOTED}@127.0.0.1:{port}"
    with load.worker(until="stopped", log_level="debug") as worker:
        worker.wait_for("trying again")
        worker.send(signal.SIGTERM)
        ended = worker.wait(30)
    assert ended.code == 143, ended.err
    assert PASSWORD not in ended.out + ended.err
    assert QUOTED not in ended.out + ended.err


@pytest.mark.parametrize("mode", ["required", "verify_ca", "verify_identity"])
def test_the_connection_is_encrypted_when_that_is_asked_for(load, mode) -> None:
    with MysqlProxy(load.mariadb.url) as proxy:
        load.url = proxy.url
        load.run(mysql_tls=mode, mysql_ca_location=load.mariadb.ca)
        assert proxy.encrypted > 0
        assert proxy.commands == [], "Nothing is readable on the way"
    load.assert_exact([orders.made(1)])


def test_the_connection_is_plain_when_that_is_asked_for(load) -> None:
    with MysqlProxy(load.mariadb.url) as proxy:
        load.url = proxy.url
        load.run(mysql_tls="disabled")
        assert proxy.encrypted == 0
        assert any("COMMIT" in command.upper() for command in proxy.commands)
    load.assert_exact([orders.made(1)])


def test_a_user_that_must_encrypt_is_refused_without(load) -> None:
    load.url = new_user(load, "REQUIRE SSL")
    with pytest.raises(AccessDeniedError):
        load.run(mysql_tls="disabled")
    load.run(mysql_tls="required")
    load.assert_exact([orders.made(1)])


@pytest.mark.parametrize("mode", ["verify_ca", "verify_identity"])
def test_a_server_of_another_authority_is_refused(load, wrong_ca, mode) -> None:
    with pytest.raises(PipelineError, match=r"(?i)certificate") as failed:
        load.run(mysql_tls=mode, mysql_ca_location=wrong_ca)
    assert failed.value.kind == "access"
    assert failed.value.hint
    assert load.rows("order") == []


@pytest.mark.parametrize("mode", ["verify_ca", "verify_identity"])
def test_a_server_of_another_name_is_refused(load, mode) -> None:
    with MysqlProxy(load.mariadb.url, host=ELSEWHERE) as proxy:
        load.url = proxy.url
        with pytest.raises(PipelineError, match=r"(?i)certificate") as failed:
            load.run(mysql_tls=mode, mysql_ca_location=load.mariadb.ca)
        assert failed.value.kind == "access"
        assert load.rows("order") == []


def test_a_certificate_authority_that_is_no_file_is_a_setting(load) -> None:
    with pytest.raises(PipelineError, match=r"no-such\.pem") as failed:
        load.run(mysql_tls="verify_ca", mysql_ca_location="no-such.pem")
    assert failed.value.kind in {"settings", "not_found"}


def ends(load: Load, url: str, command: str = "walmart-to-mysql", **changed: object) -> tuple[Ended, str]:
    """How a command with this URL ends, and all that it printed."""
    given = {**load.settings, "log_format": "json", "log_level": "debug", **changed}
    ended = run(load.folder, command, environment={"MYSQL_URL": url}, **given)
    return ended, ended.out + ended.err


def test_the_password_is_never_printed(load) -> None:
    right, wrong = new_user(load), with_login(load.mariadb.url, "root", QUOTED)
    for url, code in ((right, 0), (wrong, 1), (f"mysql://root:{QUOTED}@[nonsense", 2)):
        for changed in ({"json": True}, {"log_format": "text"}):
            ended, said = ends(load, url, **changed)
            assert ended.code == code, said
            assert said
            assert PASSWORD not in said, url
            assert QUOTED not in said, url


def test_the_password_is_not_in_the_settings_that_are_shown(load) -> None:
    config = walmart_to_mysql.Config(mysql_url=new_user(load), mysql_password=PASSWORD)
    assert PASSWORD not in repr(config)
    assert QUOTED not in repr(config)
    assert PASSWORD not in str(config)
    assert QUOTED not in str(config)


def test_the_password_is_not_among_the_arguments_that_others_see(load) -> None:
    load.url = new_user(load)
    with load.worker(until="stopped") as worker:
        load.wait_until_loaded(worker)
        assert not any(QUOTED in str(argument) for argument in worker.process.args)


CHECKED = {
    "right": ({}, set()),
    "no database": ({"database": "there_is_none"}, {"database", "tables"}),
    "no topic": ({"topic": "there-is-none"}, {"topic"}),
    "no tables": ({"table": "there_is_none"}, {"tables"}),
}


@pytest.mark.parametrize("case", CHECKED)
def test_check_names_what_is_wrong_and_moves_nothing(load, case) -> None:
    changed, wrong = CHECKED[case]
    given = {name: load.settings[name] for name in ("topic", "bootstrap_servers", "database")} | changed
    ended = run(load.folder, "check walmart-to-mysql", environment=load.environment, json=True, **given)
    told = {item["name"]: item["ok"] for item in json.loads(ended.out)}
    assert {name for name, is_right in told.items() if not is_right} == wrong
    assert set(told) == {"broker", "topic", "database", "tables"}
    assert ended.code == (1 if wrong else 0)
    assert load.rows("order") == []
