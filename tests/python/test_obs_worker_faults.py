"""Tasks and stores that are wrong: one clear line, one failed notice or dead letter, and the worker goes on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.files import File
from tests.python.support.jobs import Job, attempts_told
from tests.services.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.python.support.children import Ended

WRONG_SECRET = "wrong-horse"
WHERE = {"__connect.errors.topic", "__connect.errors.partition", "__connect.errors.offset"}
REASON = "__connect.errors.exception.message"


@pytest.fixture
def job(kafka, s3, tmp_path) -> Job:
    return Job(kafka, s3, tmp_path)


@pytest.fixture
def proxied(kafka, s3, tmp_path) -> Iterator[tuple[Job, FaultProxy]]:
    with FaultProxy(s3.url) as proxy:
        yield Job(kafka, s3, tmp_path, url=proxy.url), proxy


def given_up(job: Job, ended: Ended, key: str, pattern: str) -> dict[str, Any]:
    """A file was given up with one line, one notice and one dead letter that say why; gives the notice."""
    assert not re.search("Traceback|panicked", ended.err), ended.err
    lines = [line for line in attempts_told(ended.err, "failed") if line["file_key"] == key]
    assert len(lines) == 1, f"{key}: {ended.err[-3000:]}"
    notice = job.notice(key)
    letters = [letter for letter in job.letters() if json.loads(letter.value or b"")["key"] == key]
    assert len(letters) == 1
    assert letters[0].headers.keys() >= WHERE
    for said in (lines[0]["error"], notice["error"], letters[0].headers[REASON]):
        assert re.search(pattern, said, re.IGNORECASE), said
        assert "\n" not in said, said
        assert WRONG_SECRET not in said
        assert "<?xml" not in said, said
    assert (lines[0]["bucket"], notice["status"]) == (notice["source"]["bucket"], "failed")
    return notice


def assert_goes_on(job: Job, ended: Ended) -> None:
    """A good task after the bad ones was done, and each task is accounted for."""
    assert job.notice("good")["status"] == "success"
    assert job.result("good.parsed.json") == File("good").content
    without_notice = [letter for letter in job.letters() if not has_key(letter.value)]
    assert ended.report["rows_read"] == len(job.notices()) + len(without_notice)


def has_key(task: bytes | None) -> bool:
    try:
        found = json.loads(task or b"")
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("key"), str) and found["key"] != ""


def test_an_obs_worker_says_that_an_object_is_missing_and_goes_on(job) -> None:
    job.send(keys=["nowhere"])
    job.add(File("good"))
    ended = job.work()
    notice = given_up(job, ended, "nowhere", "nowhere|not found|no such|does not exist|there is no")
    assert notice["source"] == {"bucket": job.source, "key": "nowhere"}
    assert notice["destination"] == {"bucket": job.dest, "key": "nowhere.parsed.json"}
    assert job.s3.keys(job.dest) == ["good.parsed.json"]
    assert (ended.report["rows_rejected"], ended.report["rows_written"]) == (1, 1)
    assert_goes_on(job, ended)


@pytest.mark.parametrize("which", ["bucket", "dest_bucket"])
def test_an_obs_worker_says_that_a_bucket_is_missing_and_goes_on(job, which) -> None:
    job.put(File("bad"))
    job.send(job.task("bad", **{which: "b-nowhere"}))
    job.add(File("good"))
    ended = job.work()
    given_up(job, ended, "bad", "b-nowhere|bucket")
    assert_goes_on(job, ended)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_an_obs_worker_says_that_an_object_is_forbidden_and_goes_on(proxied, method) -> None:
    """By script: the server of the tests lets the owner of the buckets do everything."""
    job, proxy = proxied
    # Whoever may not GET may not HEAD.
    forbidden = [proxy.answer(403, verb, path="/bad") for verb in ({"GET": ["GET", "HEAD"]}.get(method, [method]))]
    job.add(File("bad"), File("good"))
    ended = job.work()
    assert any(fault.happened for fault in forbidden)
    given_up(job, ended, "bad", "denied|forbidden|refused|permission|403|not allowed")
    assert_goes_on(job, ended)


def test_an_obs_worker_with_wrong_credentials_says_so_for_each_file_and_goes_on(job, s3) -> None:
    files = [File("one"), File("two"), File("good")]
    job.add(*files)
    ended = job.work(obs_secret_access_key=WRONG_SECRET)
    for file in files:
        given_up(job, ended, file.key, "credential|signature|access|denied|secret")
    assert s3.keys(job.dest) == []
    job.send(keys=["good"])
    assert job.work().report["rows_written"] == 1
    assert job.result("good.parsed.json") == File("good").content


NO_TASKS = {
    "no JSON": b"bad",
    "no UTF-8": b'{"key":"\xff"}',
    "cut off": b'{"key":"a"',
    "no object": b'["key"]',
    "a text": b'"key"',
    "nothing": b"",
    "null": b"null",
    "a tombstone": None,
    "no key": b'{"bucket":"b","generated_at":"2026-01-01T00:00:00Z"}',
    "an empty key": b'{"key":""}',
    "a key that is no text": b'{"key":5}',
    "a key that is null": b'{"key":null}',
}


def test_an_obs_worker_puts_what_is_no_task_into_the_dead_letters_and_goes_on(job) -> None:
    job.send(*NO_TASKS.values())
    job.add(File("good"))
    ended = job.work()
    assert not re.search("Traceback|panicked", ended.err), ended.err
    letters = job.letters()
    assert [letter.value for letter in letters] == list(NO_TASKS.values())
    assert {letter.key for letter in letters} == {b"a key of Kafka"}
    for number, letter in enumerate(letters):
        assert letter.headers[REASON], letter
        assert letter.headers["__connect.errors.topic"] == job.topic
        assert letter.headers["__connect.errors.offset"] == str(number)
    assert [notice["source"]["key"] for notice in job.notices()] == ["good"]
    assert ended.report["rows_rejected"] == len(NO_TASKS)
    warned = [line for line in map(json.loads, ended.err.splitlines()) if line["level"].lower() in {"warning", "error"}]
    assert len(warned) == len(NO_TASKS), "One clear line for each"
    assert_goes_on(job, ended)


def test_fields_of_a_task_that_are_no_text_are_refused(job) -> None:
    job.put(File("bad"))
    for more in ({"bucket": 5}, {"dest_key": ["x"]}):
        job.send(job.task("bad", **more))
    job.add(File("good"))
    ended = job.work()
    assert [notice["status"] for notice in job.notices()].count("failed") == 2
    assert len(job.letters()) == 2
    assert_goes_on(job, ended)


def test_fields_of_a_task_that_an_obs_worker_does_not_know_are_let_pass(job) -> None:
    job.put(File("good"))
    job.send(job.task("good", metadata={"team": 7, "more": [1]}, size="5", colour="red"))
    assert_goes_on(job, job.work())


def test_an_obs_worker_ends_when_more_is_refused_than_anybody_can_have_meant(job) -> None:
    job.send(*[b"bad"] * 200)
    with job.worker(max_rejected_share=0.1) as worker:
        ended = worker.wait()
    assert ended.code == 1
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert [line["kind"] for line in lines if "kind" in line] == ["rejected"], lines[-3:]


def test_a_store_that_is_away_for_a_while_costs_an_obs_worker_no_file(proxied) -> None:
    job, proxy = proxied
    files = [File(f"{number}") for number in range(10)]
    job.add(*files)
    away = proxy.answer(503, path="/", times=40)
    job.work(concurrency=2)
    assert away.happened == 40
    job.assert_each_file_once(*files)


@pytest.mark.parametrize("fault", ["lose_reply", "lose_request"])
def test_requests_and_replies_that_are_lost_cost_an_obs_worker_no_file(proxied, fault) -> None:
    job, proxy = proxied
    files = [*(File(f"{number}") for number in range(20)), File("in parts", 9_000_000)]
    job.add(*files)
    lost = getattr(proxy, fault)(every=4)
    job.work()
    assert lost.happened > 5
    job.assert_each_file_once(*files)
