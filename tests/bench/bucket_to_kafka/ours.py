"""pipeline_core, as it comes: a task made of each file of a bucket, none sent."""

from __future__ import annotations

import time
from typing import Any

from tests.bench.task import ListTask, perform

from pipeline_core import bucket_to_kafka


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
        dry_run=True,
    )


def work(task: ListTask) -> dict[str, Any]:
    """List the bucket, by the clock of the others."""
    started = time.perf_counter()
    report = bucket_to_kafka.run(config(task))
    return {"rows": report.rows_read, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    perform(ListTask, work)
