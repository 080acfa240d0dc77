"""`pipeline-core run`: pipelines side by side, restarted, drained together, each with its own log."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from tests.python.support import data, topics
from tests.python.support.children import Child, run, wait_until
from tests.services.process import free_ports

from pipeline_core import Stop, kafka_to_parquet, verify
from pipeline_core.exceptions import SettingsError
from pipeline_core.plan import Plan
from pipeline_core.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

ROWS = 20_000
DRAIN_SECONDS = 10


def toml(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value)


def written(folder: Path, defaults: Mapping[str, Any], **tables: Mapping[str, Any]) -> Path:
    """A file of pipelines."""
    parts = {"defaults": defaults, **{f"pipelines.{name}": table for name, table in tables.items()}}
    lines: list[str] = []
    for name, table in parts.items():
        lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
    folder.mkdir(exist_ok=True)
    path = folder / "pipelines.toml"
    path.write_text("\n".join(lines))
    return path


def supply_chain(folder: Path, kafka: Any, **consumer: Any) -> tuple[Path, str]:
    """The producer and the consumer of the supply chain; the file and the topic."""
    topic = kafka.new_topic(3)
    orders = data.dataco(folder, ROWS)
    defaults = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    producer = {"pipeline": "csv_to_kafka", "files": orders, "encoding": "latin-1"}
    given = {"pipeline": "kafka-to-parquet", "to": folder / "lake", "group_id": topic, **consumer}
    return written(folder, defaults, producer=producer, consumer=given), topic


def outcomes(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {outcome["name"]: outcome for outcome in report["outcomes"]}


def test_producer_and_consumer_run_together_each_with_its_own_log(kafka, tmp_path):
    _, topic = supply_chain(tmp_path, kafka, until=f"{ROWS}rows")
    ended = run(tmp_path, "run pipelines.toml", json=True)
    assert ended.code == 0, ended.err[-3000:]
    found = outcomes(ended.report)
    assert list(found) == ["producer", "consumer"]
    for outcome in found.values():
        assert (outcome["status"], outcome["restarts"], outcome["report"]["rows_written"]) == ("complete", 0, ROWS)
    checked = verify(tmp_path / "lake", topic=topic, bootstrap_servers=kafka.bootstrap)
    assert (checked.ok, checked.rows) == (True, ROWS), checked
    ids = [
        number
        for path in (tmp_path / "lake").rglob("*.parquet")
        for number in pq.read_table(path, columns=["Order Item Id"])["Order Item Id"].to_pylist()
    ]
    assert len(set(ids)) == len(ids) == ROWS
    logs = {name: (tmp_path / "logs" / f"{name}.log").read_text() for name in found}
    for line in ("Starting csv_to_kafka", "sent a file", "csv_to_kafka complete"):
        assert line in logs["producer"]
        assert line not in logs["consumer"]
    for line in ("Starting kafka_to_parquet", "reading a partition", "wrote an object", "kafka_to_parquet complete"):
        assert line in logs["consumer"]
        assert line not in logs["producer"]
    assert "consumer: reading a partition" in ended.err
    assert json.loads((tmp_path / "logs" / "consumer.json").read_text()) == found["consumer"]


def test_a_pipeline_that_fails_is_started_again(kafka, tmp_path):
    topic = f"late-{tmp_path.name}-{time.time_ns()}"
    given = {"pipeline": "kafka_to_parquet", "to": tmp_path / "lake", "until": "1rows", "group_id": topic}
    restarts = {"restart": "on-failure", "restart_seconds": "200ms"}
    defaults = {"topic": topic, "bootstrap_servers": kafka.bootstrap, **restarts}
    written(tmp_path, defaults, consumer=given)
    with Child(tmp_path, "run pipelines.toml", json=True) as child:
        child.wait_for("There is no topic")
        child.wait_for("Starting it again")
        admin = AdminClient({**kafka.properties(), **topics.QUIET})
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
        topics.send(kafka, topic, [b'{"a": "1"}'])
        ended = child.wait()
    assert ended.code == 0, ended.err[-3000:]
    consumer = outcomes(ended.report)["consumer"]
    assert consumer["status"] == "complete"
    assert consumer["restarts"] > 0


@pytest.mark.parametrize(
    ("restarts", "wrong", "code", "count"),
    [
        ({}, {"files": "nowhere.csv"}, 1, 0),
        ({"restart": "on-failure", "max_restarts": 2, "restart_seconds": 0.1}, {"files": "nowhere.csv"}, 1, 2),
        ({"restart": "always"}, {"encoding": "klingon"}, 2, 0),
    ],
)
def test_a_pipeline_that_fails_for_good_ends_the_others_which_drain(kafka, tmp_path, restarts, wrong, code, count):
    orders = data.dataco(tmp_path, 10)
    defaults = {"topic": kafka.new_topic(), "bootstrap_servers": kafka.bootstrap}
    consumer = {"pipeline": "kafka_to_parquet", "to": tmp_path / "lake", "group_id": defaults["topic"]}
    producer = {"pipeline": "csv_to_kafka", "files": orders, **restarts, **wrong}
    plan = Plan.from_file(written(tmp_path, defaults, producer=producer, consumer=consumer), tmp_path / "logs")
    report = Supervisor(plan).run()
    first, second = report.outcomes
    assert (first.status, first.exit_code, first.restarts) == ("failed", code, count)
    assert (second.status, second.exit_code) == ("stopped", 0)
    assert (report.exit_code, "1 failed" in report.heading()) == (code, True)
    assert first.error in repr(report)


def test_ctrl_c_drains_all_of_them(kafka, tmp_path):
    path, topic = supply_chain(tmp_path, kafka)
    path.write_text(path.read_text().replace('pipeline = "csv_to_kafka"', 'pipeline = "csv_to_kafka"\nrate = 500'))
    with Child(tmp_path, "run pipelines.toml", json=True) as child:
        child.wait_for("consumer: reading a partition")
        wait_until(lambda: len(topics.messages(kafka, topic)) > 500, "rows are on the topic")
        began = time.monotonic()
        child.send(signal.SIGINT)
        ended = child.wait()
    assert ended.code == 130, ended.err[-3000:]
    assert time.monotonic() - began < DRAIN_SECONDS
    found = outcomes(ended.report)
    assert {outcome["status"] for outcome in found.values()} == {"stopped"}
    for outcome in found.values():
        assert outcome["report"]["rows_read"] == outcome["report"]["rows_written"] > 0
    # What the producer sent after the consumer had ended is for the next run.
    more = kafka_to_parquet.run(
        to=tmp_path / "lake", topic=topic, group_id=topic, bootstrap_servers=kafka.bootstrap, until="end"
    )
    sent = found["producer"]["report"]["rows_written"]
    assert found["consumer"]["report"]["rows_written"] + more.rows_written == sent
    assert verify(tmp_path / "lake", topic=topic, bootstrap_servers=kafka.bootstrap).ok


def test_a_second_signal_does_not_wait(tmp_path):
    [port] = free_ports(1)
    orders = data.dataco(tmp_path, 10)
    defaults = {"bootstrap_servers": f"127.0.0.1:{port}"}
    written(tmp_path, defaults, producer={"pipeline": "csv_to_kafka", "files": orders})
    with Child(tmp_path, "run pipelines.toml", json=True) as child:
        child.wait_for("Starting csv_to_kafka")
        child.send(signal.SIGTERM)
        child.wait_for("All pipelines drain")
        began = time.monotonic()
        child.send(signal.SIGTERM)
        ended = child.wait()
    assert time.monotonic() - began < 5
    assert ended.code == 143, ended.err[-3000:]
    assert outcomes(ended.report)["producer"]["status"] == "broken off"


def test_a_stop_token_ends_all_of_them(kafka, tmp_path):
    topic = kafka.new_topic()
    defaults = {"topic": topic, "group_id": topic, "bootstrap_servers": kafka.bootstrap}
    given = {"pipeline": "kafka_to_parquet", "to": tmp_path / "lake", "restart": "always"}
    stop = Stop()
    stop.set()
    report = Supervisor(Plan.from_file(written(tmp_path, defaults, consumer=given), tmp_path / "logs"), stop).run()
    assert [(outcome.status, outcome.restarts) for outcome in report.outcomes] == [("stopped", 0)]


CSV = {"pipeline": "csv_to_kafka", "files": "a.csv"}
OF_CSV = "pipeline = 'csv_to_kafka'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "pipelines.toml: Setting 'pipelines' names no pipeline"),
        ("pipeline = 1\n[pipelines.a]", "pipelines.toml: Unknown setting 'pipeline'; did you mean 'pipelines'?"),
        ("logs_dir = 1\n[pipelines.a]", "pipelines.toml: Setting 'logs_dir' must be the path of a folder"),
        ("[pipelines.a]\nfiles = 'a.csv'", "pipelines.toml [pipelines.a]: Setting 'pipeline' is missing"),
        ("[pipelines.a]\npipeline = 'csv'", "[pipelines.a]: Setting 'pipeline': It must be one of bucket_to_kafka, "),
        (
            "[pipelines.a]\npipeline = 'verify'",
            "[pipelines.a]: Setting 'pipeline': It must be one of bucket_to_kafka, ",
        ),
        ("[pipelines]\na = 1", "pipelines.toml [pipelines.a]: It must be a table with the key 'pipeline'"),
        ("[pipelines.'../a']\npipeline = 'csv_to_kafka'", "The name '../a' cannot be that of a file"),
        (
            "[pipelines.a]\npipeline = 'csv_to_kafka'\nfiles = 'a'\nrat = 1",
            "pipelines.toml [pipelines.a]: Unknown setting 'rat'; did you mean 'rate'?",
        ),
        (
            "[pipelines.a]\npipeline = 'csv_to_kafka'\nfiles = 'a'\nrate = -1",
            "pipelines.toml [pipelines.a]: Setting 'rate': It must be greater than 0, not '-1'",
        ),
        ("[pipelines.a]\npipeline = 'csv_to_kafka'", "pipelines.toml [pipelines.a]: Setting 'files' is missing"),
        (
            "[pipelines.a]\npipeline = 'csv_to_kafka'\nfiles = 'a'\nrestart = 'sometimes'",
            "pipelines.toml [pipelines.a]: Setting 'restart': Input should be 'never', 'on-failure' or 'always'",
        ),
        (
            "[defaults]\nbootstrap_server = 'k:1'\n[pipelines.a]\npipeline = 'csv_to_kafka'\nfiles = 'a'",
            "[defaults]: Unknown setting 'bootstrap_server'; did you mean 'bootstrap_servers'?",
        ),
        (
            f"[defaults]\nmetrics_port = 9400\nfiles = 'a'\n[pipelines.a]\n{OF_CSV}\n[pipelines.b]\n{OF_CSV}",
            "[pipelines.b]: Setting 'metrics_port' is 9400 for 'a', too: each needs its own",
        ),
    ],
)
@pytest.mark.usefixtures("no_settings")
def test_a_wrong_file_is_one_error_that_names_the_key(text, said, tmp_path):
    path = tmp_path / "pipelines.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Plan.from_file(path)
    assert said in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_a_table_is_stronger_than_the_environment_and_defaults_are_weaker(no_settings, monkeypatch):
    tables = {"own": {**CSV, "topic": "table"}, "other": CSV}
    path = written(no_settings, {"topic": "defaults", "rate": 5, "restart": "always"}, **tables)
    of = lambda: {job.name: job.config.topic for job in Plan.from_file(path).jobs}  # noqa: E731
    assert of() == {"own": "table", "other": "defaults"}
    monkeypatch.setenv("KAFKA_TOPIC", "environment")
    assert of() == {"own": "table", "other": "environment"}
    jobs = Plan.from_file(path).jobs
    assert [(job.config.rate, job.restarts.restart) for job in jobs] == [(5, "always")] * 2
