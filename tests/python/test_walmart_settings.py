from __future__ import annotations

import json
import logging
import pickle
import re
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline_core import AsyncWalmartClient, WalmartClient, csv_to_kafka, walmart_to_kafka, walmart_to_mysql
from pipeline_core.cli import application
from pipeline_core.config import WalmartSettings
from pipeline_core.exceptions import SettingsError, UnavailableError
from pipeline_core.report import DatabaseReport, Report

pytestmark = pytest.mark.usefixtures("no_settings")

FETCH, LOAD = walmart_to_kafka.Config, walmart_to_mysql.Config

# The original's file, with invented values: its lists, its names, its accounts, and a table of another program.
ORIGINAL = """
kafka:
  bootstrap_servers:
    - localhost:29092
    - localhost:39092
mysql:
  host: db.example
  port: 3307
  user: loader
  password: 12345678
  charset: utf8mb4
walmart_token:
  eForCity:
    token: b25lOmFscGhh
  second:
    token: dHdvOmJldGE=
flink:
  parallelism: 1
"""
SECRET = "hunter2"
NAIVE = datetime(2025, 11, 11, 8)  # noqa: DTZ001 - taken as UTC
URL = f"mysql://root:{SECRET}@db.example:3306"

# Name, text, the setting it is, the value that comes of it, and the value without it.
VARIABLES = [
    (FETCH, "KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2", "bootstrap_servers", "a:1,b:2", "localhost:9092"),
    (FETCH, "WALMART_ACCOUNT_TAG", "second", "account_tag", "second", "eForCity"),
    (FETCH, "WALMART_BASE_URL", "http://api/v3", "base_url", "http://api/v3", "https://marketplace.walmartapis.com/v3"),
    (FETCH, "WALMART_TOPIC", "t", "topic", "t", "walmart_order_raw"),
    (FETCH, "PIPELINE_CORE_HOURS", "2", "hours", 2, None),
    (FETCH, "PIPELINE_CORE_SHIP_NODE_TYPE", "WFSFulfilled", "ship_node_type", "WFSFulfilled", None),
    (LOAD, "WALMART_TOPIC", "t", "topic", "t", "walmart_order_raw"),
    (LOAD, "KAFKA_GROUP_ID", "g", "group_id", "g", "flink-walmart-order-pipeline-jdbc"),
    (LOAD, "MYSQL_HOST", "db", "mysql_host", "db", "localhost"),
    (LOAD, "MYSQL_PORT", "3307", "mysql_port", 3307, 3306),
    (LOAD, "MYSQL_USER", "loader", "mysql_user", "loader", "root"),
    (LOAD, "MYSQL_DATABASE", "orders", "database", "orders", "ods"),
    (LOAD, "MYSQL_URL", URL, "mysql_url", URL, None),
    (LOAD, "MYSQL_TLS", "verify_identity", "mysql_tls", "verify_identity", "preferred"),
    (LOAD, "MYSQL_CA_LOCATION", "ca.pem", "mysql_ca_location", "ca.pem", None),
]


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Undo what the command line does to the package's logger."""
    logger = logging.getLogger("pipeline_core")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def original(no_settings):
    """The original's file where the original has it."""
    path = no_settings / "config/config.yml"
    path.parent.mkdir()
    path.write_text(ORIGINAL)
    return path


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *arguments: CliRunner().invoke(application(), arguments)


@pytest.fixture
def fetched(monkeypatch):
    """Configs that walmart-to-kafka was run with, in place of running it."""
    configs = []

    def run(config, *, on_progress=None):
        assert callable(on_progress)
        configs.append(config)
        now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        return Report("walmart_to_kafka", "complete", "end of range", 5, 5, 0, 50, 60, now, 1.0)

    monkeypatch.setattr(walmart_to_kafka, "run", run)
    return configs


def document(config):
    return json.loads(config.document())


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize(("config", "variable", "text", "field", "value", "default"), VARIABLES)
def test_every_variable_sets_its_field(monkeypatch, place, config, variable, text, field, value, default):
    assert getattr(config(), field) == default
    if place == ".env":
        Path(".env").write_text(f"{variable}={text}\n")
    else:
        monkeypatch.setenv(variable, text)
    assert getattr(config(), field) == value


