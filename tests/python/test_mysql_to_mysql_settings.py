"""The settings and commands of `mysql-to-mysql`: names, tasks, what is refused, and secrets that stay hidden."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from tests.python.support.children import run
from tests.python.support.migrations import Migration, one, source, tag
from typer.testing import CliRunner

from pipeline_core import mysql_to_mysql
from pipeline_core.check import check
from pipeline_core.cli import application
from pipeline_core.exceptions import AccessDeniedError, SettingsError

CONFIG = mysql_to_mysql.Config
SECRET = "pa/ss@w#rd-of-nobody"
TASK = {
    "source": "a",
    "key": "id",
    "target": "b",
    "target_key": "id",
    "columns": [{"name": "title", "column": "names", "path": "zh"}],
}


@pytest.fixture(autouse=True)
def _quiet(no_settings) -> None:
    """No setting of this machine."""


def test_the_databases_of_the_original_are_the_defaults() -> None:
    config = CONFIG()
    assert (config.source_host, config.source_port, config.source_user) == ("localhost", 3306, "root")
    assert (config.source_database, config.target_database, config.task) == ("info", "nfsc", "nfsc_task")


def test_the_environment_sets_both_servers(monkeypatch) -> None:
    for side in ("SOURCE", "TARGET"):
        monkeypatch.setenv(f"{side}_MYSQL_HOST", f"{side}.example")
        monkeypatch.setenv(f"{side}_MYSQL_PASSWORD", "123")
        monkeypatch.setenv(f"{side}_MYSQL_DATABASE", f"{side}_db")
        monkeypatch.setenv(f"{side}_HOST", "of-another-pipeline")
    config = CONFIG()
    assert (config.source_host, config.target_host) == ("SOURCE.example", "TARGET.example")
    assert (config.source_database, config.target_database) == ("SOURCE_db", "TARGET_db")
    assert json.loads(config.document())["source"]["password"] == "123"


@pytest.mark.parametrize(
    ("url", "given", "database"),
    [
        ("mysql://u:p@h:3306", {}, "info"),
        ("mysql://u:p@h:3306/", {}, "info"),
        ("mysql://u:p@h:3306/old", {}, "old"),
        ("mysql://u:p@h/old?ssl-mode=DISABLED", {}, "old"),
        ("mysql://u:p@h:3306/old", {"source_database": "mine"}, "mine"),
    ],
)
def test_a_url_may_name_the_database(url, given, database) -> None:
    config = CONFIG(source_url=url, **given)
    assert config.source_database == database
    assert "/old" not in (config.source_url or "")


def test_a_url_of_another_system_is_refused() -> None:
    with pytest.raises(SettingsError, match="'source_url': Write it as mysql://user:password@host:port"):
        CONFIG(source_url="postgresql://h/x")


@pytest.mark.parametrize("ending", ["toml", "yaml"])
def test_tasks_stand_in_a_settings_file(tmp_path, ending) -> None:
    file = tmp_path / f"tasks.{ending}"
    if ending == "toml":
        file.write_text(
            "[mysql_to_mysql.tasks.mine]\nsource = 'a'\nkey = 'id'\ntarget = 'b'\ntarget_key = 'id'\n"
            "columns = [{name = 'title', column = 'names', path = 'zh'}]\n"
            "[source]\nhost = 'old'\n[target]\nhost = 'new'\n"
        )
    else:
        file.write_text(json.dumps({"tasks": {"mine": TASK}, "source": {"host": "old"}, "target": {"host": "new"}}))
    config = CONFIG(config_file=file)
    assert str(config.tasks["mine"]) == "a to b"
    assert (config.source_host, config.target_host) == ("old", "new")


def test_tasks_stand_in_the_environment_and_in_flags_as_json(monkeypatch) -> None:
    text = json.dumps({"mine": TASK})
    assert str(CONFIG(tasks=[text]).tasks) == str(CONFIG(tasks=text).tasks) == str(CONFIG(tasks={"mine": TASK}).tasks)
    monkeypatch.setenv("PIPELINE_CORE_TASKS", text)
    assert [*CONFIG().tasks] == ["mine"]
    monkeypatch.setenv("PIPELINE_CORE_TASKS", "[1]")
    with pytest.raises(SettingsError, match="Write a JSON object, or a table tasks in a settings file"):
        CONFIG()


WRONG = {
    "no key": ({"key": None}, "tasks.mine.key"),
    "an unknown name": ({"sources": "a"}, "Unknown name 'sources'; did you mean 'source'?"),
    "a value of nothing": ({"columns": [{"name": "x"}]}, "'x' needs either a column or a constant"),
    "two values": ({"columns": [{"name": "x", "column": "a", "constant": 1}]}, "'x' needs either a column"),
    "a column twice": ({"columns": [{"name": "id", "column": "a"}]}, "The column 'id' is named twice"),
    "no such table": ({"columns": [{"name": "x", "column": "a", "of": "tags"}]}, "'tags' is no table beside"),
    "a negative element": ({"columns": [{"name": "x", "column": "a", "element": -1}]}, r"columns\[0\].element"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_task_that_makes_no_sense_is_refused_with_its_place(case) -> None:
    changed, message = WRONG[case]
    with pytest.raises(SettingsError, match=r"Setting 'tasks\.mine") as raised:
        CONFIG(tasks={"mine": {**TASK, **changed}})
    raised.match(message.replace("?", r"\?"))


@pytest.mark.parametrize(
    ("given", "message"),
    [({"chunk_rows": 0}, "chunk_rows"), ({"on_rejected": "ignore"}, "on_rejected"), ({"task": ""}, "task")],
)
def test_wrong_values_are_refused(given, message) -> None:
    with pytest.raises(SettingsError, match=f"Setting '{message}'"):
        CONFIG(**given)


def test_secrets_are_never_shown(mariadb) -> None:
    url = mariadb.url.replace("pipeline-secret", quote(SECRET, safe=""))
    config = CONFIG(source_url=url, target_url=url, source_password=SECRET, target_password=SECRET)
    told = [repr(config), str(config), *(f"{one.detail} {one.hint}" for one in check(config))]
    for work in (mysql_to_mysql.run, mysql_to_mysql.init_db):
        with pytest.raises(AccessDeniedError) as raised:
            work(config)
        told.append(f"{raised.value} {raised.value.hint}")
    assert not [text for text in told if SECRET in text or quote(SECRET, safe="") in text]
    with pytest.raises(SettingsError) as refused:
        CONFIG(source_url=f"postgresql://u:{SECRET}@h")
    assert SECRET not in str(refused.value)


def test_a_wrong_password_is_an_error_of_access(mariadb) -> None:
    with pytest.raises(AccessDeniedError) as raised:
        mysql_to_mysql.run(source_url=mariadb.url.replace("pipeline-secret", "wrong-secret"), target_url=mariadb.url)
    assert "wrong-secret" not in str(raised.value)


def test_init_db_makes_what_is_missing_and_leaves_what_is_there(mariadb, tmp_path) -> None:
    migration = Migration(mariadb, tmp_path)
    given = {"target_url": mariadb.url, "target_database": migration.target}
    first = mysql_to_mysql.init_db(**given)
    assert first.created[0] == migration.target
    assert {name.partition(".")[2] for name in first.created[1:]} == {
        "nfsc_info_list",
        "nfsc_info_type",
        "nfsc_information_section_list",
        "nfsc_project_type",
        "nfsc_resource_source",
    }
    migration.query("ALTER TABLE nfsc_info_list ADD mine INT")
    migration.query("DROP TABLE nfsc_info_type")
    second = mysql_to_mysql.init_db(**given)
    assert second.created == [f"{migration.target}.nfsc_info_type"]
    assert "mine" in {row["Field"] for row in migration.query("SHOW COLUMNS FROM nfsc_info_list")}
    assert mysql_to_mysql.init_db(**given).statements == []


def test_the_commands_work_and_say_what_they_need(mariadb, tmp_path) -> None:
    migration = Migration(mariadb, tmp_path)
    migration.make_source()
    migration.put("resource_source", source())
    migration.put("information_list", one("i1"), one("i2"))
    migration.put("information_tags_relationship", tag("i1"), tag("i2", "['x', 'y']"))
    given = {"environment": migration.environment, "target_database": migration.target}
    both = {**given, "source_database": migration.source}
    failed = run(tmp_path, "check mysql-to-mysql", **both)
    assert failed.code == 1
    assert "FAILED  tables" in failed.out
    assert run(tmp_path, "init-db mysql-to-mysql", **given).code == 0
    checked = run(tmp_path, "check mysql-to-mysql", **both)
    assert checked.code == 0, checked.out
    assert [line.split()[:2] for line in checked.out.splitlines()] == [
        ["ok", name] for name in ("source", "target", "tables")
    ]
    migration.put("nfsc_info_type", {"info_type_id": 3, "info_type_name": "通知"}, database=migration.target)
    dry = run(tmp_path, "mysql-to-mysql", dry_run=True, **both)
    assert dry.code == 0, dry.err
    assert migration.rows("nfsc_info_list") == {}
    done = run(tmp_path, "mysql-to-mysql", task="nfsc_task", json=True, **both)
    assert done.code == 0, done.err
    assert done.report["details"]["rejected"][0]["key"] == "i2"
    assert "a row was refused" in done.err
    unknown = run(tmp_path, "mysql-to-mysql", task="other", log_format="json", **both)
    assert (unknown.code, unknown.error["kind"]) == (2, "settings")
    assert "there are: nfsc_task" in unknown.error["event"]
    stopped = run(tmp_path, "mysql-to-mysql", on_rejected="stop", log_format="json", **both)
    assert (stopped.code, stopped.error["kind"]) == (1, "rejected")
    for ended in (failed, checked, dry, done, unknown, stopped):
        assert "pipeline-secret" not in ended.out + ended.err
    told = CliRunner().invoke(application(), ["mysql-to-mysql", "--help"], env={"COLUMNS": "200"}).output
    assert "--dry-run" in told
    assert "SOURCE_MYSQL_URL" in told
    assert "--source-password" not in told
