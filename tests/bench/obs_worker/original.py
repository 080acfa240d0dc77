"""The original's way, repaired just enough to run: four threads, boto3 with local files, a notice and a flush a file.

Its pool waited for each file before it took the next; here the pool is one. Offsets are committed by the clock.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from tests.bench.clients import member, producer_settings, rows_on, value_of
from tests.bench.obs_worker.clients import s3_client
from tests.bench.task import WorkTask, perform
from tests.bench.task_messages import notice

POOL_SIZE = 4
FLUSH_SECONDS = 10


def work(task: WorkTask) -> None:
    """Work off the topic."""
    worker = Worker(task)
    done: list[Future[None]] = []
    with member(task, is_auto_commit=True) as consumer, ThreadPoolExecutor(POOL_SIZE) as pool:
        left = rows_on(consumer, task.topic)
        while len(done) < left:
            message = consumer.poll(1.0)
            if message is not None:
                done.append(pool.submit(worker.process, json.loads(value_of(message))))
    for one in done:
        one.result()


class Worker:
    """Processes a file; the threads share its clients, as boto3 and confluent-kafka allow."""

    def __init__(self, task: WorkTask) -> None:
        self._task = task
        self._s3 = s3_client(task.store, POOL_SIZE)
        self._producer = Producer(producer_settings(task.servers))

    def process(self, one: dict[str, Any]) -> None:
        """Download, parse, upload, notify, clean up."""
        dest_key = one.get("dest_key") or one["key"] + self._task.suffix
        file = Path(self._task.scratch, "downloads", one["key"])
        result = Path(self._task.scratch, "uploads", dest_key)
        for path in (file, result):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._s3.download_file(one["bucket"], one["key"], str(file))
        os.link(file, result)
        content = {"ContentType": "application/json"}
        self._s3.upload_file(str(result), one["dest_bucket"], dest_key, ExtraArgs=content)
        value = notice(one, dest_key, (file.stat().st_size, result.stat().st_size))
        self._producer.produce(self._task.result_topic, value, one["key"])
        self._producer.flush(FLUSH_SECONDS)
        file.unlink()
        result.unlink()


if __name__ == "__main__":
    perform(WorkTask, work)
