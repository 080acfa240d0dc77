"""pymongo + orjson + confluent-kafka, in batches, every delivery accounted for."""

from __future__ import annotations

from itertools import islice
from typing import Any

import orjson
from tests.bench.csv_to_kafka.batches import BatchProducer
from tests.bench.documents import information
from tests.bench.mongo_to_kafka.found import BATCH, FIND, collection
from tests.bench.task import DocumentTask, perform


def work(task: DocumentTask) -> dict[str, Any]:
    """Send the collection."""
    rows, dumps, topic = 0, orjson.dumps, task.topic
    with BatchProducer(task) as producer, collection(task) as source:
        found = source.find({}, **FIND)
        while batch := [information(document, topic) for document in islice(found, BATCH)]:
            producer.send([{"key": message["uid"], "value": dumps(message)} for message in batch])
            rows += len(batch)
    return {"rows": rows}


if __name__ == "__main__":
    perform(DocumentTask, work)
