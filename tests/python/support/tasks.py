"""Tasks that `bucket_to_kafka` sends, read back and checked for their shape; and buckets to make tasks of."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.python.support import topics
from tests.python.support.children import succeed
from tests.python.support.places import obs_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

MANY = 2345
FOLDERS = ["0/0/0/", "empty/", "empty/inner/"]
PUTTERS = 16
FIELDS = ["key", "bucket", "dest_bucket", "dest_key", "size", "etag", "last_modified", "generated_at", "metadata"]
GENERATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def put(s3: S3, bucket: str, keys: list[str], body: bytes = b"content") -> None:
    """Put objects of this content into a bucket; keys with a slash at the end are folders."""
    client = s3.client()

    def put_one(key: str) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else body)

    with ThreadPoolExecutor(PUTTERS) as pool:
        assert len(list(pool.map(put_one, keys))) == len(keys) > 0


def many(s3: S3) -> tuple[str, list[str]]:
    """A bucket of more than two pages, most of them in folders of folders; and its keys, without `FOLDERS`."""
    bucket = s3.new_bucket()
    found = [f"{number % 3}/{number % 41}/{number % 7}/file-{number:05}.csv" for number in range(MANY - 300)]
    found += [f"flat-{number:04}.json" for number in range(300)]
    put(s3, bucket, [*found, *FOLDERS])
    return bucket, sorted(found)


def tasks(kafka: Kafka, topic: str) -> list[dict[str, Any]]:
    """The tasks that a `read_committed` reader sees, each checked for its shape."""
    found: list[dict[str, Any]] = []
    for message in topics.messages(kafka, topic):
        text = (message.value or b"").decode()
        task = json.loads(text)
        assert text == json.dumps(task, separators=(",", ":"), ensure_ascii=False), "It is compact"
        assert (message.key or b"").decode() == task["key"]
        assert list(task) == [name for name in FIELDS if name in task], "The fields have their order"
        assert None not in task.values(), "What is not known is absent"
        assert GENERATED.fullmatch(task["generated_at"]), task
        found.append(task)
    return found


def keys(kafka: Kafka, topic: str) -> list[str]:
    """The keys of the tasks, sorted."""
    return sorted(task["key"] for task in tasks(kafka, topic))


def where(kafka: Kafka, s3: S3, topic: str, bucket: str) -> dict[str, Any]:
    """Settings that reach a bucket and a topic."""
    return {"bucket": bucket, "topic": topic, "bootstrap_servers": kafka.bootstrap, **obs_settings(s3)}


def scan(folder: Path, *, environment: dict[str, str] | None = None, **settings: Any) -> dict[str, Any]:
    """Run `bucket-to-kafka` to its end; its report."""
    return succeed(folder, "bucket-to-kafka", environment=environment, json=True, **settings).report
