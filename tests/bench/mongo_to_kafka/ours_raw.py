"""pipeline_core, as it comes: whole documents, as canonical extended JSON."""

from __future__ import annotations

from functools import partial

from tests.bench.mongo_to_kafka import ours
from tests.bench.task import DocumentTask, perform

work = partial(ours.work, data_type="raw")

if __name__ == "__main__":
    perform(DocumentTask, work)