def test_secrets_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("WALMART_TOKEN", SECRET)
    monkeypatch.setenv("MYSQL_PASSWORD", SECRET)
    assert document(FETCH())["walmart"]["walmart_token"] == SECRET
    assert document(LOAD())["mysql"]["mysql_password"] == SECRET
    monkeypatch.delenv("WALMART_TOKEN")
    monkeypatch.setenv("WALMART_CLIENT_ID", "id")
    monkeypatch.setenv("WALMART_CLIENT_SECRET", SECRET)
    assert document(FETCH())["walmart"]["client_secret"] == SECRET


@pytest.mark.parametrize("is_named", [True, False])
def test_the_original_s_file_is_read_as_it_is(original, is_named):
    more = {"config_file": original} if is_named else {}
    fetch, load = document(FETCH(**more)), document(LOAD(**more))
    assert (
        fetch["kafka"]["bootstrap_servers"] == load["kafka"]["bootstrap_servers"] == "localhost:29092,localhost:39092"
    )
    assert fetch["walmart"]["walmart_token"] == "b25lOmFscGhh"
    assert load["mysql"] == {
        "mysql_url": None,
        "mysql_host": "db.example",
        "mysql_port": 3307,
        "mysql_user": "loader",
        "mysql_password": "12345678",
        "mysql_charset": "utf8mb4",
        "mysql_tls": "preferred",
        "mysql_ca_location": None,
    }


def test_the_token_is_that_of_the_account_in_force(original, monkeypatch):
    assert document(FETCH(account_tag="second"))["walmart"]["walmart_token"] == "dHdvOmJldGE="
    monkeypatch.setenv("WALMART_ACCOUNT_TAG", "second")
    assert document(FETCH())["walmart"]["walmart_token"] == "dHdvOmJldGE="
    original.write_text(f"{ORIGINAL}account_tag: eForCity\n")
    assert document(FETCH())["walmart"]["walmart_token"] == "dHdvOmJldGE="
    monkeypatch.delenv("WALMART_ACCOUNT_TAG")
    assert document(FETCH())["walmart"]["walmart_token"] == "b25lOmFscGhh"
    assert WalmartSettings(account_tag="second").walmart_token.get_secret_value() == "dHdvOmJldGE="


@pytest.mark.usefixtures("original")
def test_an_account_that_is_not_in_the_file_is_told_with_those_that_are():
    with pytest.raises(SettingsError) as caught:
        FETCH(account_tag="third")
    place = "config.yml [walmart_token]"
    assert caught.value.message == f"Account 'third' is not in {place}, which has 'eForCity', 'second'"
    assert "-a" in (caught.value.hint or "")
    assert LOAD().mysql_host == "db.example", "the loader needs no account"


@pytest.mark.usefixtures("original")
def test_credentials_that_are_given_count_more_than_the_file(monkeypatch):
    assert (
        document(FETCH(client_id="id", client_secret=SECRET, account_tag="third"))["walmart"]["walmart_token"] is None
    )
    monkeypatch.setenv("WALMART_TOKEN", SECRET)
    assert document(FETCH(account_tag="third"))["walmart"]["walmart_token"] == SECRET


@pytest.mark.parametrize("entry", ["{}", "{token: }", "{token: 7}", "text", "[token]"])
def test_an_account_without_a_token_is_told(entry):
    Path("s.yml").write_text(f"walmart_token: {{eForCity: {entry}}}\n")
    with pytest.raises(SettingsError, match=r"s\.yml \[walmart_token\.eForCity\] has no token"):
        FETCH(config_file="s.yml")


def test_other_pipelines_take_the_original_s_file_too(original):
    config = csv_to_kafka.Config(files="a.csv", config_file=original)
    assert config.bootstrap_servers == "localhost:29092,localhost:39092"
    assert csv_to_kafka.Config(files="a.csv").bootstrap_servers == "localhost:9092", "but only if it is named"


def test_the_file_that_is_read_unasked_is_logged(original, caplog):
    caplog.set_level(logging.INFO, "pipeline_core")
    FETCH()
    assert "Settings file config/config.yml is read, for none is named" in caplog.messages
    caplog.clear()
    FETCH(config_file=original)
    csv_to_kafka.Config(files="a.csv")
    assert not [line for line in caplog.messages if "is read" in line]


