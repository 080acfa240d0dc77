"""Kafka that goes away while a producer and a sink run: both carry on by themselves, nothing lost, nothing twice."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.python.support import data, oracle, topics
from tests.python.support.children import Child, succeed, wait_until
from tests.python.support.files import File
from tests.python.support.jobs import Job
from tests.python.support.places import Place

from pipeline_core import verify

if TYPE_CHECKING:
    from tests.services.kafka import Broker
    from tests.services.process import Server
    from tests.services.s3 import S3

# More than is sent until the last trouble is over, however slow the machine is.
ROWS = 150_000
ROWS_PER_SECOND = 1_000


def restart(server: Server) -> None:
    server.restart()


def power_cut(server: Server) -> None:
    server.kill()
    time.sleep(2)
    server.start()


def freeze(server: Server) -> None:
    server.pause()
    time.sleep(4)
    server.resume()


def test_both_carry_on_by_themselves_each_time_the_broker_comes_back(own_kafka: Broker, tmp_path) -> None:
    kafka = own_kafka.plain
    csv = data.narrow(tmp_path / "orders.csv", ROWS)
    topic = kafka.new_topic(partitions=3)
    place = Place(str(tmp_path / "lake"))
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    sending = {**where, "key": "id", "exactly_once": True, "resume": True}
    sending |= {"transaction_rows": 1000, "transaction_seconds": 0.5}
    taking = {**where, "to": place.url, "group_id": topic, "flush_rows": 500, "idle_seconds": 1}
    with (
        Child(tmp_path, f"csv-to-kafka {csv}", rate=ROWS_PER_SECOND, **sending) as producer,
        Child(tmp_path, "kafka-to-parquet", session_timeout_seconds=6, **taking) as sink,
    ):
        for trouble in (restart, power_cut, freeze):
            more = len(place.names()) + 5
            wait_until(lambda more=more: len(place.names()) >= more or not sink.is_running, "data flows")
            assert producer.is_running, producer.said
            trouble(own_kafka.server)
        more = len(place.names()) + 5
        wait_until(lambda: len(place.names()) >= more or not sink.is_running, "data flows again")
        producer.send(signal.SIGTERM)
        sent = producer.wait()
        assert sent.code == 143, sent.err
        succeed(tmp_path, f"csv-to-kafka {csv}", **sending)
        wait_until(lambda: verify(place.url, **where).ok or not sink.is_running, "the sink has all", 60)
        sink.send(signal.SIGTERM)
        taken = sink.wait(30)
    assert taken.code == 143, taken.err
    oracle.assert_each_row_once(place, *oracle.csv_rows(csv, encoding="utf-8"), topics.messages(kafka, topic))


def test_a_transaction_that_outlived_its_time_is_sent_again(own_kafka: Broker, tmp_path) -> None:
    """A broker that is away for longer than a transaction may take costs the transaction, not the run."""
    kafka = own_kafka.plain
    csv = data.narrow(tmp_path / "orders.csv", 24_000)
    topic = kafka.new_topic(partitions=3)
    sending = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "key": "id", "exactly_once": True, "json": True}
    sending |= {"rate": ROWS_PER_SECOND, "transaction_seconds": 0.5, "properties": {"transaction.timeout.ms": 5000}}
    with Child(tmp_path, f"csv-to-kafka {csv}", **sending) as producer:
        wait_until(lambda: len(topics.messages(kafka, topic)) > 1000, "rows are committed")
        own_kafka.server.pause()
        time.sleep(10)
        own_kafka.server.resume()
        sent = producer.wait()
    assert sent.code == 0, sent.err
    assert "a transaction was aborted" in sent.err
    assert sent.report["rows_written"] == sent.report["details"]["files"][0]["rows"] == 24_000
    ids = Counter(json.loads(message.value or b"")["id"] for message in topics.messages(kafka, topic))
    oracle.assert_same(ids, Counter(map(str, range(24_000))), "rows")


def long_freeze(server: Server) -> None:
    """For longer than a transaction may take."""
    server.pause()
    time.sleep(8)
    server.resume()


def test_obs_worker_tells_each_file_once_though_the_broker_goes_and_comes_back(
    own_kafka: Broker, s3: S3, tmp_path
) -> None:
    given = {"until": "stopped", "max_poll_records": 12, "properties": {"transaction.timeout.ms": 5000}}
    job = Job(own_kafka.plain, s3, tmp_path, partitions=3, settings=given)
    files = [File(f"{number}", acts=("sleep:0.1",)) for number in range(300)]
    job.add(*files)
    with job.worker(processes=2) as worker:
        for trouble in (restart, power_cut, freeze, long_freeze):
            # One commit after a pause may tell of all that is left.
            more = min(len(job.notices()) + 20, len(files))
            wait_until(lambda more=more: len(job.notices()) >= more or not worker.is_running, "files are told of")
            assert worker.is_running, worker.said[-3000:]
            trouble(own_kafka.server)
        job.wait_for_notices(len(files), worker, seconds=120)
        worker.send(signal.SIGTERM)
        assert worker.wait(30).code == 143
    job.assert_each_file_once(*files)
