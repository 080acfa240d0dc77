"""`bucket-to-kafka` killed and run again sends each task once; what it cannot list it says in one line."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.python.support.children import Child, run, seeded
from tests.python.support.tasks import keys, many, scan, where
from tests.python.support.topics import wait_until_settled
from tests.services.fault_proxy import FaultProxy


@pytest.fixture
def given(kafka, s3, topic, bucket) -> dict[str, Any]:
    """Settings that reach a fresh bucket and a fresh topic."""
    return where(kafka, s3, topic, bucket)


@pytest.fixture(scope="module")
def listed(s3) -> tuple[str, list[str]]:
    """A bucket of more than two pages, and its keys."""
    return many(s3)


@pytest.mark.parametrize("place", ["before_commit", "after_commit"])
def test_a_killed_bucket_to_kafka_that_is_run_again_sends_each_task_once(kafka, given, listed, tmp_path, place) -> None:
    bucket, every = listed
    changed = given | {"bucket": bucket, "max_files": 100_000}
    with Child(tmp_path, "bucket-to-kafka", fault=f"{place}:1:kill", **changed) as child:
        child.wait_until_killed()
    scan(tmp_path, **changed)
    wait_until_settled(kafka, given["topic"])
    assert keys(kafka, given["topic"]) == every


def test_bucket_to_kafka_killed_at_random_moments_sends_each_task_once(kafka, s3, given, listed, tmp_path) -> None:
    dice = seeded("random moments")
    bucket, every = listed
    with FaultProxy(s3.url) as proxy:
        proxy.delay(0.05, "GET")
        changed = given | {"bucket": bucket, "max_files": 700, "obs_endpoint": proxy.url, "list_concurrency": 2}
        killed = 0
        for _ in range(15):
            with Child(tmp_path, "bucket-to-kafka", **changed) as child:
                time.sleep(dice.uniform(0.5, 2.5))
                killed += child.is_running
        assert killed > 3
        for _ in range(4):
            scan(tmp_path, **changed)
    wait_until_settled(kafka, given["topic"])
    assert keys(kafka, given["topic"]) == every


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"bucket": "b-nowhere"}, "not_found", "b-nowhere"),
        ({"obs_secret_access_key": "wrong-horse"}, "access", ""),
        ({"obs_endpoint": "http://127.0.0.1:1"}, "unavailable", "127.0.0.1"),
        ({"bucket": None}, "settings", "bucket"),
        ({"since": "yesterday"}, "settings", "since"),
        ({"max_files": 0}, "settings", "max_files"),
    ],
)
def test_what_bucket_to_kafka_cannot_list_is_said_in_one_line(kafka, given, tmp_path, changed, kind, said) -> None:
    settings = {name: value for name, value in {**given, **changed}.items() if value is not None}
    ended = run(tmp_path, "bucket-to-kafka", log_format="json", **settings)
    assert (ended.code, ended.error["kind"]) == (2 if kind == "settings" else 1, kind), ended.err
    assert said in ended.error["event"]
    assert "\n" not in ended.error["event"]
    assert ended.error["hint"]
    assert "wrong-horse" not in ended.err
    assert keys(kafka, given["topic"]) == []
