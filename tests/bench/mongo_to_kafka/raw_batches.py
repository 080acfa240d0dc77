"""The most that Python can do: pymongo's raw batches, read and thrown away; documents are counted by their lengths."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from tests.bench.mongo_to_kafka.found import FIND, collection
from tests.bench.task import DocumentTask, perform

if TYPE_CHECKING:
    from collections.abc import Iterable


def work(task: DocumentTask) -> dict[str, int]:
    """Read the collection."""
    rows = size = 0
    with collection(task) as source:
        # They are typed as documents.
        for batch in cast("Iterable[bytes]", source.find_raw_batches({}, **FIND)):
            at = 0
            while at < len(batch):
                at += struct.unpack_from("<i", batch, at)[0]
                rows += 1
            size += at
    return {"rows": rows, "bytes": size}


if __name__ == "__main__":
    perform(DocumentTask, work)