def test_what_nobody_knows_in_the_original_s_file_sets_nothing_and_is_logged_once(original, caplog):
    original.write_text(f"{ORIGINAL}some_other_program: {{a: 1}}\n")
    FETCH()
    LOAD()
    lines = [line for line in caplog.messages if "some_other_program" in line]
    assert lines == ["'some_other_program' in config.yml is no setting of this pipeline and sets nothing"]


def test_a_named_file_goes_before_the_usual_one(original, monkeypatch):
    Path("s.toml").write_text('[mysql]\nmysql_host = "other"\n')
    assert LOAD(config_file="s.toml").mysql_host == "other"
    monkeypatch.setenv("PIPELINE_CORE_CONFIG_FILE", "s.toml")
    assert LOAD().mysql_host == "other"
    assert original.is_file()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", '[mysql]\nmysql_host = "h"\n[walmart]\naccount_tag = "x"\nwalmart_token = "t"\n'),
        ("s.yaml", "mysql: {mysql_host: h}\nwalmart: {account_tag: x, walmart_token: t}\n"),
    ],
)
def test_files_of_our_own_shape_are_read(name, text):
    Path(name).write_text(text)
    assert LOAD(config_file=name).mysql_host == "h"
    assert document(FETCH(config_file=name))["walmart"]["walmart_token"] == "t"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mysql: {mysql_hosst: h}", "Unknown setting 'mysql_hosst' in s.yaml [mysql]; did you mean 'mysql_host'?"),
        ("walmart: {walmart_token: {a: {token: t}}}", "Setting 'walmart_token' (s.yaml [walmart]): It must be a valid"),
        ("hours: 2", "it belongs to walmart_to_kafka: move it into a table [walmart_to_kafka]"),
    ],
)
def test_mistakes_in_a_file_of_our_own_shape_are_told(text, message):
    Path("s.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        (LOAD if "hours" in text or "mysql" in text else FETCH)(config_file="s.yaml")
    assert message in caught.value.message


@pytest.mark.parametrize("day", ["20251111", "2025-11-11", " 20251111 ", 20251111, date(2025, 11, 11)])
def test_days_are_understood_and_written_in_one_form(day):
    config = document(FETCH(start_date=day, end_date=day))
    assert (config["start_date"], config["end_date"]) == ("2025-11-11", "2025-11-11")


@pytest.mark.parametrize("day", ["2025-1111", "20250229", "2025-13-01", "11.11.2025", "", "today", 7, True, 1.5])
def test_other_days_are_refused(day):
    with pytest.raises(SettingsError, match="Setting 'start_date': "):
        FETCH(start_date=day, end_date="20251111")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hours": 2, "start_date": "20251111", "end_date": "20251111"}, "Setting 'hours' (-H) excludes 'start_date'"),
        ({"hours": 2, "end_date": "20251111"}, "Setting 'hours' (-H) excludes 'start_date'"),
        ({"start_date": "20251111"}, "Setting 'start_date' (-s) needs 'end_date' (-e)"),
        ({"end_date": "20251111"}, "Setting 'end_date' (-e) needs 'start_date' (-s)"),
        (
            {"start_date": "20251112", "end_date": "2025-11-11"},
            "Setting 'end_date' (-e) is 2025-11-11, before 'start_date' (-s) 2025-11-12",
        ),
        ({"follow": True, "start_date": "20251111", "end_date": "20251111"}, "Setting 'follow' has no dates"),
        ({"follow": True, "end_date": "20251111"}, "Setting 'follow' has no dates"),
        ({"hours": 0}, "Setting 'hours': It must be greater than 0"),
        ({"window_orders": 10_001}, "Setting 'window_orders': It must be less than or equal to 10000"),
        ({"concurrency": 33}, "Setting 'concurrency'"),
        ({"timezone": "America/Los_Angles"}, "Setting 'timezone': Write the name of a time zone"),
        ({"timezone": "../UTC"}, "Setting 'timezone': Write the name of a time zone"),
        ({"ship_node_type": "Nobody"}, "Setting 'ship_node_type'"),
        ({"client_id": "id"}, "need each other"),
        ({"client_secret": SECRET}, "need each other"),
        ({"client_id": "id", "client_secret": SECRET, "walmart_token": SECRET}, "excludes 'client_id'"),
    ],
)
def test_a_range_that_is_none_is_refused_before_anything_is_asked(settings, message):
    with pytest.raises(SettingsError) as caught:
        FETCH(**settings)
    assert message in caught.value.message
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{}, {"hours": 5000}, {"follow": True, "hours": 3, "until": "8h"}, {"follow": True, "until": "end"}]
)
def test_other_ranges_are_taken(settings):
    assert FETCH(**settings).hours == settings.get("hours")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": "orders; DROP TABLE x"}, "Setting 'table': Write letters, digits, _ and $ only"),
        ({"table": ""}, "Setting 'table'"),
        ({"table": "x" * 57}, "Setting 'table'"),
        ({"database": "ods`"}, "Setting 'database': Write letters, digits, _ and $ only"),
        ({"formatted_timezone": "Mars/Olympus"}, "Setting 'formatted_timezone': Write the name of a time zone"),
        ({"mysql_tls": "maybe"}, "Setting 'mysql_tls'"),
        ({"mysql_port": 0}, "Setting 'mysql_port'"),
        ({"rows_per_statement": 1201}, "Setting 'rows_per_statement'"),
        ({"connections": 17}, "Setting 'connections'"),
        ({"max_retries": -1}, "Setting 'max_retries'"),
    ],
)
def test_what_no_database_takes_is_refused(settings, message):
    with pytest.raises(SettingsError) as caught:
        LOAD(**settings)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "url", [f"root:{SECRET}@db", f"postgres://root:{SECRET}@db", f"mysql://root:{SECRET}@", SECRET]
)
def test_a_wrong_url_is_refused_and_not_shown(url, monkeypatch, invoke):
    with pytest.raises(SettingsError) as caught:
        LOAD(mysql_url=url)
    assert caught.value.message == "Setting 'mysql_url': Write it as mysql://user:password@host:port"
    assert SECRET not in str(caught.value) + repr(caught.value)
    monkeypatch.setenv("MYSQL_URL", url)
    result = invoke("config", "show", "walmart-to-mysql")
    assert result.exit_code == 2
    assert SECRET not in result.output
    assert SECRET not in invoke("walmart-to-mysql", "--mysql-url", url).output


