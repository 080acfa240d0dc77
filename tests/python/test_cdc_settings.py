from __future__ import annotations

import json
import logging
import pickle
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipeline_core import cdc_to_postgres, csv_to_kafka, postgres_to_kafka
from pipeline_core.cli import application
from pipeline_core.cli.bar import Bar
from pipeline_core.exceptions import SettingsError
from pipeline_core.mapping import EMPLOYEES, Mapping
from pipeline_core.progress import Stats
from pipeline_core.report import DatabaseReport

pytestmark = pytest.mark.usefixtures("no_settings")

CAPTURE, APPLY = postgres_to_kafka.Config, cdc_to_postgres.Config
SECRET = "hunter2"
URL = f"postgresql://postgres:{SECRET}@db.example:5432/postgres"
MAPPING = """
[mapping]
key = ["tenant", "id"]
id_column = "seq"

[[mapping.columns]]
name = "tenant"
type = "INT"

[[mapping.columns]]
name = "id"
type = "bigint"
field = "orderId"
aliases = ["order"]

[[mapping.columns]]
name = "price"
type = "Decimal (10, 2)"
required = true
"""
YAML = """
mapping:
  key: tenant, id
  id_column: seq
  columns:
    - {name: tenant, type: INT}
    - {name: id, type: bigint, field: orderId, aliases: order}
    - {name: price, type: "Decimal (10, 2)", required: true}
"""
COLUMNS = [
    {"name": "tenant", "type": "integer", "field": "tenant", "aliases": [], "required": False},
    {"name": "id", "type": "bigint", "field": "orderId", "aliases": ["order"], "required": False},
    {"name": "price", "type": "numeric(10,2)", "field": "price", "aliases": [], "required": True},
]
OTHER = {
    "key": ["tenant", "id"],
    "columns": COLUMNS,
    "id_column": "seq",
    "id_field": "action_id",
    "action_column": "action",
    "action_field": "action",
}


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Undo what the command line does to the package's logger."""
    logger = logging.getLogger("pipeline_core")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *arguments: CliRunner().invoke(application(), arguments)


def document(config):
    return json.loads(config.document())


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize(("config", "table", "port"), [(CAPTURE, "source", 5432), (APPLY, "target", 5433)])
@pytest.mark.parametrize(
    ("name", "text", "value", "default"),
    [
        ("url", URL, URL, None),
        ("host", "db", "db", "localhost"),
        ("port", "6543", 6543, None),
        ("user", "loader", "loader", "postgres"),
        ("password", SECRET, SECRET, None),
        ("database", "hr", "hr", "postgres"),
        ("tls", "verify_identity", "verify_identity", "preferred"),
        ("ca_location", "ca.pem", "ca.pem", None),
    ],
)
def test_every_variable_of_a_database_sets_its_field(
    monkeypatch, place, config, table, port, name, text, value, default
):
    assert document(config())[table][name] == (port if name == "port" else default)
    variable = f"{table}_{name}".upper()
    if place == ".env":
        Path(".env").write_text(f"{variable}={text}\n")
    else:
        monkeypatch.setenv(variable, text)
    assert document(config())[table][name] == value


@pytest.mark.parametrize("prefix", ["", "target_"])
def test_a_file_s_table_of_a_database_may_have_short_names(prefix):
    Path("s.toml").write_text(f'[target]\n{prefix}host = "db"\n{prefix}password = 12345678\n[source]\nport = 1\n')
    target = document(APPLY(config_file="s.toml"))["target"]
    assert (target["host"], target["password"]) == ("db", "12345678")
    assert document(CAPTURE(config_file="s.toml"))["source"]["port"] == 1
    assert csv_to_kafka.Config(files="a.csv", config_file="s.toml").files == ["a.csv"]


def test_a_wrong_name_in_a_table_of_a_database_is_told():
    Path("s.toml").write_text('[target]\nhosst = "db"\n')
    with pytest.raises(SettingsError) as caught:
        APPLY(config_file="s.toml")
    message = "Unknown setting 'target_hosst' in s.toml [target]; did you mean 'target_host'?"
    assert caught.value.message == message


def test_the_document_has_the_blocks_and_the_secrets():
    capture, apply = document(CAPTURE(source_password=SECRET)), document(APPLY(target_url=URL, target_port="6543"))
    assert capture["source"] == {
        "url": None,
        "host": "localhost",
        "port": 5432,
        "user": "postgres",
        "password": SECRET,
        "database": "postgres",
        "tls": "preferred",
        "ca_location": None,
    }
    assert (apply["target"]["url"], apply["target"]["port"]) == (URL, 6543)
    assert "target" not in capture
    assert not [name for name in {*capture, *apply} if name.startswith(("source_", "target_", "mapping_"))]
    assert capture["mapping"] == apply["mapping"] == EMPLOYEES.model_dump()


