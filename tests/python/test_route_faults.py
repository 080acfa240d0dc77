"""Stores that lose replies, are busy, refuse, are slow or ignore conditions: each row is there once all the same."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest
from tests.python.support import data, oracle, topics
from tests.python.support.children import wait_until
from tests.python.support.places import Bucket, s3_place, s3_settings
from tests.services.fault_proxy import FaultProxy

from pipeline_core import csv_to_kafka, kafka_to_parquet, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

FAULTS: dict[str, Callable[[FaultProxy], object]] = {
    "lost replies to PUT": lambda proxy: proxy.lose_reply("PUT", every=3),
    "the reply to the probe lost": lambda proxy: proxy.lose_reply("PUT", path="probe", times=1),
    "lost requests": lambda proxy: proxy.lose_request("PUT", every=3),
    "503": lambda proxy: proxy.answer(503, every=4),
    "429": lambda proxy: proxy.answer(429, "PUT", every=4),
    "409 to PUT": lambda proxy: proxy.answer(409, "PUT", every=3),
    "412 to PUT": lambda proxy: proxy.answer(412, "PUT", path="orders", every=5),
    "lost replies to PUT and HEAD": lambda proxy: (proxy.lose_reply("PUT", every=3), proxy.lose_reply("HEAD", every=2)),
    "lost replies and 503 in turn": lambda proxy: (proxy.lose_reply("PUT", every=3), proxy.answer(503, every=5)),
    "timeouts after which the PUT still lands": lambda proxy: proxy.delay(1.5, "PUT", path="orders", times=3),
}


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.dataco(tmp_path_factory.mktemp("csv"))


@pytest.fixture(scope="module")
def orders(kafka: Kafka, csv: Path) -> str:
    topic = kafka.new_topic(partitions=2)
    csv_to_kafka.run(files=csv, topic=topic, bootstrap_servers=kafka.bootstrap)
    return topic


@pytest.fixture
def proxy(s3: S3) -> Iterator[FaultProxy]:
    with FaultProxy(s3.url) as proxy:
        yield proxy


def assert_complete(kafka: Kafka, orders: str, place: Bucket, csv: Path, s3: S3) -> None:
    oracle.assert_each_row_once(place, *oracle.csv_rows(csv), topics.messages(kafka, orders))
    report = verify(place.url, topic=orders, bootstrap_servers=kafka.bootstrap, **s3_settings(s3))
    assert report.ok, report.problems[:5]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_fails_now_and_then_gets_each_row_once(kafka, orders, csv, s3, proxy, fault) -> None:
    place = s3_place(s3, proxy.url)
    FAULTS[fault](proxy)
    where = {"topic": orders, "bootstrap_servers": kafka.bootstrap, "timeout_seconds": 1, **place.settings}
    kafka_to_parquet.run(to=place.url, group_id=place.url, until="end", flush_rows=500, **where)
    assert any(seen.fault for seen in proxy.seen)
    assert_complete(kafka, orders, place, csv, s3)


def test_a_store_that_is_away_for_a_while_is_waited_for(kafka, orders, csv, s3, proxy) -> None:
    place = s3_place(s3, proxy.url)
    away = proxy.answer(503, "PUT", path="orders")
    where = {"topic": orders, "bootstrap_servers": kafka.bootstrap, **place.settings}
    settings = {"to": place.url, "group_id": place.url, "until": "end", **where}
    reports = []
    runner = threading.Thread(target=lambda: reports.append(kafka_to_parquet.run(**settings)))
    runner.start()
    try:
        wait_until(lambda: away.happened >= 12 or not runner.is_alive(), "more tries than the client itself makes")
    finally:
        proxy.heal()
        runner.join()
    assert away.happened >= 12
    assert [report.rows_written for report in reports] == [data.SAMPLE_ROWS]
    assert_complete(kafka, orders, place, csv, s3)


def test_a_store_that_ignores_conditions_is_used_and_that_is_said(
    kafka, orders, csv, s3, s3_without_preconditions, caplog
) -> None:
    place = s3_place(s3_without_preconditions)
    where = {"topic": orders, "bootstrap_servers": kafka.bootstrap, **place.settings}
    caplog.set_level("WARNING")
    report = kafka_to_parquet.run(to=place.url, group_id=place.url, until="end", flush_rows=500, **where)
    assert report.details["create_only"] is False
    assert "does not honour create-only" in caplog.text
    assert_complete(kafka, orders, place, csv, s3)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_large_object_is_whole_though_replies_to_its_parts_are_lost(kafka, topic, s3, proxy, method) -> None:
    noise = random.Random(1)
    values = [b'{"a":"%s"}' % noise.randbytes(500).hex().encode() for _ in range(25_000)]
    topics.send(kafka, topic, values)
    place = s3_place(s3, proxy.url)
    # The first part, or the request that makes the parts one object.
    fault = proxy.lose_reply(method, path="uploadId=", times=1)
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap, **place.settings}
    kafka_to_parquet.run(to=place.url, group_id=topic, until="end", **where)
    assert fault.happened
    [table] = oracle.tables(place).values()
    assert sorted(table["a"].to_pylist()) == sorted(value[6:-2].decode() for value in values)


def test_an_object_of_others_in_our_place_is_never_overwritten(kafka, topic, s3) -> None:
    """A second group into the same folder would put every row there twice: it is told so and writes nothing."""
    place = s3_place(s3)
    topics.send(kafka, topic, [b'{"a":"1"}'] * 10)
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "to": place.url, "until": "end", **place.settings}
    kafka_to_parquet.run(group_id=f"{topic}-1", flush_rows=4, **where)
    before = {name: place.read(name) for name in place.names()}
    with pytest.raises(Exception, match="the group says that 0 is the next") as refused:
        kafka_to_parquet.run(group_id=f"{topic}-2", flush_rows=3, **where)
    assert (refused.value.kind, bool(refused.value.hint)) == ("conflict", True)
    assert {name: place.read(name) for name in place.names()} == before
