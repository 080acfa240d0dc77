"""What `obs_worker` leaves: result objects, notices and log lines as the contract has them, and the shipped parsers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import topics
from tests.python.support.files import File, size_text
from tests.python.support.jobs import SUFFIX, Job, attempts_told

if TYPE_CHECKING:
    from pathlib import Path

CSV = 'id,name\r\n1,"a, b"\r\n2,späť\r\n'
ROWS = [{"id": "1", "name": "a, b"}, {"id": "2", "name": "späť"}]
OBJECT = {"a": [1, 2.5, None, True], "b": {"c": "späť"}}


@pytest.fixture
def job(kafka, s3, tmp_path) -> Job:
    return Job(kafka, s3, tmp_path)


def put(job: Job, key: str, content: str | bytes) -> None:
    body = content.encode() if isinstance(content, str) else content
    job.s3.client().put_object(Bucket=job.source, Key=key, Body=body)


def holds(document: Any, value: Any) -> bool:
    """Whether a value stands somewhere in a JSON document."""
    inside = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return document == value or any(holds(part, value) for part in inside)


@pytest.mark.parametrize(("processes", "worker_type"), [("1", "single_process"), ("3", "multi_process")])
def test_an_obs_worker_sends_notices_with_one_process_and_with_many(job, processes, worker_type) -> None:
    files = [File("empty", 0), File("one", 1), File("k", 1024), File("more", 1536), File("m", 3_670_016)]
    job.add(*files)
    job.work(processes=None, environment={"POOL_SIZE": processes})
    assert {notice["worker_type"] for notice in job.notices()} == {worker_type}
    job.assert_each_file_once(*files)
    sizes = {notice["source"]["key"]: notice["file_info"]["input_size_formatted"] for notice in job.notices()}
    assert sizes == {"empty": "0 B", "one": "1.0 B", "k": "1.0 KB", "more": "1.5 KB", "m": "3.5 MB"}


def test_a_notice_of_obs_worker_has_the_fields_of_the_contract(job) -> None:
    job.add(File("in/a"))
    job.send(keys=["nowhere"])
    job.work(max_attempts=1)
    # Their order is checked for every notice that any test reads: support/notices.py.
    good, bad = job.notice("in/a"), job.notice("nowhere")
    assert good["source"] == {"bucket": job.source, "key": "in/a"}
    assert good["destination"] == {"bucket": job.dest, "key": f"in/a{SUFFIX}"}
    assert good["headers"]["pipeline_core.task"] == f"{job.topic}/0/0"
    assert good["headers"]["pipeline_core.source_etag"]
    assert list(bad)[:7] == [*list(good)[:6], "error"]
    for notice in (good, bad):
        info = notice["file_info"]
        assert info["output_size_formatted"] == size_text(info["output_size"])


DESTINATIONS = {
    "nothing": ({}, "dest", SUFFIX),
    "empty strings": ({"bucket": "", "dest_bucket": "", "dest_key": ""}, "dest", SUFFIX),
    "nulls": ({"bucket": None, "dest_bucket": None, "dest_key": None}, "dest", SUFFIX),
    "a bucket": ({"dest_bucket": "{other}"}, "other", SUFFIX),
    "a key": ({"dest_key": "out/x.csv"}, "dest", "out/x.csv"),
    "both": ({"dest_bucket": "{other}", "dest_key": "out/x.csv"}, "other", "out/x.csv"),
}


@pytest.mark.parametrize("case", DESTINATIONS)
def test_results_go_where_the_task_or_the_settings_of_obs_worker_say(job, case) -> None:
    told, where, key = DESTINATIONS[case]
    buckets = {"other": job.s3.new_bucket(), "dest": job.dest}
    job.put(File("in/a"))
    task = {"key": "in/a"}
    task |= {name: value.format(**buckets) if value else value for name, value in told.items()}
    job.send(task)
    job.work(dest_bucket=None, environment={"OBS_SOURCE_BUCKET": job.source, "OBS_DEST_BUCKET": job.dest})
    expected = key if "x.csv" in key else f"in/a{key}"
    assert job.notice("in/a")["destination"] == {"bucket": buckets[where], "key": expected}
    assert job.result(expected, buckets[where]) == File("in/a").content


def test_without_a_destination_results_go_beside_their_files(job) -> None:
    job.put(File("in/a"))
    job.send({"key": "in/a", "bucket": job.source})
    job.work(dest_bucket=None, output_suffix=".out")
    assert job.result("in/a.out", job.source) == File("in/a").content


def test_a_task_without_any_bucket_is_given_up(job) -> None:
    job.send({"key": "a"})
    job.work(dest_bucket=None, max_attempts=1)
    assert "bucket" in job.notice("a")["error"]
    assert len(job.letters()) == 1


TYPES = {
    "a.json": "application/json",
    "a.csv": "text/csv",
    "a.txt": "text/plain",
    "a.unheard-of": "application/octet-stream",
    "a": "application/octet-stream",
}


def test_the_content_type_comes_from_the_suffix_of_the_result(job) -> None:
    job.put(File("a"))
    job.send(*(job.task("a", dest_key=key) for key in TYPES))
    job.work()
    client = job.s3.client()
    found = {key: client.head_object(Bucket=job.dest, Key=key)["ContentType"].partition(";")[0] for key in TYPES}
    assert found == TYPES


def test_the_default_parser_tells_the_facts_of_a_file(job) -> None:
    put(job, "in/a.bin", b"x" * 2048)
    job.send(keys=["in/a.bin"])
    job.work(parser=None)
    facts = json.loads(job.result(f"in/a.bin{SUFFIX}"))
    assert (facts["size_bytes"], facts["size_formatted"], facts["parser"]) == (2048, "2.0 KB", "default")
    assert "a.bin" in facts["input_file"]
    assert facts["processed_at"][:2] == "20", "A time, where the original had a folder"


PARSED = {
    "csv": [("a.csv", CSV, ROWS), ("empty.csv", "id,name\n", [])],
    "json": [("a.json", json.dumps(OBJECT), OBJECT), ("b.json", "[]", [])],
    "jsonl": [("a.jsonl", '{"n":1}\n\n{"n":"ü"}\n', [{"n": 1}, {"n": "ü"}])],
}
UNPARSED = {
    "csv": b'id,name\n1,"never closed',
    "json": b'{"a":',
    "jsonl": b'{"n":1}\n{"n":\n',
}


@pytest.mark.parametrize("parser", PARSED)
def test_the_shipped_parsers_of_obs_worker_give_json(job, parser) -> None:
    for key, content, _ in PARSED[parser]:
        put(job, key, content)
    put(job, "bad", UNPARSED[parser])
    job.send(keys=[*(key for key, *_ in PARSED[parser]), "bad"])
    ended = job.work(parser=parser, max_attempts=1)
    assert ended.report["details"]["parser"] == parser
    for key, _, expected in PARSED[parser]:
        document = json.loads(job.result(key + SUFFIX))
        assert holds(document, expected), document
    if parser != "csv":
        assert "Traceback" not in job.notice("bad")["error"]
        assert "line" in job.notice("bad")["error"]


def test_a_parser_may_be_an_object_or_give_a_dict_to_obs_worker(job) -> None:
    job.add(file := File("a.dat"))
    job.work(parser="parsers:checksum")
    assert json.loads(job.result(f"a.dat{SUFFIX}")) == {"sha256": file.sha256}
    job.send(job.task("a.dat", dest_key="dict"))
    job.work(parser=None, environment={"DBC_FACTORY": "parsers:answering"})
    assert json.loads(job.result("dict")) == {"bytes": 1000, "suffix": ".dat"}


def test_without_a_producer_there_are_results_and_no_notices(job) -> None:
    job.add(File("a"), File("bad", acts=("raise",) * 9))
    job.work(environment={"KAFKA_ENABLE_PRODUCER": "false"}, max_attempts=1)
    assert job.result(f"a{SUFFIX}") == File("a").content
    assert topics.messages(job.kafka, job.result_topic) == []
    assert len(job.letters()) == 1
    assert job.work(until="end").report["rows_read"] == 0


def test_the_report_of_obs_worker_counts_what_was_done(job) -> None:
    job.add(File("a", 500), File("b", 700), File("bad", 900, acts=("raise",) * 9))
    report = job.work(max_attempts=2).report
    assert [report[name] for name in ("rows_read", "rows_written", "rows_rejected")] == [3, 2, 1]
    assert report["bytes_written"] == 1200
    assert report["bytes_read"] >= 2100
    details = report["details"]
    assert (details["topic"], details["result_topic"], details["group_id"]) == (job.topic, job.result_topic, job.topic)
    assert (details["parser"], details["processes"], details["retries"]) == ("parsers:copying", 2, 1)
    assert details["files_changed"] == 0


LOGGED = {"event", "logger", "timestamp", "level", "filename", "func_name", "lineno"}


def test_log_lines_of_obs_worker_have_the_fields_of_the_contract(job) -> None:
    job.add(File("good"), File("bad", acts=("raise:Naïve\ntext",) * 9))
    ended = job.work(max_attempts=2)
    told = attempts_told(ended.err)
    assert {line["status"] for line in told} == {"success", "retry", "failed"}
    for line in told:
        assert line.keys() >= LOGGED | {"file_key", "bucket", "status", "attempts", "processing_time", "input_size"}
        assert line["filename"]
        assert isinstance(line["lineno"], int)
        assert isinstance(line["processing_time"], float | int)
        assert line["processing_time"] >= 0
        assert ("error" in line) == (line["status"] != "success"), line
        assert line["bucket"] == job.source
    [good] = [line for line in told if line["file_key"] == "good"]
    assert (good["input_size"], good["output_size"]) == (1000, 1000)


UNTIL = {"3rows": 3, "end": 5, "2s": 5}


@pytest.mark.parametrize("until", UNTIL)
def test_an_obs_worker_ends_when_it_was_told_to(job, until) -> None:
    job.add(*(File(f"{number}") for number in range(5)))
    report = job.work(until=until, processes=1).report
    assert report["status"] == "complete"
    assert report["rows_read"] == len(job.notices()) == UNTIL[until]
    assert len(job.notices()) + job.work().report["rows_read"] == 5


def test_a_new_group_of_obs_worker_begins_at_the_latest_task_by_default(job) -> None:
    job.add(File("old"))
    with job.worker(auto_offset_reset=None, until="15s") as worker:
        worker.wait_for("reading a partition")
        job.add(File("new"))
        assert worker.wait().code == 0
    assert [notice["source"]["key"] for notice in job.notices()] == ["new"]


def test_obs_worker_reads_and_writes_folders_too(kafka, s3, tmp_path: Path) -> None:
    job = Job(kafka, s3, tmp_path / "job", settings={"scheme": "file"})
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "b.bin").write_bytes(b"content")
    job.send(job.task("a/b.bin", bucket=str(tmp_path / "in"), dest_bucket=str(tmp_path / "out")))
    job.work()
    assert (tmp_path / "out" / "a" / f"b.bin{SUFFIX}").read_bytes() == b"content"
