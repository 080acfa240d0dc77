"""Tasks under Airflow's own supervisor: killed ones drain and go on, hopeless ones are not tried again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.dataset
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.python.support import topics
from tests.python.support.children import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airflow.airflows import Airflow

ROWS = 6_000
ENOUGH = 300
# Half a minute without a kill.
SLOWLY = 200
PRODUCERS = {
    "a function": ("kafka_supply_chain_pipeline", "produce"),
    "an operator": ("operators", "send"),
}


@pytest.fixture
def csv(tmp_path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text("Order Id,x\n" + "".join(f"{number},x\n" for number in range(ROWS)))
    return path


def connections(kafka) -> dict[str, Any]:
    return {"kafka": {"conn_type": "kafka", "extra": kafka.properties()}}


def end_of(kafka, topic: str) -> int:
    """Messages on the topic's one partition, those of open transactions too."""
    admin = AdminClient({**kafka.properties(), "log_level": 0})
    part = TopicPartition(topic, 0)
    return admin.list_offsets({part: OffsetSpec.latest()})[part].result(timeout=30).offset


def numbers(kafka, topic: str) -> list[int]:
    return sorted(int(json.loads(message.value or b"")["Order Id"]) for message in topics.messages(kafka, topic))


@pytest.mark.parametrize("producer", PRODUCERS)
def test_a_killed_task_commits_what_it_has_read_and_its_retry_goes_on(airflow: Airflow, kafka, topic, csv, producer):
    dag, task = PRODUCERS[producer]
    conf = {"files": str(csv), "topic": topic, "kafka": "kafka", "rate": SLOWLY, "conn_ids": {"kafka": "kafka"}}
    # One transaction, which nothing but a drain ends early.
    conf["produce"] = {"rate": SLOWLY, "transaction_seconds": 3600}
    a_try = {"dag": dag, "task": task, "run_id": topic, "connections": connections(kafka)}
    since = len(airflow.log.read_bytes())

    airflow.tell("supervise", **a_try, conf=conf)
    wait_until(lambda: end_of(kafka, topic) > ENOUGH, "The task sends")
    airflow.terminate()
    first = airflow.answer()
    sent = numbers(kafka, topic)
    assert first["state"] == "up_for_retry", airflow.said(since)[-8000:]
    assert ENOUGH <= len(sent) < ROWS
    assert "the task was told to stop" in airflow.said(since)

    at_once = {"rate": 1_000_000}
    second = airflow.ask("supervise", **a_try, conf={**conf, **at_once, "produce": {**conf["produce"], **at_once}})
    assert (second["state"], second["tries"]) == ("success", 2), airflow.said(since)[-8000:]
    assert second["returned"][task]["rows_written"] == ROWS - len(sent)
    assert numbers(kafka, topic) == list(range(ROWS))
    assert "csv_to_kafka complete in" in airflow.said(since)


def test_a_killed_reader_leaves_whole_files_and_its_retry_goes_on(airflow: Airflow, kafka, topic, tmp_path):
    conf = {"topic": topic, "to": f"{tmp_path}/lake", "group_id": topic, "conn_ids": {"kafka": "kafka"}}
    conf["consume"] = {"until": "stopped", "flush_rows": 500, "flush_seconds": 3600}
    a_try = {"dag": "kafka_supply_chain_pipeline", "task": "consume", "run_id": topic, "conf": conf}

    def files() -> int:
        return len(list(tmp_path.glob("lake/raw_streaming/*.parquet")))

    for number in range(2):
        topics.send(kafka, topic, [b'{"n": "%d"}' % row for row in range(number * 700, number * 700 + 700)])
        airflow.tell("supervise", **a_try, connections=connections(kafka))
        before = files()
        wait_until(lambda before=before: files() > before, "A file is there")
        airflow.terminate()
        assert airflow.answer()["state"] == "up_for_retry"
    conf["consume"]["until"] = "end"
    assert airflow.ask("supervise", **a_try, connections=connections(kafka))["state"] == "success"
    found = pyarrow.dataset.dataset(tmp_path / "lake").to_table().column("n").to_pylist()
    assert sorted(map(int, found)) == list(range(1400))


@pytest.mark.parametrize(
    ("task", "changed"),
    [
        ("send", {"files": "/nowhere/to/be/found.csv"}),
        ("send", {"files": ""}),
        ("send", {"kafka": "walmart"}),
        ("wait", {"topic": "t-that-is-not-there"}),
        ("compare", {"to": "ftp://nobody"}),
    ],
)
def test_what_trying_again_cannot_mend_is_not_tried_again(airflow: Airflow, kafka, topic, csv, task, changed):
    conf = {"files": str(csv), "topic": topic, "to": "lake", **changed}
    found = {**connections(kafka), "walmart": {"conn_type": "http"}}
    since = len(airflow.log.read_bytes())
    ended = airflow.ask("supervise", dag="operators", task=task, run_id=topic, conf=conf, connections=found)
    assert ended["state"] == "failed", airflow.said(since)[-8000:]
    assert "AirflowFailException" in airflow.said(since)
