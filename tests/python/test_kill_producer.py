"""`csv-to-kafka` killed at random moments and run again: each row once with transactions, none lost without."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import data, oracle, topics
from tests.python.support.children import Child, run, seeded, succeed, wait_until

from pipeline_core import csv_to_kafka

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka

MOMENTS = 20
ROWS = 120_000
ROWS_PER_SECOND = 2_000


def ids(messages: list[topics.Message]) -> Counter[str]:
    return Counter(json.loads(message.value or b"")["id"] for message in messages)


def killed_again_and_again(kafka: Kafka, folder: Path, csv: Path, moments: int, **settings: Any) -> int:
    """Kill it so many times while it sends; how many lives were ended in the middle."""
    dice = seeded("random moments")
    topic = settings["topic"]
    began = time.monotonic()
    with Child(folder, f"csv-to-kafka {csv}", **settings):
        wait_until(lambda: topics.messages(kafka, topic), "it sends")
        until_it_sends = time.monotonic() - began
    killed = 1
    for _ in range(moments - 1):
        with Child(folder, f"csv-to-kafka {csv}", **settings) as child:
            time.sleep(until_it_sends + dice.uniform(-0.3, 1.2))
            killed += child.is_running
    return killed


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_transactions_put_each_row_there_once_whenever_it_is_killed(kafka, tmp_path, suffix) -> None:
    csv = data.narrow(tmp_path / "orders.csv", ROWS)
    if suffix == "csv.gz":
        csv = compressed(csv)
    topic = kafka.new_topic(partitions=3)
    settings = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "exactly_once": True, "resume": True, "key": "id"}
    slowly = {"rate": ROWS_PER_SECOND, "transaction_rows": 1500, "transaction_seconds": 0.3}
    moments = MOMENTS if suffix == "csv" else MOMENTS // 4
    assert killed_again_and_again(kafka, tmp_path, csv, moments, **settings, **slowly) >= moments // 2
    half_done = len(topics.messages(kafka, topic))
    assert 0 < half_done < ROWS
    succeed(tmp_path, f"csv-to-kafka {csv}", **settings)
    sent = topics.messages(kafka, topic)
    oracle.assert_same(ids(sent), Counter(map(str, range(ROWS))), "rows")
    assert run(tmp_path, f"csv-to-kafka {csv}", json=True, **settings).report["rows_written"] == 0
    assert len(topics.messages(kafka, topic)) == ROWS


def compressed(csv: Path) -> Path:
    import gzip

    path = csv.with_name(csv.name + ".gz")
    path.write_bytes(gzip.compress(csv.read_bytes(), 1))
    return path


def test_without_transactions_a_killed_run_that_is_resumed_loses_nothing(kafka, tmp_path) -> None:
    csv = data.narrow(tmp_path / "orders.csv", ROWS)
    topic = kafka.new_topic(partitions=3)
    state = tmp_path / "state"
    settings = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "resume": True, "key": "id", "state_dir": state}
    killed_again_and_again(kafka, tmp_path, csv, MOMENTS // 5, rate=ROWS_PER_SECOND, **settings)
    with Child(tmp_path, f"csv-to-kafka {csv}", rate=ROWS_PER_SECOND, **settings) as child:
        wait_until(lambda: list(state.glob("*.json")) or not child.is_running, "it saves how far it came")
        assert child.is_running
    ended = succeed(tmp_path, f"csv-to-kafka {csv}", json=True, **settings)
    assert set(ids(topics.messages(kafka, topic))) == set(map(str, range(ROWS)))
    assert 0 < ended.report["details"]["files"][0]["rows"] < ROWS, "It did not go on where it had been"


def test_a_transaction_of_a_killed_run_is_seen_by_nobody(kafka, tmp_path) -> None:
    csv = data.narrow(tmp_path / "orders.csv", 40_000)
    topic = kafka.new_topic()
    settings = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "exactly_once": True, "resume": True}
    for at in ("before_commit:1", "after_commit:1", "before_commit:2"):
        given = settings | {"fault": f"{at}:kill", "transaction_rows": 1000}
        with Child(tmp_path, f"csv-to-kafka {csv}", **given) as child:
            child.wait_until_killed()
    succeed(tmp_path, f"csv-to-kafka {csv}", **settings)
    assert [json.loads(message.value or b"")["id"] for message in topics.messages(kafka, topic)] == [
        str(row) for row in range(40_000)
    ]


def test_a_transaction_has_so_many_rows_at_most(kafka, topic, tmp_path) -> None:
    csv = data.narrow(tmp_path / "orders.csv", 5000)
    csv_to_kafka.run(
        files=csv, topic=topic, exactly_once=True, transaction_rows=1000, bootstrap_servers=kafka.bootstrap
    )
    # The end of each transaction takes an offset of its own, so the rows of one stand next to each other.
    offsets = [message.offset for message in topics.messages(kafka, topic)]
    transactions = Counter(offset - at for at, offset in enumerate(offsets))
    assert max(transactions.values()) == 1000


def test_two_runs_of_one_file_at_a_time_put_each_row_there_once(kafka, tmp_path) -> None:
    """The later one fences the earlier one, which is told so."""
    csv = data.narrow(tmp_path / "orders.csv", 20_000)
    topic = kafka.new_topic()
    settings = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "exactly_once": True, "resume": True}
    with Child(tmp_path, f"csv-to-kafka {csv}", rate=1000, transaction_seconds=0.5, **settings) as first:
        time.sleep(2)
        succeed(tmp_path, f"csv-to-kafka {csv}", **settings)
        ended = first.wait()
    assert ended.code == 1
    assert "Another run sends the same data" in ended.err
    oracle.assert_same(ids(topics.messages(kafka, topic)), Counter(map(str, range(20_000))), "rows")


def test_a_file_that_was_replaced_is_not_resumed(kafka, tmp_path) -> None:
    csv = data.narrow(tmp_path / "orders.csv", 5000)
    topic = kafka.new_topic()
    settings = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "resume": True, "state_dir": tmp_path / "state"}
    succeed(tmp_path, f"csv-to-kafka {csv}", **settings)
    csv.write_text("other,columns\n" + "1,2\n" * 100_000)
    ended = run(tmp_path, f"csv-to-kafka {csv}", **settings)
    assert (ended.code, "another header" in ended.err) == (1, True), ended.err
    data.narrow(csv, 10)
    ended = run(tmp_path, f"csv-to-kafka {csv}", **settings)
    assert (ended.code, "The file was replaced" in ended.err) == (1, True), ended.err
    assert len(topics.messages(kafka, topic)) == 5000
