"""boto3's paginator: the objects of all pages in a list."""

from __future__ import annotations

from tests.bench.obs_worker.clients import s3_client
from tests.bench.task import ListTask, perform


def work(task: ListTask) -> dict[str, int]:
    """List the bucket."""
    pages = s3_client(task.store, 1).get_paginator("list_objects_v2").paginate(Bucket=task.bucket, Prefix=task.prefix)
    found = [one for page in pages for one in page.get("Contents", [])]
    return {"rows": len(found)}


if __name__ == "__main__":
    perform(ListTask, work)