def test_the_mapping_of_the_original_is_built_in():
    mapping = document(APPLY())["mapping"]
    assert (mapping["key"], mapping["id_field"], mapping["action_field"]) == (["emp_id"], "action_id", "action")
    assert [(column["name"], column["type"], column["field"]) for column in mapping["columns"]] == [
        ("emp_id", "integer", "emp_id"),
        ("first_name", "varchar(100)", "emp_FN"),
        ("last_name", "varchar(100)", "emp_LN"),
        ("dob", "date", "emp_dob"),
        ("city", "varchar(100)", "emp_city"),
        ("salary", "integer", "emp_salary"),
    ]
    assert [column["name"] for column in mapping["columns"] if column["required"]] == [
        "emp_id",
        "first_name",
        "last_name",
    ]


@pytest.mark.parametrize(("name", "text"), [("s.toml", MAPPING), ("s.yaml", YAML)])
def test_a_file_has_a_mapping_that_serves_both_sides(name, text):
    Path(name).write_text(text)
    assert document(CAPTURE(config_file=name))["mapping"] == document(APPLY(config_file=name))["mapping"] == OTHER
    assert csv_to_kafka.Config(files="a.csv", config_file=name).files == ["a.csv"]


def test_a_mapping_may_stand_in_the_table_of_one_pipeline():
    Path("s.toml").write_text(MAPPING.replace("mapping", "cdc_to_postgres.mapping"))
    assert document(APPLY(config_file="s.toml"))["mapping"] == OTHER
    assert document(CAPTURE(config_file="s.toml"))["mapping"] == EMPLOYEES.model_dump()


def test_a_mapping_is_given_as_an_argument_or_as_json(monkeypatch, invoke):
    given = {"key": "tenant,id", "columns": COLUMNS, "id_column": "seq"}
    assert document(APPLY(mapping=given))["mapping"] == OTHER
    assert document(APPLY(mapping=Mapping.model_validate(OTHER)))["mapping"] == OTHER
    text = json.dumps(given)
    configs = []
    monkeypatch.setattr(cdc_to_postgres, "init_db", lambda config: configs.append(config) or DatabaseReport("P", "d"))
    result = invoke("init-db", "cdc-to-postgres", "--mapping", text)
    assert result.exit_code == 0, result.output
    assert document(configs[0])["mapping"] == OTHER
    monkeypatch.setenv("PIPELINE_CORE_MAPPING", text)
    assert document(CAPTURE())["mapping"] == OTHER


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("VARCHAR ( 100 )", "varchar(100)"),
        ("character varying(7)", "varchar(7)"),
        ("int", "integer"),
        ("Int8", "bigint"),
        ("double  precision", "double precision"),
        ("timestamp with time zone", "timestamptz"),
        ("timestamp(3) without time zone", "timestamp(3) without time zone"),
        ("numeric(10 , 2)", "numeric(10,2)"),
        ("text[]", "text[]"),
        ("inventory.mood", "inventory.mood"),
    ],
)
def test_types_are_called_as_postgresql_calls_them(text, kind):
    mapping = APPLY(mapping={"key": "a", "columns": [{"name": "a", "type": text}]}).mapping
    assert mapping.columns[0].type == kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": []}, "Setting 'mapping.key': Give at least one"),
        ({"columns": []}, "Setting 'mapping.columns': Give at least one"),
        ({"key": "tenant,idd"}, "Setting 'mapping': The key 'idd' is none of the columns; did you mean 'id'?"),
        ({"key": "id,id"}, "Setting 'mapping': The name 'id' stands for two things"),
        ({"columns": [*COLUMNS, COLUMNS[0]]}, "Setting 'mapping': The name 'tenant' stands for two things"),
        ({"id_column": "price"}, "Setting 'mapping': The name 'price' stands for two things"),
        ({"action_field": "order"}, "Setting 'mapping': The name 'order' stands for two things"),
        ({"id_column": "a; DROP TABLE b"}, "Setting 'mapping.id_column': Write letters, digits, _ and $ only, not"),
        ({"colums": []}, "Setting 'mapping': Unknown name 'colums'; did you mean 'columns'?"),
        ({"columns": [{"type": "text"}]}, "Setting 'mapping.columns[0].name' is missing"),
        (
            {"columns": [COLUMNS[0], {**COLUMNS[1], "typ": "text"}]},
            "Setting 'mapping.columns[1]': Unknown name 'typ'; did you mean 'type'?",
        ),
        (
            {"columns": [{**COLUMNS[0], "type": "text); DROP TABLE employees; --"}]},
            "Setting 'mapping.columns[0].type': Write a type of PostgreSQL such as integer, varchar(100)",
        ),
    ],
)
def test_a_mapping_that_is_none_is_refused_with_its_place(change, message):
    with pytest.raises(SettingsError) as caught:
        APPLY(mapping={**OTHER, **change})
    assert caught.value.message.startswith(message)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["emp_id", "[]", "{", "7"])
def test_text_that_is_no_mapping_is_refused(monkeypatch, text):
    monkeypatch.setenv("PIPELINE_CORE_MAPPING", text)
    with pytest.raises(SettingsError) as caught:
        APPLY()
    message = "Setting 'mapping' (environment PIPELINE_CORE_MAPPING): Write a JSON object, or a table mapping in a"
    assert caught.value.message.startswith(message)


