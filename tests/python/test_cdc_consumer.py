from __future__ import annotations

import json
import logging
import os
import signal
import threading
from pathlib import Path

import pytest

from pipeline_core import CdcConsumer, _core
from pipeline_core.exceptions import SettingsError, UnavailableError

pytestmark = pytest.mark.usefixtures("no_settings")

ENDED = {
    "pipeline": "cdc_to_postgres",
    "status": "stopped",
    "reason": "interrupted",
    "rows_read": 5,
    "rows_written": 4,
    "rows_rejected": 1,
    "bytes_read": 50,
    "bytes_written": 40,
    "started_at": "2026-01-31T22:56:07Z",
    "seconds": 1.5,
    "details": {},
}


@pytest.fixture
def running(monkeypatch):
    """Documents that the engine was called with, in place of running it: it ends when it is stopped."""
    documents, begun = [], threading.Semaphore(0)

    def run(text, stop, _beat):
        documents.append(json.loads(text))
        begun.release()
        if documents[-1]["topic"] == "wrong":
            message = "No broker answers"
            raise UnavailableError(message)
        while documents[-1]["topic"] != "short" and not stop.is_set():
            threading.Event().wait(0.01)
        return json.dumps(ENDED)

    monkeypatch.setattr(_core, "cdc_to_postgres", run, raising=False)
    return documents, begun


@pytest.fixture
def asked(running):
    """Has a consumer consume a topic; what the engine was called with."""

    def consume(consumer):
        consumer.consume("short")
        return running[0][-1]

    return consume


def test_the_consumer_has_the_original_s_arguments(asked):
    config = asked(CdcConsumer("kafka", "9092", "g", "db", "5432", False, False, target_password="hunter2"))  # noqa: FBT003
    assert (config["kafka"]["bootstrap_servers"], config["group_id"]) == ("kafka:9092", "g")
    assert (config["target"]["host"], config["target"]["port"]) == ("db", 5432)
    assert (config["enable_dlq"], config["enable_idempotency"]) == (False, False)


def test_the_consumer_s_defaults_give_way_and_its_arguments_do_not(asked, monkeypatch):
    config = asked(CdcConsumer())
    assert (config["kafka"]["bootstrap_servers"], config["target"]["port"]) == ("localhost:29092", 5433)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:1")
    Path(".env").write_text("TARGET_PORT=6543\nTARGET_HOST=other\nPIPELINE_CORE_ENABLE_DLQ=false\n")
    config = asked(CdcConsumer(db_host="db", enable_idempotency=False))
    assert config["kafka"]["bootstrap_servers"] == "broker:1"
    assert (config["target"]["host"], config["target"]["port"]) == ("db", 6543)
    assert (config["enable_dlq"], config["enable_idempotency"]) == (False, False)
    config = asked(CdcConsumer("kafka", bootstrap_servers="named:1"))
    assert config["kafka"]["bootstrap_servers"] == "named:1"


def test_the_consumer_s_wrong_settings_are_told_at_once():
    with pytest.raises(SettingsError, match="Setting 'target_port'"):
        CdcConsumer(db_port="many")
    with pytest.raises(SettingsError, match="Setting 'topics' is empty"):
        CdcConsumer().consume([])


@pytest.fixture
def ctrl_c():
    """SIGINT raises, also where the tests were started in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    # None: it was not Python's.
    signal.signal(signal.SIGINT, signal.SIG_IGN if before is None else before)


def test_ctrl_c_ends_all_topics_with_a_drain_and_their_reports(running, ctrl_c, caplog):
    documents, begun = running
    caplog.set_level(logging.INFO, "pipeline_core")
    consumer = CdcConsumer(metrics_port=9400, until="stopped")

    def interrupt():
        begun.acquire()
        begun.acquire()
        ctrl_c()

    thread = threading.Thread(target=interrupt)
    thread.start()
    reports = consumer.consume(["a", "b", "a"])
    thread.join()
    assert list(reports) == ["a", "b"] == list(consumer.reports)
    assert reports["a"].rows_written == 4
    assert sorted((told["topic"], told["metrics"]["port"]) for told in documents) == [("a", 9400), ("b", 9401)]
    assert sum("cdc_to_postgres stopped in 1.5 s" in line for line in caplog.messages) == 2


def test_another_thread_may_stop_a_consumer_for_good(running):
    _, begun = running
    with CdcConsumer() as consumer:
        ended = threading.Thread(target=lambda: begun.acquire() and consumer.stop())
        ended.start()
        assert consumer.consume("a")["a"].status == "stopped"
        ended.join()
        with pytest.raises(SettingsError, match="This CdcConsumer was stopped"):
            consumer.consume("a")


@pytest.mark.usefixtures("running")
def test_a_topic_that_fails_drains_the_others_and_is_told():
    consumer = CdcConsumer()
    with pytest.raises(UnavailableError, match="No broker answers"):
        consumer.consume(["a", "wrong"])
    assert list(consumer.reports) == ["a"]
