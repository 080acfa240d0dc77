"""`bucket_to_kafka`: one task for each object of a bucket that was not sent yet and that was asked for."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Any

import pytest
from tests.python.support.children import run
from tests.python.support.tasks import FOLDERS, MANY, keys, many, put, scan, tasks, where

MODIFIED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
def given(kafka, s3, topic, bucket) -> dict[str, Any]:
    """Settings that reach a fresh bucket and a fresh topic."""
    return where(kafka, s3, topic, bucket)


@pytest.fixture(scope="module")
def listed(s3) -> tuple[str, list[str]]:
    """A bucket of more than two pages, and its keys."""
    return many(s3)


@pytest.mark.parametrize("list_concurrency", [1, 8])
def test_bucket_to_kafka_lists_all_pages_and_leaves_folders_out(
    kafka, given, listed, tmp_path, list_concurrency
) -> None:
    bucket, expected = listed
    changed = {"bucket": bucket, "max_files": 100_000, "list_concurrency": list_concurrency, "dest_bucket": "out"}
    report = scan(tmp_path, **given | changed)
    assert keys(kafka, given["topic"]) == expected
    assert (report["rows_written"], report["details"]["more"]) == (MANY, False)
    assert report["details"]["directories"] == len(FOLDERS)
    assert {(task["bucket"], task["dest_bucket"]) for task in tasks(kafka, given["topic"])} == {(bucket, "out")}


def test_a_prefix_globs_and_max_files_narrow_what_bucket_to_kafka_sends(kafka, given, listed, tmp_path) -> None:
    bucket, every = listed
    narrow = {"prefix": "1/", "include": ["1/*/3/*.csv"], "exclude": ["**/*7.csv"], "max_files": 10_000}
    report = scan(tmp_path, **given | {"bucket": bucket} | narrow)
    wanted = [key for key in every if re.fullmatch(r"1/[^/]*/3/[^/]*\.csv", key) and not key.endswith("7.csv")]
    assert len(wanted) > 50
    assert keys(kafka, given["topic"]) == wanted
    assert report["details"]["filtered"] == sum(key.startswith("1/") for key in every) - len(wanted)


def test_a_star_does_not_cross_a_slash(kafka, given, s3, tmp_path) -> None:
    put(s3, given["bucket"], ["a.csv", "x/a.csv", "x/y/a.csv", "x/a.json"])
    scan(tmp_path, **given, include=["*.csv"])
    assert keys(kafka, given["topic"]) == ["a.csv"]
    scan(tmp_path, **given, include=["**/*.csv"], resend=True)
    assert sorted(keys(kafka, given["topic"])) == sorted(["a.csv", "a.csv", "x/a.csv", "x/y/a.csv"])


def test_max_files_ends_a_run_and_the_next_one_goes_on(kafka, given, listed, tmp_path) -> None:
    bucket, every = listed
    changed = given | {"bucket": bucket}
    report = scan(tmp_path, **changed)
    assert (report["rows_written"], report["details"]["more"]) == (1000, True), "1000 is the default"
    report = scan(tmp_path, **changed, environment={"MAX_FILES": "1300"})
    assert (report["rows_written"], report["details"]["more"]) == (1300, True)
    report = scan(tmp_path, **changed)
    assert (report["rows_written"], report["details"]["more"]) == (MANY - 2300, False)
    assert keys(kafka, given["topic"]) == every


def test_since_leaves_older_objects_out(kafka, given, s3, tmp_path) -> None:
    put(s3, given["bucket"], ["old"])
    time.sleep(2)
    moment = datetime.now(timezone.utc)
    time.sleep(2)
    put(s3, given["bucket"], ["new"])
    scan(tmp_path, **given, since=moment.isoformat())
    assert keys(kafka, given["topic"]) == ["new"]
    scan(tmp_path, **given, since="1h")
    assert keys(kafka, given["topic"]) == ["new", "old"]
    assert scan(tmp_path, **given, since="2999-01-01", resend=True)["rows_written"] == 0


def test_a_task_tells_what_the_listing_knows(kafka, given, s3, tmp_path) -> None:
    put(s3, given["bucket"], ["in/späť file.csv"], b"x" * 1234)
    head = s3.client().head_object(Bucket=given["bucket"], Key="in/späť file.csv")
    scan(tmp_path, **given)
    [task] = tasks(kafka, given["topic"])
    assert (task["size"], task["etag"]) == (1234, head["ETag"].strip('"'))
    assert MODIFIED.fullmatch(task["last_modified"])
    told = datetime.fromisoformat(task["last_modified"].replace("Z", "+00:00"))
    assert abs((told - head["LastModified"]).total_seconds()) < 1
    assert not {"dest_bucket", "dest_key", "metadata"} & task.keys()


def test_bucket_to_kafka_sends_nothing_twice_but_what_changed_or_was_asked_for(kafka, given, s3, tmp_path) -> None:
    put(s3, given["bucket"], ["a", "b", "c"])
    assert scan(tmp_path, **given)["rows_written"] == 3
    again = scan(tmp_path, **given)
    assert (again["rows_written"], again["details"]["sent_before"]) == (0, 3)
    put(s3, given["bucket"], ["b"], b"changed")
    put(s3, given["bucket"], ["d"])
    assert scan(tmp_path, **given)["rows_written"] == 2
    assert keys(kafka, given["topic"]) == ["a", "b", "b", "c", "d"]
    assert scan(tmp_path, **given, dest_bucket="elsewhere")["rows_written"] == 4, "Another task, though the same file"
    assert scan(tmp_path, **given, resend=True)["rows_written"] == 4
    assert scan(tmp_path, **given)["rows_written"] == 0


def test_a_dry_run_of_bucket_to_kafka_sends_nothing(kafka, given, s3, tmp_path) -> None:
    put(s3, given["bucket"], ["a", "b"])
    scan(tmp_path, **given, dry_run=True)
    assert keys(kafka, given["topic"]) == []
    assert scan(tmp_path, **given)["rows_written"] == 2


def test_keys_are_sent_by_name(kafka, given, s3, tmp_path) -> None:
    names = ["one, with a comma.csv", "späť 2.csv", "3.csv"]
    put(s3, given["bucket"], names)
    (tmp_path / "keys.txt").write_text("\n".join(names[1:]) + "\n", encoding="utf-8")
    environment = {"SINGLE_FILE": names[0], "DEST_KEY": "out/one.json", "DEST_BUCKET": "out"}
    bucket = given.pop("bucket")
    scan(tmp_path, **given, environment=environment | {"SOURCE_BUCKET": bucket})
    [task] = tasks(kafka, given["topic"])
    assert (task["key"], task["dest_key"], task["dest_bucket"]) == (names[0], "out/one.json", "out")
    assert task["bucket"] == bucket
    scan(tmp_path, **given, environment={"OBS_SOURCE_BUCKET": bucket}, keys_file="keys.txt")
    assert keys(kafka, given["topic"]) == sorted(names)


def test_a_destination_for_many_keys_is_refused(given, s3, tmp_path) -> None:
    put(s3, given["bucket"], ["a", "b"])
    ended = run(tmp_path, "bucket-to-kafka a b", dest_key="x", log_format="json", **given)
    assert (ended.code, ended.error["kind"]) == (2, "settings")
    assert "dest_key" in ended.error["event"]


SOURCES = ("obs", "s3", "file")


@pytest.mark.parametrize("scheme", SOURCES)
@pytest.mark.parametrize("form", ["a name", "a URL"])
def test_bucket_to_kafka_reads_any_store(kafka, given, s3, tmp_path, scheme, form) -> None:
    if scheme == "file":
        for name in ("a.csv", "x/b.csv"):
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(b"1234")
        bucket = str(tmp_path / "in")
    else:
        put(s3, bucket := given["bucket"], ["a.csv", "x/b.csv"], b"1234")
    named = bucket if form == "a name" else f"{scheme}://{bucket}"
    logins = {"s3_endpoint": s3.url, "s3_region": s3.region}
    logins |= {"s3_access_key_id": s3.key, "s3_secret_access_key": s3.secret}
    chosen = {"scheme": scheme} if form == "a name" else {}
    scan(tmp_path, **given | {"bucket": named} | logins | chosen)
    assert [(task["key"], task["size"]) for task in sorted(tasks(kafka, given["topic"]), key=str)] == [
        ("a.csv", 4),
        ("x/b.csv", 4),
    ]
