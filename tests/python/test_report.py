from __future__ import annotations

import json
import pickle
from datetime import datetime, timezone
from html.parser import HTMLParser

import pytest

from pipeline_core.report import Report, VerifyReport

RUN = {
    "pipeline": "csv_to_kafka",
    "status": "complete",
    "reason": "end of input",
    "rows_read": 20_000,
    "rows_written": 19_999,
    "rows_rejected": 1,
    "bytes_read": 10_420_422,
    "bytes_written": 34_000_000,
    "started_at": "2026-01-31T22:56:07.123000Z",
    "seconds": 2.5,
    "details": {"encoding": "iso-8859-1", "topic_created": True, "objects": [f"o{number}" for number in range(12)]},
}
VERIFIED = {
    "topic": "orders",
    "url": "./lake",
    "ok": False,
    "rows": 10,
    "rejected": 1,
    "objects": 3,
    "problems": ["Partition 1 has a gap: offsets 3 to 4"],
    "partitions": [
        {
            "partition": 0,
            "objects": 1,
            "rows": 6,
            "rejected": 1,
            "first_offset": 0,
            "last_offset": 5,
            "gaps": [],
            "overlaps": [],
            "topic_low": 0,
            "topic_high": 6,
            "behind": 0,
        },
        {
            "partition": 1,
            "objects": 2,
            "rows": None,
            "rejected": 0,
            "first_offset": 0,
            "last_offset": 5,
            "gaps": [[3, 4]],
            "overlaps": [],
            "topic_low": 0,
            "topic_high": 9,
            "behind": 3,
        },
        {
            "partition": 2,
            "objects": 0,
            "rows": 0,
            "rejected": 0,
            "first_offset": None,
            "last_offset": None,
            "gaps": [],
            "overlaps": [],
            "topic_low": 0,
            "topic_high": 0,
            "behind": 0,
        },
    ],
}


class Balanced(HTMLParser):
    """Fails on a tag that is not closed, and keeps the text."""

    def __init__(self, html):
        super().__init__()
        self.open = []
        self.seen = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        del attrs
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.seen.append(data)


def report(**more):
    return Report.from_json(json.dumps({**RUN, **more}))


def test_a_report_has_the_engine_s_values_as_attributes():
    run = report()
    assert run.rows_written == 19_999
    assert run.started_at == datetime(2026, 1, 31, 22, 56, 7, 123_000, tzinfo=timezone.utc)
    assert run.rows_per_second == pytest.approx(7999.6)
    assert run.details["encoding"] == "iso-8859-1"


@pytest.mark.parametrize(("kind", "data"), [(Report, RUN), (VerifyReport, VERIFIED)])
def test_to_dict_is_what_the_engine_wrote(kind, data):
    assert json.loads(json.dumps(kind.from_json(json.dumps(data)).to_dict())) == data


def test_a_report_reads_as_text():
    assert repr(report()).splitlines() == [
        "csv_to_kafka complete in 2.5 s (end of input)",
        "  rows           20,000 read, 19,999 written, 1 rejected",
        "  bytes          10.4 MB read, 34.0 MB written",
        "  rate           8,000 rows a second",
        "  started        2026-01-31 22:56:07+00:00",
        "  encoding       iso-8859-1",
        "  topic created  yes",
        "  objects        o0, o1, o2, o3, o4 and 7 more",
    ]


def test_details_within_details_read_as_text():
    details = {
        "actions": {"INSERT": 1200, "TRUNCATE": 0},
        "transaction_seconds": {"mean": 0.0041234, "max": 0.21},
        "oldest_fence_seconds": 1234.56,
        "held_back_by": {"pid": 7, "application_name": "psql", "seconds": 12.04, "state": None},
        "empty": {},
        "resumed_from": None,
    }
    assert repr(report(details=details)).splitlines()[5:] == [
        "  actions               INSERT 1,200, TRUNCATE 0",
        "  transaction seconds   mean 0.00412, max 0.21",
        "  oldest fence seconds  1,234.6",
        "  held back by          pid 7, application name psql, seconds 12",
    ]


def test_a_verification_reads_as_text():
    assert repr(VerifyReport.from_json(json.dumps(VERIFIED))).splitlines() == [
        "orders in ./lake: 1 problem",
        "  problem      Partition 1 has a gap: offsets 3 to 4",
        "  rows         10 in 3 objects, 1 rejected",
        "  partition 0  1 object, offsets 0 to 5, 6 rows, 1 rejected",
        "  partition 1  2 objects, offsets 0 to 5, 3 behind the topic",
        "  partition 2  no objects",
    ]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a & b"])
def test_a_notebook_never_runs_what_a_report_says(text):
    html = report(reason=text, details={text: [text]})._repr_html_()
    shown = Balanced(html)
    assert "<script" not in html
    assert "<img" not in html
    assert any(text in part for part in shown.seen)


def test_a_notebook_s_theme_gives_the_colours():
    html = report()._repr_html_()
    assert "background" not in html
    assert "#" not in html
    assert "color:inherit" in html


def test_a_run_of_no_time_has_a_rate():
    assert report(seconds=0.0).rows_per_second == 0


def test_reports_survive_pickling():
    run = report()
    assert pickle.loads(pickle.dumps(run)) == run
