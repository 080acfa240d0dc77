"""obstore with asyncio + confluent-kafka: many files at a time, in memory, notices and offsets in batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from obstore.store import S3Store
from tests.bench.obs_worker.clients import Desk, desk
from tests.bench.task import WorkTask, perform

if TYPE_CHECKING:
    from tests.bench.task import StoreAccess

BATCH = 1_000
AT_ONCE = 32
"""As the engine's `concurrency`."""


def work(task: WorkTask) -> None:
    """Work off the topic."""
    asyncio.run(all_files(task))


async def all_files(task: WorkTask) -> None:
    """Work off the topic."""
    source, target = (open_store(task.store, bucket) for bucket in (task.bucket, task.dest_bucket))
    with desk(task) as there:
        for batch in there.batches(BATCH):
            waiting = iter(batch)
            await asyncio.gather(*(some_files(there, source, target, waiting) for _ in range(AT_ONCE)))


async def some_files(there: Desk, source: S3Store, target: S3Store, waiting: Any) -> None:
    """Do one file after the other, beside others that do the same."""
    for one in waiting:
        body = await (await source.get_async(one["key"])).bytes_async()
        await target.put_async(there.dest_key(one), body, use_multipart=False)
        there.notify(one, len(body), len(body))


def open_store(store: StoreAccess, bucket: str) -> S3Store:
    """A bucket."""
    return S3Store(
        bucket,
        endpoint=store.url,
        access_key_id=store.key,
        secret_access_key=store.secret,
        region=store.region,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


if __name__ == "__main__":
    perform(WorkTask, work)
