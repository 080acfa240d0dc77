"""What an `obs_worker` must have left: for each file one notice, and one object or one dead letter."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.python.support import files, topics
from tests.python.support.oracle import assert_same

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tests.python.support.files import File
    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

FIELDS = ["timestamp", "worker_type", "status", "source", "destination", "file_info"]
FILE_INFO = ["input_size", "output_size", "input_size_formatted", "output_size_formatted"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
HEADERS = {"pipeline_core.task", "pipeline_core.attempts"}


def notices(kafka: Kafka, topic: str) -> list[dict[str, Any]]:
    """The notices that a `read_committed` reader sees, each checked for its shape."""
    found: list[dict[str, Any]] = []
    for message in topics.messages(kafka, topic):
        notice = json.loads(message.value or b"")
        assert_shape(notice)
        assert (message.key or b"").decode() == notice["source"]["key"]
        assert message.headers.keys() >= HEADERS, message.headers
        found.append({**notice, "headers": message.headers})
    return found


def assert_shape(notice: dict[str, Any]) -> None:
    """The fields of the contract in its order."""
    is_failed = notice["status"] == "failed"
    assert list(notice) == FIELDS + ["error"] * is_failed, notice
    assert TIME.fullmatch(notice["timestamp"]), notice
    assert notice["worker_type"] in {"single_process", "multi_process"}, notice
    assert notice["status"] in {"success", "failed"}, notice
    assert (list(notice["source"]), list(notice["destination"])) == (["bucket", "key"], ["bucket", "key"]), notice
    info = notice["file_info"]
    assert list(info) == FILE_INFO, notice
    for name in ("input_size", "output_size"):
        assert info[f"{name}_formatted"] == files.size_text(info[name]), notice
    assert not is_failed or (isinstance(notice["error"], str) and notice["error"]), notice


def assert_each_file_once(
    kafka: Kafka,
    s3: S3,
    topic: str,
    result_topic: str,
    buckets: tuple[str, str],
    expected: Sequence[File],
    failed: Collection[str] = (),
    suffix: str = ".parsed.json",
) -> None:
    """Each file was copied into the other bucket and told once, or, if it is one of `failed`, was given up once.

    Args:
        kafka: The broker.
        s3: The store.
        topic: The topic of the tasks.
        result_topic: The topic of the notices.
        buckets: Where the files are, and where their copies should be.
        expected: The files for which there was a task.
        failed: The keys of those whose parser never behaves.
        suffix: What was appended to the keys of the copies.
    """
    source, dest = buckets
    for name in (result_topic, f"{topic}_dlq"):
        topics.wait_until_settled(kafka, name)
    keys = Counter(file.key for file in expected)
    told = notices(kafka, result_topic)
    assert_same(Counter(notice["source"]["key"] for notice in told), keys, "notices")
    by_key = {notice["source"]["key"]: notice for notice in told}
    objects = files.digests(s3, dest)
    good = [file for file in expected if file.key not in failed]
    assert_same(Counter(list(objects)), Counter(file.key + suffix for file in good), "objects")
    for file in good:
        notice = by_key[file.key]
        assert notice["status"] == "success", notice
        assert objects[file.key + suffix] == (file.size, file.sha256), f"{file.key} was not copied as it is"
        info = notice["file_info"]
        assert (info["input_size"], info["output_size"]) == (file.size, file.size), notice
    for notice in told:
        key = notice["source"]["key"]
        assert notice["source"]["bucket"] == source, notice
        assert notice["destination"] == {"bucket": dest, "key": key + suffix}, notice
        assert (notice["status"] == "failed") == (key in failed), notice
    letters = Counter((letter.key or b"").decode() for letter in topics.dead_letters(kafka, topic))
    if failed or letters:
        assert_same(letters, Counter(failed), "dead letters")
