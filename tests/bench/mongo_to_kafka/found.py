"""The documents of a collection through pymongo, in the order of their ids."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

if TYPE_CHECKING:
    from collections.abc import Generator

    from pymongo.collection import Collection
    from tests.bench.task import DocumentTask

BATCH = 1_000
"""Documents of a reply, as the original's and ours."""
FIND: dict[str, Any] = {"sort": [("_id", 1)], "batch_size": BATCH}


@contextmanager
def collection(task: DocumentTask) -> Generator[Collection[dict[str, Any]], None, None]:
    """The task's collection."""
    with MongoClient[dict[str, Any]](task.uri, directConnection=True) as client:
        yield client[task.database][task.collection]
