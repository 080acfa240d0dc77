"""Metrics and health of every pipeline, read as Prometheus and an orchestrator read them."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.python.support import orders as loaded
from tests.python.support import tasks, topics
from tests.python.support.applies import Apply
from tests.python.support.captures import Capture
from tests.python.support.children import Child, wait_until
from tests.python.support.events import Sent, inserted, sent
from tests.python.support.feeds import Feed, numbered
from tests.python.support.fetches import Fetch
from tests.python.support.jobs import Job
from tests.python.support.loads import Load
from tests.python.support.migrations import Migration, one, source, tag
from tests.services.process import free_ports
from tests.services.walmart_orders import order

from pipeline_core import Stop, bucket_to_kafka, csv_to_kafka, kafka_to_parquet, obs_worker
from pipeline_core.exceptions import SettingsError
from pipeline_core.plan import PIPELINES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline_core.report import Report

    Run = Callable[..., Report]

COUNTS = ("rows_read", "rows_written", "rows_rejected", "bytes_read", "bytes_written")
PREFIX = "pipeline_core_"
CSV = "Order Id,City\n1,Ulm\n2,Köln\n3\n"
FROM_KAFKA = {"cdc_to_postgres", "kafka_to_parquet", "obs_worker", "walmart_to_mysql"}
FLUSHING = {"cdc_to_postgres", "csv_to_kafka", "kafka_to_parquet", "walmart_to_mysql"}


def of_csv(use: Any, folder: Path) -> Run:
    kafka = use("kafka")
    (folder / "orders.csv").write_text(CSV)
    given: dict[str, Any] = {"files": folder / "orders.csv", "topic": kafka.new_topic(), "exactly_once": True}
    return lambda **more: csv_to_kafka.run(**{**given, "bootstrap_servers": kafka.bootstrap, **more})


def of_parquet(use: Any, folder: Path) -> Run:
    kafka = use("kafka")
    topic = kafka.new_topic()
    topics.send(kafka, topic, [b'{"a": "1"}', b"no JSON"])
    given: dict[str, Any] = {
        "topic": topic,
        "group_id": topic,
        "to": folder / "lake",
        "flush_seconds": 0.5,
        "until": "end",
    }
    return lambda **more: kafka_to_parquet.run(**{**given, "bootstrap_servers": kafka.bootstrap, **more})


def of_bucket(use: Any, _folder: Path) -> Run:
    kafka, s3, bucket = use("kafka"), use("s3"), use("bucket")
    tasks.put(s3, bucket, ["a.csv", "b.csv"])
    given = tasks.where(kafka, s3, kafka.new_topic(), bucket)
    return lambda **more: bucket_to_kafka.run(**{**given, **more})


def of_worker(use: Any, folder: Path) -> Run:
    job = Job(use("kafka"), use("s3"), folder)
    job.s3.client().put_object(Bucket=job.source, Key="a.csv", Body=b"a,b\n1,2\n")
    job.send(b"no task", keys=["a.csv"])
    given = {name: value for name, value in job.settings.items() if name not in {"json", "log_format"}}
    given |= {"parser": "csv", "download_dir": folder / "in", "upload_dir": folder / "out"}
    return lambda **more: obs_worker.run(**{**given, **more})


def of_orders(use: Any, folder: Path) -> Run:
    before = datetime.now(timezone.utc) - timedelta(minutes=30)
    fetch = Fetch(use("kafka"), use("walmart_api")([order(number, before) for number in range(3)]), folder)
    return lambda **more: fetch.run(follow=True, until="end", **more)


def of_load(use: Any, folder: Path) -> Run:
    load = Load(use("kafka"), use("mariadb"), folder)
    load.init()
    load.send(*loaded.sample()[:5], (b"k", b"no JSON"))
    return load.run


def of_changes(use: Any, folder: Path) -> Run:
    apply = Apply(use("kafka"), use("target_postgres"), folder)
    apply.init()
    apply.send(*sent(*(inserted(number, number) for number in range(1, 6))), Sent(b"1", b"no JSON"))
    return apply.run


def of_capture(use: Any, folder: Path) -> Run:
    capture = Capture(use("kafka"), use("source_postgres"), folder)
    capture.init()
    capture.query("INSERT INTO employees (emp_id, first_name, last_name) VALUES (1, 'Ann', 'Lee'), (2, 'Bo', 'Li')")
    return capture.run


def of_documents(use: Any, folder: Path) -> Run:
    feed = Feed(use("kafka"), use("mongodb"), folder, settings={"lag_seconds": 0.1})
    feed.insert(*numbered(3))
    return feed.run


def of_items(use: Any, folder: Path) -> Run:
    migration = Migration(use("mariadb"), folder)
    migration.init()
    migration.put("resource_source", source())
    migration.put("information_list", one("i1"), one("i2"))
    migration.put("information_tags_relationship", tag("i1"), tag("i2"))
    return migration.run


PREPARED = {
    "bucket_to_kafka": of_bucket,
    "cdc_to_postgres": of_changes,
    "csv_to_kafka": of_csv,
    "kafka_to_parquet": of_parquet,
    "mongo_to_kafka": of_documents,
    "mysql_to_mysql": of_items,
    "obs_worker": of_worker,
    "postgres_to_kafka": of_capture,
    "walmart_to_kafka": of_orders,
    "walmart_to_mysql": of_load,
}


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def scraped(port: int, pipeline: str) -> dict[str, float]:
    """What a scrape gives, each sample under its name; buckets with their end."""
    status, text = ask(port, "/metrics")
    assert status == 200
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.type in {"counter", "gauge", "histogram"}, family
        assert family.documentation, family
        for sample in family.samples:
            assert sample.labels.pop("pipeline") == pipeline
            samples["".join([sample.name, *sample.labels.values()])] = sample.value
    return samples


def test_no_pipeline_is_without_metrics():
    assert set(PREPARED) == set(PIPELINES)


@pytest.mark.parametrize("pipeline", PREPARED)
def test_a_scrape_at_the_end_tells_what_the_report_tells(pipeline, request, tmp_path):
    run = PREPARED[pipeline](request.getfixturevalue, tmp_path)
    [port] = free_ports(1)
    seen: list[dict[str, float]] = []
    report = run(metrics_port=port, on_progress=lambda _: seen.append(scraped(port, pipeline)))
    assert (report.status, report.rows_written > 0) == ("complete", True), report
    last = seen[-1]
    assert {name: last[f"{PREFIX}{name}_total"] for name in COUNTS} == {name: getattr(report, name) for name in COUNTS}
    letters = 0 if pipeline == "mysql_to_mysql" else report.rows_rejected
    assert last[f"{PREFIX}dead_letters_total"] == report.details.get("dead_letters", letters) == letters
    assert last["process_resident_memory_bytes"] > 10_000_000
    assert (last[f"{PREFIX}flush_seconds_count"] > 0) == (pipeline in FLUSHING)
    assert (last[f"{PREFIX}transaction_seconds_count"] > 0) == (pipeline != "kafka_to_parquet")
    for name in ("flush_seconds", "transaction_seconds"):
        assert last[f"{PREFIX}{name}_bucket+Inf"] == last[f"{PREFIX}{name}_count"]
    with pytest.raises(OSError, match="refused"):
        ask(port, "/metrics")


@pytest.mark.parametrize("pipeline", sorted(FROM_KAFKA))
def test_lag_is_told_where_the_source_is_kafka(pipeline, request, tmp_path):
    run = PREPARED[pipeline](request.getfixturevalue, tmp_path)
    [port] = free_ports(1)
    lags: list[float | None] = []
    stop = Stop()

    def tell(_: object) -> None:
        lags.append(scraped(port, pipeline).get(f"{PREFIX}lag"))
        if lags[-1] == 0:
            stop.set()

    report = run(metrics_port=port, on_progress=tell, stop=stop, until="60s")
    assert (report.status, lags[-1]) == ("stopped", 0), lags


def test_a_port_that_is_taken_is_a_wrong_setting(request, tmp_path):
    run = of_csv(request.getfixturevalue, tmp_path)
    [port] = free_ports(1)

    def again(_: object) -> None:
        with pytest.raises(SettingsError, match=f"Metrics cannot be served at 127.0.0.1:{port}") as caught:
            run(metrics_port=port)
        assert "metrics_port" in str(caught.value.hint)

    run(metrics_port=port, on_progress=again)


def test_a_run_is_ready_while_it_has_a_partition_and_moves(own_kafka, tmp_path):
    """Not before it has a partition; while there is nothing to read, too; and not without Kafka."""
    kafka = own_kafka.plain
    topic = kafka.new_topic()
    [port] = free_ports(1)
    given = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "to": str(tmp_path / "lake"), "group_id": topic}
    with Child(tmp_path, "kafka-to-parquet", metrics_port=port, metrics_ready_seconds=20, **given) as child:
        child.wait_for("serving metrics")
        seen = [ask(port, "/health/ready")]
        assert ask(port, "/health/live")[0] == 200
        wait_until(lambda: seen.append(ask(port, "/health/ready")) or seen[-1][0] == 200, "it is ready")
        # Before the group let it in, it was not.
        assert [status for status, _ in seen[:-1]] == [503] * (len(seen) - 1)
        assert json.loads(seen[-1][1])["status"] == "ready"
        time.sleep(3)
        assert ask(port, "/health/ready")[0] == 200
        own_kafka.server.kill()
        wait_until(lambda: ask(port, "/health/ready")[0] == 503, "it is not ready without a broker")
        assert "not connected" in json.loads(ask(port, "/health/ready")[1])["reason"]
        assert ask(port, "/health/live")[0] == 200
        assert ask(port, "/nothing")[0] == 404
