"""Tasks from `TaskGenerator` on a real topic, and a bucket that goes all the way through `obs_worker`."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.children import succeed
from tests.python.support.files import File
from tests.python.support.jobs import GENERATED_AT, Job
from tests.python.support.topics import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("bootstrap_servers", "topic", "obs_endpoint", "obs_region", "obs_access_key_id", "obs_secret_access_key")


@pytest.fixture
def job(kafka, s3, tmp_path) -> Job:
    return Job(kafka, s3, tmp_path / "job")


def sending(job: Job) -> dict[str, Any]:
    return {name: job.settings[name] for name in (*NAMES, "obs_virtual_hosted")}


@pytest.fixture
def generator(job, no_settings) -> Iterator[Any]:
    assert no_settings.is_dir()
    with import_module("pipeline_core").TaskGenerator(**sending(job)) as generator:
        yield generator


def sent(job: Job) -> list[dict[str, Any]]:
    return [json.loads(message.value or b"") for message in messages(job.kafka, job.topic)]


def test_task_generator_makes_tasks_of_a_list_and_sends_them(job, generator) -> None:
    tasks = generator.generate_task_from_file_list(["data/1.csv", "data/2.json"], bucket="in", dest_bucket="out")
    assert [(task["key"], task["bucket"], task["dest_bucket"]) for task in tasks] == [
        ("data/1.csv", "in", "out"),
        ("data/2.json", "in", "out"),
    ]
    assert all(len(task["generated_at"]) == len(GENERATED_AT) for task in tasks)
    generator.send_tasks_to_kafka(tasks, batch_size=50)
    assert sent(job) == tasks


def test_task_generator_makes_a_single_task(job, generator) -> None:
    task = generator.generate_single_task(
        "a.csv", bucket="in", dest_bucket="out", dest_key="x.json", metadata={"team": ["späť", 7]}
    )
    assert list(task) == ["key", "bucket", "dest_bucket", "dest_key", "generated_at", "metadata"]
    assert generator.send_task_to_kafka(task) is not False
    assert sent(job) == [task]


def test_task_generator_scans_a_bucket_and_sends_when_it_shall(job, generator) -> None:
    job.put(*(File(f"in/{number}") for number in range(5)), File("other"))
    listed = generator.scan_and_generate_tasks(
        bucket=job.source, prefix="in/", dest_bucket="out", max_files=3, send_to_kafka=False
    )
    assert len(listed) == 3
    assert {task["dest_bucket"] for task in listed} == {"out"}
    assert sent(job) == []
    for _ in range(2):
        tasks = generator.scan_and_generate_tasks(bucket=job.source, prefix="in/", max_files=100)
        assert sorted(task["key"] for task in tasks) == [f"in/{number}" for number in range(5)]
        assert sorted(task["key"] for task in sent(job)) == [f"in/{number}" for number in range(5)]


def test_task_generator_lists_a_bucket_with_the_originals_name(job, generator) -> None:
    job.put(File("in/a", 321))
    [task] = generator.generate_task_from_obs_list(job.source, prefix="in/")
    assert (task["key"], task["bucket"], task["size"]) == ("in/a", job.source, 321)


def test_what_task_generator_sent_is_not_sent_by_bucket_to_kafka(job, generator) -> None:
    """They remember in one place."""
    job.put(File("a"), File("b"))
    [task] = generator.generate_task_from_obs_list(job.source, prefix="a")
    generator.send_tasks_to_kafka([task])
    report = succeed(job.folder, "bucket-to-kafka", json=True, bucket=job.source, **sending(job)).report
    assert (report["rows_written"], report["details"]["sent_before"]) == (1, 1)
    assert sorted(task["key"] for task in sent(job)) == ["a", "b"]


def test_a_bucket_goes_all_the_way_through_bucket_to_kafka_and_obs_worker(job) -> None:
    """The worker is there first; tasks, results and notices of it all, and nothing when it is run again."""
    files = [File(f"in/{number % 3}/{number}", 1000 + number) for number in range(200)]
    job.put(*files)
    with job.worker(until="stopped", parser="parsers:copying") as worker:
        given = sending(job) | {"bucket": job.source, "dest_bucket": job.dest}
        succeed(job.folder, "bucket-to-kafka", **given)
        job.wait_for_notices(len(files), worker)
        assert succeed(job.folder, "bucket-to-kafka", json=True, **given).report["rows_written"] == 0
    job.work()
    job.assert_each_file_once(*files)


def test_a_topic_that_is_not_there_is_made_for_the_tasks(kafka, job) -> None:
    job.put(File("a"))
    given = sending(job) | {"topic": f"{job.topic}-new", "bucket": job.source, "partitions": 3}
    succeed(job.folder, "bucket-to-kafka", **given)
    assert len(messages(kafka, f"{job.topic}-new")) == 1


def test_obs_worker_ends_behind_a_transaction_whose_tasks_had_to_wait(job, generator) -> None:
    """The record of the transaction itself is the last, and is reached long before the tasks are done."""
    files = [File(f"{number}") for number in range(20)]
    job.put(*files)
    generator.scan_and_generate_tasks(bucket=job.source, dest_bucket=job.dest)
    assert job.work(max_poll_records=2).report["rows_written"] == len(files)
