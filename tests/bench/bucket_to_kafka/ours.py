"""pipeline_core, as it comes: the tasks for all files of a bucket, not sent."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.bench.task import ListTask, perform

from pipeline_core import _core, bucket_to_kafka, engine


def config(task: ListTask) -> bucket_to_kafka.Config:
    """The settings: none but where and what."""
    return bucket_to_kafka.Config(
        bootstrap_servers=task.servers,
        scheme="s3",
        s3_endpoint=task.store.url,
        s3_region=task.store.region,
        s3_access_key_id=task.store.key,
        s3_secret_access_key=task.store.secret,
        allow_http=True,
        bucket=task.bucket,
        prefix=task.prefix,
        max_files=task.most,
    )


def work(task: ListTask) -> dict[str, Any]:
    """List the bucket; how many tasks came of it is counted after the clock."""
    started = time.perf_counter()
    tasks = engine.run(_core.list_tasks, config(task).document())
    seconds = time.perf_counter() - started
    return {"rows": len(json.loads(tasks)), "seconds": seconds}


if __name__ == "__main__":
    perform(ListTask, work)
