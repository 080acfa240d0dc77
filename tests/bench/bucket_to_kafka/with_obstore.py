"""obstore's listing: the objects of all pages in a list."""

from __future__ import annotations

from tests.bench.obs_worker.with_obstore import open_store
from tests.bench.task import ListTask, perform


def work(task: ListTask) -> dict[str, int]:
    """List the bucket."""
    found = [one for page in open_store(task.store, task.bucket).list(task.prefix, chunk_size=1_000) for one in page]
    return {"rows": len(found)}


if __name__ == "__main__":
    perform(ListTask, work)