def test_a_mistake_in_a_file_s_mapping_names_the_file():
    Path("s.toml").write_text(MAPPING.replace('"bigint"', '"big-int"'))
    with pytest.raises(SettingsError) as caught:
        CAPTURE(config_file="s.toml")
    assert caught.value.message.startswith("Setting 'mapping.columns[1].type' (s.toml [mapping]): Write a type")
    Path("s.toml").write_text(MAPPING.replace('name = "id"\n', ""))
    with pytest.raises(SettingsError, match=r"'mapping\.columns\[1\]\.name' \(s\.toml \[mapping\]\) is missing"):
        CAPTURE(config_file="s.toml")


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (CAPTURE, {"table": "emp_cdc; DROP TABLE x"}, "Setting 'table': Write a name, or schema.name"),
        (CAPTURE, {"snapshot_table": "a.b.c"}, "Setting 'snapshot_table': Write a name, or schema.name"),
        (CAPTURE, {"table": "x" * 64}, "Setting 'table'"),
        (CAPTURE, {"position": -1}, "Setting 'position'"),
        (CAPTURE, {"position": 7, "restart": True}, "Setting 'restart' excludes 'position'"),
        (CAPTURE, {"batch_size": 0}, "Setting 'batch_size'"),
        (CAPTURE, {"source_tls": "maybe"}, "Setting 'source_tls'"),
        (APPLY, {"target_port": 0}, "Setting 'target_port'"),
        (APPLY, {"metrics_port": 65_536}, "Setting 'metrics_port'"),
        (APPLY, {"connections": 17}, "Setting 'connections'"),
        (APPLY, {"dlq_format": "xml"}, "Setting 'dlq_format'"),
        (APPLY, {"tombstone_days": 0}, "Setting 'tombstone_days'"),
        (APPLY, {"max_rejected_share": 1.1}, "Setting 'max_rejected_share'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_tried(config, settings, message):
    with pytest.raises(SettingsError) as caught:
        config(**settings)
    assert message in caught.value.message


def test_a_table_may_be_named_with_its_schema():
    assert CAPTURE(table="hr.emp_cdc", position=0).table == "hr.emp_cdc"


@pytest.mark.parametrize(
    "url", [f"postgres:{SECRET}@db", f"mysql://a:{SECRET}@db", f"postgresql://a:{SECRET}@", SECRET]
)
def test_a_wrong_url_is_refused_and_not_shown(url, monkeypatch, invoke):
    with pytest.raises(SettingsError) as caught:
        CAPTURE(source_url=url)
    assert caught.value.message == "Setting 'source_url': Write it as postgresql://user:password@host:port/database"
    monkeypatch.setenv("TARGET_URL", url)
    result = invoke("config", "show", "cdc-to-postgres")
    assert result.exit_code == 2
    assert SECRET not in str(caught.value) + repr(caught.value) + result.output


@pytest.mark.parametrize("password", [SECRET, f"a/{SECRET}", f"a@{SECRET}@b", f"a?{SECRET}#", f":{SECRET}:"])
def test_no_secret_is_ever_shown(password, monkeypatch, invoke):
    url = f"postgres://postgres:{password}@db.example:5432/postgres"
    config = APPLY(target_url=url, target_password=SECRET)
    assert SECRET not in repr(config) + str(config)
    assert pickle.loads(pickle.dumps(config)) == config
    monkeypatch.setenv("TARGET_URL", url)
    monkeypatch.setenv("SOURCE_PASSWORD", SECRET)
    shown = invoke("config", "show").output
    assert "postgres://***@db.example:5432/postgres" in shown
    assert re.search(r"source_password +\*{8} +environment SOURCE_PASSWORD", shown)
    monkeypatch.setenv("PIPELINE_CORE_CONNECTIONS", "many")
    assert SECRET not in shown + invoke("config", "show").output + invoke("cdc-to-postgres").output


def test_init_db_tells_what_it_made(invoke, monkeypatch):
    configs = []

    def init_db(config):
        configs.append(config)
        return DatabaseReport("PostgreSQL 17.2", "postgres", ["employees", "emp_cdc"], None, ["CREATE TABLE …"] * 3)

    monkeypatch.setattr(postgres_to_kafka, "init_db", init_db)
    result = invoke("init-db", "postgres-to-kafka", "--source-url", URL, "--snapshot-table", "staff")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "postgres on PostgreSQL 17.2: 2 created",
        "  created     employees",
        "  created     emp_cdc",
        "  statements  3",
    ]
    assert (configs[0].source_url, configs[0].snapshot_table) == (URL, "staff")


def test_one_line_says_how_changes_are_going():
    console = Console(force_terminal=True, width=200, record=True, color_system=None)
    live = {"duplicates": 2, "dead_letters": 3, "lag": 1200, "transaction_seconds": 0.0124}
    with Bar("bf_employee_cdc", console) as bar:
        bar(Stats(rows_read=1005, rows_written=1000, rows_rejected=3, live=live))
    assert "1,000 processed, 3 failed, 2 duplicates, 3 DLQ, 0/s, lag 1,200, transaction 12 ms" in console.export_text()