@pytest.mark.parametrize("password", [SECRET, f"a/{SECRET}", f"a@{SECRET}@b", f"a?{SECRET}#", f":{SECRET}:"])
def test_no_password_in_a_url_is_ever_shown(password, monkeypatch, invoke):
    config = LOAD(mysql_url=f"mysql://root:{password}@db.example:3306")
    assert SECRET not in repr(config) + str(config)
    assert document(config)["mysql"]["mysql_url"] == f"mysql://root:{password}@db.example:3306"
    monkeypatch.setenv("MYSQL_URL", config.mysql_url)
    monkeypatch.setenv("PIPELINE_CORE_CONNECTIONS", "many")
    for arguments in (["config", "show"], ["config", "show", "walmart-to-mysql", "--json"], ["walmart-to-mysql"]):
        assert SECRET not in invoke(*arguments).output
    assert "mysql://***@db.example:3306" in invoke("config", "show", "walmart-to-mysql").output


def test_secrets_are_masked_where_settings_are_shown(invoke, monkeypatch):
    Path("s.yml").write_text(f"walmart_token: {{eForCity: {{token: {SECRET}}}}}\nmysql: {{password: {SECRET}}}\n")
    monkeypatch.setenv("PIPELINE_CORE_CONFIG_FILE", "s.yml")
    config = FETCH()
    assert SECRET not in repr(config) + str(config) + repr(LOAD())
    assert pickle.loads(pickle.dumps(config)) == config
    result = invoke("config", "show")
    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["walmart_token", "********", "s.yml", "[walmart_token.eForCity]"] in lines
    assert ["mysql_password", "********", "s.yml", "[mysql]"] in lines
    with pytest.raises(SettingsError) as caught:
        FETCH(hours=-1, account_tag="")
    assert SECRET not in str(caught.value)


def test_the_short_flags_of_the_original_are_there(invoke, fetched):
    flags = "-s 20251111 -e 2025-11-12 -a second -t orders --ship-node-type sellerfulfilled --batch-size 7 --modified"
    result = invoke("walmart-to-kafka", *flags.split())
    assert result.exit_code == 0, result.output
    assert invoke("walmart-to-kafka", "-H", "2").exit_code == 0
    days, hours = fetched
    assert (days.start_date, days.end_date, days.hours) == ("2025-11-11", "2025-11-12", None)
    assert (days.account_tag, days.topic, days.ship_node_type) == ("second", "orders", "SellerFulfilled")
    assert (days.batch_size, days.modified) == (7, True)
    assert (hours.hours, hours.start_date) == (2, None)


