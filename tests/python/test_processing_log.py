from __future__ import annotations

import json
import logging
import sqlite3
import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
from typer.testing import CliRunner

from pipeline_core import _core, obs_worker
from pipeline_core.cli import application
from pipeline_core.exceptions import NotFoundError, SettingsError
from pipeline_core.processing_log import ProcessingLog, summary

pytestmark = pytest.mark.usefixtures("no_settings")

COLUMNS = ["file_key", "bucket", "status", "attempts", "seconds", "input_size", "output_size", "error", "timestamp"]
NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
QUEUE = {
    "topic": "t",
    "group_id": "g",
    "tasks": 1234,
    "partitions": [
        {"partition": 0, "committed": 5, "end": 1239, "tasks": 1234},
        {"partition": 1, "committed": None, "end": 0, "tasks": 0},
    ],
}


def line(key="a.csv", status="success", *, level="INFO", **more):
    fields = {"file_key": key, "bucket": "b", "status": status, "attempts": 1, "processing_time": 0.5}
    sizes = {"input_size": 100, "output_size": 200}
    target = "pipeline_core.pipelines.obs_worker.work"
    return [level, target, "processed a file", {**fields, **sizes, **more}, "work.rs", 7]


def rows(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM processing_log ORDER BY rowid").fetchall()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "processing_log.db"


def filled(path, *entries):
    """A log with rows of (minutes ago, status, error)."""
    with ProcessingLog(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        for minutes, status, error in entries:
            stamp = (NOW - timedelta(minutes=minutes)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            values = ("k", "b", status, 1, float(minutes), 10, 20, error, stamp)
            connection.execute(f"INSERT INTO processing_log VALUES ({', '.join('?' * 9)})", values)


def test_each_attempt_is_a_row(path):
    with ProcessingLog(path) as log:
        log([line(), line("b.csv", "failed", level="ERROR", error="ValueError: no\ntrace", output_size=None)])
        assert [row[0] for row in rows(path)] == ["a.csv", "b.csv"], "it can be read while it is written"
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        first, second = map(dict, connection.execute("SELECT * FROM processing_log"))
        assert tuple(connection.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    assert list(first) == COLUMNS
    stamp = datetime.fromisoformat(first.pop("timestamp").replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - stamp).total_seconds()) < 60
    assert first == {
        "file_key": "a.csv",
        "bucket": "b",
        "status": "success",
        "attempts": 1,
        "seconds": 0.5,
        "input_size": 100,
        "output_size": 200,
        "error": None,
    }
    assert (second["status"], second["error"], second["output_size"]) == ("failed", "ValueError: no\ntrace", None)


def test_other_lines_are_no_rows(path):
    with ProcessingLog(path) as log:
        log([["INFO", "pipeline_core.kafka", "joined", {"status": "x", "file_key": "k"}, "a.rs", 1]])
        log([["INFO", "pipeline_core.pipelines.obs_worker", "began", {}, "a.rs", 1]])
    assert rows(path) == []


def test_rows_of_one_heartbeat_are_one_transaction(path, monkeypatch):
    seen = []
    connect = sqlite3.connect

    def traced(*arguments, **settings):
        connection = connect(*arguments, **settings)
        connection.set_trace_callback(seen.append)
        return connection

    with ProcessingLog(path):
        pass
    monkeypatch.setattr("pipeline_core.processing_log.sqlite3.connect", traced)
    with ProcessingLog(path) as log:
        log([line(str(number)) for number in range(100)])
    assert len([statement for statement in seen if statement.startswith("INSERT")]) == 100
    assert len([statement for statement in seen if statement.startswith("BEGIN")]) == 1
    assert len(rows(path)) == 100


def test_a_log_goes_on_where_another_run_ended(path):
    for number in range(2):
        with ProcessingLog(path) as log:
            log([line(str(number))])
    assert [row[0] for row in rows(path)] == ["0", "1"]


def test_several_workers_share_a_file(path):
    def work(name):
        with ProcessingLog(path) as log:
            for number in range(30):
                log([line(f"{name}-{number}")])

    workers = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({row[0] for row in rows(path)}) == 120


def test_a_log_that_is_locked_for_a_while_loses_nothing(path, caplog, monkeypatch):
    monkeypatch.setattr("pipeline_core.processing_log._PAUSE_SECONDS", 0)
    monkeypatch.setattr("pipeline_core.processing_log._BUSY_SECONDS", 0.05)
    caplog.set_level(logging.WARNING, "pipeline_core")
    with ProcessingLog(path) as log:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            log([line("a")])
            log([line("b")])
            other.execute("ROLLBACK")
        log([line("c")])
    assert [row[0] for row in rows(path)] == ["a", "b", "c"]
    (warning,) = caplog.messages
    assert "cannot be written for now, the worker goes on: database is locked" in warning


@pytest.mark.parametrize("place", ["file/log.db", "folder", "text"])
def test_a_log_that_cannot_be_written_warns_and_stops_nothing(tmp_path, caplog, place):
    caplog.set_level(logging.WARNING, "pipeline_core")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("no database " * 1000)
    with ProcessingLog(tmp_path / place) as log:
        log([line()])
    first, last = caplog.messages
    assert "cannot be written" in first
    assert last == f"1 rows are missing from the processing log {tmp_path / place}"


def test_the_log_is_written_while_the_worker_runs(path, monkeypatch, caplog):
    caplog.set_level(logging.ERROR, "pipeline_core")
    report = {
        **dict.fromkeys(("rows_read", "rows_written", "rows_rejected", "bytes_read", "bytes_written"), 1),
        "pipeline": "obs_worker",
        "status": "complete",
        "reason": "end",
        "started_at": "2026-01-31T00:00:00Z",
        "seconds": 1.0,
    }

    def native(_document, _stop, beat):
        beat(json.dumps({"stats": {}, "logs": [line()]}))
        assert len(rows(path)) == 1
        return json.dumps(report)

    monkeypatch.setattr(_core, "obs_worker", native, raising=False)
    assert obs_worker.run(log_db=path).rows_written == 1
    assert len(rows(path)) == 1


def test_a_log_adds_up(path):
    filled(
        path,
        (120, "success", None),
        (90, "retry", "ValueError: a\ntrace 1"),
        (80, "retry", "ValueError: a\ntrace 2"),
        (60, "success", None),
        (30, "failed", "OSError: b"),
        (0, "success", None),
    )
    found = summary(path, NOW)
    assert (found.files, found.succeeded, found.failed, found.retries) == (4, 3, 1, 2)
    assert (found.input_bytes, found.output_bytes) == (30, 60)
    assert found.success_rate == 0.75
    assert found.mean_seconds == 60
    assert found.files_per_minute == pytest.approx(4 / 120)
    assert found.files_per_minute_last_hour == pytest.approx(3 / 60)
    assert [(item.error, item.count) for item in found.errors] == [("ValueError: a", 2), ("OSError: b", 1)]
    assert (found.first_at, found.last_at) == (NOW - timedelta(hours=2), NOW)


def test_a_young_log_is_measured_over_its_age(path):
    filled(path, (10, "success", None), (5, "success", None), (0, "success", None))
    assert summary(path, NOW).files_per_minute_last_hour == pytest.approx(0.3)


def test_an_empty_log_adds_up_to_nothing(path):
    filled(path)
    found = summary(path, NOW)
    assert (found.files, found.success_rate, found.mean_seconds, found.last_at) == (0, None, None, None)
    assert (found.files_per_minute, found.errors) == (0, [])


def test_what_is_no_log_is_one_clear_error(tmp_path):
    with pytest.raises(NotFoundError, match="There is no processing log"):
        summary(tmp_path / "nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()
    (tmp_path / "text").write_text("no database " * 1000)
    with pytest.raises(SettingsError, match="could not be read"):
        summary(tmp_path / "text")


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(_core, "queue_length", lambda *_: json.dumps(QUEUE), raising=False)
    logger = logging.getLogger("pipeline_core")
    before = (logger.handlers, logger.level, logger.propagate)
    yield lambda *arguments: CliRunner().invoke(application(), ["obs-worker", *arguments])
    logger.handlers, logger.level, logger.propagate = before


def test_status_is_shown_to_people(invoke, path):
    filled(path, (5, "success", None), (3, "failed", "ValueError: no\ntrace"))
    result = invoke("status", "--log-db", str(path))
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert text.startswith("g: 1,234 tasks in the queue\n")
    for part in (
        "1 succeeded, 1 failed, 0 retries",
        "50.0%",
        "files a minute",
        "5.0 s",
        "1 times: ValueError: no",
    ):
        assert part in text
    assert "trace" not in text


def test_status_is_data_on_request(invoke, path):
    filled(path, (5, "success", None))
    data = json.loads(invoke("status", "--log-db", str(path), "--json").stdout)
    assert (data["queue"]["tasks"], data["log"]["succeeded"], data["log"]["success_rate"]) == (1234, 1, 1)


def test_status_needs_neither_a_log_nor_kafka(invoke, path, monkeypatch):
    assert invoke("status").stdout.splitlines()[0] == "g: 1,234 tasks in the queue"
    filled(path, (5, "success", None))
    monkeypatch.delattr(_core, "queue_length")
    assert "1 succeeded" in invoke("status", "--no-queue", "--log-db", str(path)).stdout


def test_status_takes_flags_on_either_side_of_its_name(invoke, path):
    filled(path, (5, "success", None))
    assert json.loads(invoke("--json", "--log-db", str(path), "status").stdout)["log"]["succeeded"] == 1


def test_status_of_no_log_is_an_error(invoke):
    result = invoke("status", "--log-db", "nowhere.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: There is no processing log nowhere.db")
