"""Whether a pipeline could run, found out without moving anything."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline_core import EmbeddedKafka, csv_to_kafka, kafka_to_parquet, read_batches
from pipeline_core.check import check
from pipeline_core.cli import application

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture(scope="module")
def broker():
    with EmbeddedKafka() as kafka:
        kafka.create_topic("orders", partitions=3)
        yield kafka


def outcomes(config):
    return {item.name: item.ok for item in check(config)}


def test_what_works_is_told_and_nothing_is_moved(broker, no_settings):
    (no_settings / "orders.csv").write_text("Order Id\n1\n")
    where = {"topic": "orders", "bootstrap_servers": broker.bootstrap_servers}
    assert outcomes(csv_to_kafka.Config(files="orders.csv", **where)) == {"files": True, "broker": True, "topic": True}
    assert outcomes(kafka_to_parquet.Config(to="lake", **where)) == {"broker": True, "topic": True, "store": True}
    assert list(read_batches(**where)) == []
    assert not list(no_settings.rglob("*.parquet"))


def test_what_does_not_work_fails_the_command(broker):
    options = ["orders.csv", "--topic", "orders", "--bootstrap-servers", broker.bootstrap_servers, "--json"]
    result = CliRunner().invoke(application(), ["check", "csv-to-kafka", *options])
    assert result.exit_code == 1
    (files,) = (item for item in json.loads(result.stdout) if item["name"] == "files")
    assert not files["ok"]
    assert "orders.csv" in files["detail"]


def test_the_command_says_ok(broker, no_settings):
    (no_settings / "orders.csv").write_text("Order Id\n1\n")
    options = ["orders.csv", "--topic", "orders", "--bootstrap-servers", broker.bootstrap_servers]
    result = CliRunner().invoke(application(), ["check", "csv-to-kafka", *options])
    assert result.exit_code == 0, result.output
    assert "ok      broker" in result.stdout
