from __future__ import annotations

import json
import logging

import pytest

from pipeline_core import Stop
from pipeline_core.progress import Heartbeat, Stats

FIELDS = {"topic": "t", "partition": 3}
STATS = {
    "rows_read": 10,
    "rows_written": 8,
    "rows_rejected": 1,
    "bytes_read": 100,
    "bytes_written": 90,
    "bytes_total": 400,
    "rows_total": None,
}


def beat(*logs):
    return json.dumps({"stats": STATS, "logs": list(logs)})


def test_log_lines_arrive_under_the_package_s_logger(caplog):
    caplog.set_level(logging.DEBUG, "pipeline_core")
    Heartbeat(Stop())(beat(["WARNING", "pipeline_core::kafka::source", "100 % lag", FIELDS, "src/kafka/source.rs", 7]))
    (record,) = caplog.records
    assert record.name == "pipeline_core.kafka.source"
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "100 % lag (topic=t partition=3)"
    assert record.fields == FIELDS
    assert (record.filename, record.lineno, record.funcName) == ("source.rs", 7, "source")


def test_lines_below_the_level_are_dropped(caplog):
    caplog.set_level(logging.INFO, "pipeline_core")
    noise = ["DEBUG", "pipeline_core.csv", "noise", {}, "csv.rs", None]
    Heartbeat(Stop())(beat(noise, ["ERROR", "pipeline_core.csv", "real", {}, "csv.rs", None]))
    assert [record.getMessage() for record in caplog.records] == ["real"]


def test_who_asks_for_the_lines_gets_them_whatever_their_level(caplog):
    caplog.set_level(logging.ERROR, "pipeline_core")
    lines = (
        ["INFO", "pipeline_core.csv", "quiet", {"a": 1}, "csv.rs", 3],
        ["DEBUG", "pipeline_core.csv", "b", {}, "", None],
    )
    seen = []
    heartbeat = Heartbeat(Stop(), on_lines=seen.extend)
    heartbeat(beat(*lines))
    heartbeat(beat())
    assert seen == [*lines]
    assert caplog.records == []


def test_counts_reach_the_callback():
    seen = []
    Heartbeat(Stop(), seen.append)(beat())
    assert seen == [Stats(**STATS)]
    assert seen[0].share == pytest.approx(0.25)


def test_what_there_is_to_tell_at_this_moment_reaches_the_callback():
    seen = []
    live = {"lag": 12, "transaction_seconds": 0.25}
    Heartbeat(Stop(), seen.append)(json.dumps({"stats": {**STATS, "live": live}, "logs": []}))
    Heartbeat(Stop(), seen.append)(beat())
    assert [stats.live for stats in seen] == [live, {}]


def test_what_the_callback_raises_comes_out():
    def refuse(_stats):
        message = "enough"
        raise ValueError(message)

    with pytest.raises(ValueError, match="enough"):
        Heartbeat(Stop(), refuse)(beat())


@pytest.mark.parametrize(
    ("stats", "share"),
    [
        (Stats(), None),
        (Stats(rows_read=5, rows_total=10), 0.5),
        (Stats(rows_read=11, rows_total=10), 1),
        (Stats(bytes_read=1, bytes_total=4), 0.25),
        (Stats(bytes_read=1, bytes_total=0), None),
    ],
)
def test_the_share_is_known_when_the_size_is(stats, share):
    assert stats.share == share