def test_short_flags_are_in_the_help(invoke):
    for command in (["walmart-to-kafka"], ["check", "walmart-to-kafka"]):
        words = invoke(*command, "--help").output.split()
        assert {"-H", "-s", "-e", "-a", "-t"} <= set(words)


@pytest.mark.usefixtures("original", "fetched")
def test_lines_are_in_the_original_s_form_on_request(invoke):
    result = invoke("walmart-to-kafka", "-H", "2", "--log-format", "original")
    assert result.exit_code == 0, result.output
    form = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - INFO - Settings file config/config.yml is read, for none is named"
    assert any(re.fullmatch(form, line) for line in result.stderr.splitlines())


def test_errors_are_in_the_original_s_form_on_request(invoke, monkeypatch):
    def run(*_arguments, **_settings):
        message = "The API does not answer"
        raise UnavailableError(message, "Try again later.")

    monkeypatch.setattr(walmart_to_mysql, "run", run)
    result = invoke("walmart-to-mysql", "--log-format", "original")
    assert result.exit_code == 1
    told = [line.split(" - ", maxsplit=2)[1:] for line in result.stderr.splitlines()]
    assert told == [["ERROR", "The API does not answer"], ["ERROR", "Hint: Try again later."]]


def test_init_db_tells_what_it_made(invoke, monkeypatch):
    configs = []

    def init_db(config):
        configs.append(config)
        migrated = {"from_key": ["purchaseOrderId", "sku"], "rows": 2031, "renumbered": 3}
        made = {"server": "MariaDB 10.11.6", "database": "ods", "created": ["ods.walmart_order_charge"]}
        return DatabaseReport.from_json(json.dumps({**made, "migrated": migrated, "statements": ["CREATE TABLE …"]}))

    monkeypatch.setattr(walmart_to_mysql, "init_db", init_db)
    result = invoke("init-db", "walmart-to-mysql", "--mysql-url", URL, "--database", "orders", "--raw")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "ods on MariaDB 10.11.6: 1 created, 1 table migrated",
        "  created     ods.walmart_order_charge",
        "  migrated    from the key (purchaseOrderId, sku): 2,031 rows kept, 3 lines numbered anew",
        "  statements  1",
    ]
    assert (configs[0].mysql_url, configs[0].database, configs[0].raw) == (URL, "orders", True)
    assert json.loads(invoke("init-db", "walmart-to-mysql", "--json").stdout)["migrated"]["rows"] == 2031


def test_a_database_that_is_there_needs_nothing():
    report = DatabaseReport("MySQL 8.4.2", "ods")
    assert repr(report).splitlines()[0] == "ods on MySQL 8.4.2: nothing to do"


@pytest.mark.parametrize("client", [WalmartClient, AsyncWalmartClient])
@pytest.mark.parametrize(
    ("start", "end", "settings", "message"),
    [
        ("soon", "2025-11-12", {}, "Setting 'start': Write a time"),
        ("2025-11-11", 7, {}, "Setting 'end': Write a time"),
        ("2025-11-12", date(2025, 11, 12), {}, "not after 'start' 2025-11-12T00:00:00Z"),
        ("2025-11-11T00:00:00-08:00", NAIVE, {}, "not after 'start' 2025-11-11T08:00:00Z"),
        ("2025-11-11", "2025-11-12", {"ship_node_type": "Nobody"}, "Setting 'ship_node_type'"),
    ],
)
def test_a_client_refuses_a_range_that_is_none(client, start, end, settings, message):
    with pytest.raises(SettingsError) as caught:
        client(walmart_token=SECRET).orders(start, end, **settings)
    assert message in caught.value.message


def test_a_client_that_is_closed_asks_nothing():
    with WalmartClient(walmart_token=SECRET) as client:
        pass
    for ask in (lambda: client.order("1"), lambda: client.orders("2025-11-11", "2025-11-12")):
        with pytest.raises(SettingsError, match="This WalmartClient is closed"):
            ask()
