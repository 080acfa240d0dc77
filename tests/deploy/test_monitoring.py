"""Prometheus takes our settings and scrapes a run, alerts fire when they should, the dashboard shows what there is."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time

import pytest
import yaml
from tests.architecture.tree import ROOT
from tests.services.process import free_ports

from pipeline_core import Stop, csv_to_kafka, kafka_to_parquet, sample_data

DEPLOY = ROOT / "deploy"
SETTINGS = DEPLOY / "prometheus" / "prometheus.yml"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "pipeline_core.json").read_text())
ALERTS_TEST = ROOT / "tests" / "deploy" / "alerts_test.yml"

METRIC = re.compile(r"(?:pipeline_core|process)_[a-z_]+(?<!_)")
# Only of runs that know them.
OF_SOME = {"pipeline_core_lag_seconds"}


def expressions():
    """What the panels and the variables of the dashboard ask, as Grafana would ask it."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    values = {"$__rate_interval": "1m", "$pipeline": ".+", "$instance": ".+"}
    for name, value in values.items():
        found = [expression.replace(name, value) for expression in found]
    assert not [expression for expression in found if "$" in expression]
    return found


def metrics():
    """Every metric that the dashboard and the alerts name, without the endings of a histogram."""
    text = "\n".join([*expressions(), ALERTS.read_text()])
    names = set(METRIC.findall(text)) - {"pipeline_core"}
    return {name.removesuffix("_bucket") for name in names}


def test_promtool_takes_the_settings_and_the_alerts(check, tmp_path):
    done = check("promtool", "check", "config", SETTINGS)
    assert done.returncode == 0, done.stderr
    assert "4 rules found" in done.stdout
    (tmp_path / "alerts.yml").write_text(ALERTS.read_text().replace("deriv(", "derive("))
    shutil.copy(SETTINGS, tmp_path)
    assert check("promtool", "check", "config", tmp_path / SETTINGS.name).returncode


def test_the_alerts_fire_when_they_should(check, tmp_path):
    for path in (ALERTS, ALERTS_TEST):
        shutil.copy(path, tmp_path)
    done = check("promtool", "test", "rules", tmp_path / ALERTS_TEST.name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested():
    alerts = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert len(alerts) > 3
    assert not [alert for alert in alerts if alert not in ALERTS_TEST.read_text()]


def test_panels_have_numbers_and_places_of_their_own():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_grafana_reads_what_it_is_given_from_prometheus():
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    used = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
    assert used == {source["uid"]}


@pytest.fixture
def scraped(kafka, topic, prometheus, tmp_path):
    """A Prometheus with our settings that scrapes a run every second; and the run's pipeline and port."""
    csv, stop, [port] = tmp_path / "orders.csv", Stop(), free_ports(1)
    sample_data.write(csv, 2000)
    csv_to_kafka.run(files=str(csv), topic=topic, bootstrap_servers=kafka.bootstrap)
    settings = {"topic": topic, "group_id": topic, "to": str(tmp_path / "lake"), "flush_rows": 500}
    config = kafka_to_parquet.Config(**settings, bootstrap_servers=kafka.bootstrap, metrics_port=port)
    run = threading.Thread(target=kafka_to_parquet.run, args=(config,), kwargs={"stop": stop})
    run.start()
    text = yaml.safe_load(SETTINGS.read_text())
    text["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    text["rule_files"] = [str(ALERTS)]
    [job] = text["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    try:
        yield prometheus(yaml.safe_dump(text))
    finally:
        stop.set()
        run.join(60)


def test_prometheus_scrapes_what_the_dashboard_and_the_alerts_ask_for(scraped):
    deadline = time.monotonic() + 60
    while not (found := scraped.ask("query", query="pipeline_core_rows_written_total == 2000")["result"]):
        assert time.monotonic() < deadline, scraped.ask("targets")["activeTargets"]
        time.sleep(0.5)
    assert found[0]["metric"] == {
        "__name__": "pipeline_core_rows_written_total",
        "instance": found[0]["metric"]["instance"],
        "job": "pipeline_core",
        "pipeline": "kafka_to_parquet",
    }
    kinds = scraped.ask("metadata")
    assert len(metrics()) > 10
    assert metrics() - OF_SOME <= set(kinds)
    assert kinds["pipeline_core_rows_written_total"][0]["type"] == "counter"
    assert kinds["pipeline_core_flush_seconds"][0]["type"] == "histogram"
    # A rate needs two scrapes.
    time.sleep(3)
    empty = [ask for ask in expressions() if not scraped.ask("query", query=ask)["result"]]
    assert not [ask for ask in empty if not OF_SOME & set(METRIC.findall(ask))]
    groups = scraped.ask("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
