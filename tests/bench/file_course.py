"""Where the races over object stores are run: files worked off, and buckets listed, every run checked."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from . import lap
from .contestants import BUCKET_TO_KAFKA, CONTESTANTS, OBS_WORKER, Contestant, Part
from .lap import Lap, LapError
from .race import PARTITIONS, Race
from .store import Store, listed_store, memory_store
from .task import ListTask, StoreAccess, WorkTask
from .task_messages import send_tasks, successes, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .broker import Broker
    from .files import Files, Keys

SUFFIX = ".parsed.json"
WARMER = next(one for one in CONTESTANTS[OBS_WORKER] if one.name == "obstore")


@dataclass(frozen=True)
class FileCourse:
    """A Kafka and a folder for races over object stores; the stores are started for them."""

    broker: Broker
    folder: Path

    def work_race(self, files: Files, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants work off files, or those that are named."""
        race = Race(OBS_WORKER, files)
        with memory_store() as store, store.bucket() as bucket:
            store.fill(bucket, ((key, files.body(number)) for number, key in enumerate(files.names(files.rows))))
            # The first lap is slower than those after it: the server has to ask the kernel for memory.
            self.work(WARMER, files, store, bucket)
            race.run(rounds, names, lambda contestant: self.work(contestant, files, store, bucket))
        return race

    def list_race(self, keys: Keys, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants list a bucket, or those that are named."""
        race = Race(BUCKET_TO_KAFKA, keys)
        with listed_store(keys) as (store, bucket):
            race.run(rounds, names, lambda contestant: self.list(contestant, keys, store, bucket))
        return race

    def work(self, contestant: Contestant, files: Files, store: Store, bucket: str) -> Lap:
        """Let a contestant work off tasks that are there, into an empty bucket and an empty topic of notices."""
        rows = files.slow_rows if contestant.is_slow else files.rows
        keys = files.names(rows)
        with ExitStack() as there:
            dest_bucket = there.enter_context(store.bucket())
            topic, result_topic = (self._topic(there) for _ in range(2))
            scratch = there.enter_context(TemporaryDirectory(dir=self.folder))
            key_file = Path(scratch, "keys.json")
            key_file.write_text(json.dumps(keys), encoding="utf-8")
            send_tasks(self.broker, topic, (task(key, bucket, dest_bucket, files.size) for key in keys))
            work = WorkTask(
                servers=self.broker.servers,
                topic=topic,
                result_topic=result_topic,
                group=f"bench-{uuid.uuid4().hex[:12]}",
                store=_access(store),
                bucket=bucket,
                dest_bucket=dest_bucket,
                suffix=SUFFIX,
                key_file=str(key_file),
                parser=files.parser,
                processes=contestant.processes,
                scratch=scratch,
            )
            taken = self._run(f"tests.bench.{OBS_WORKER}.{contestant.module}", work, store)
            _check(f"{contestant.name} wrote (objects, bytes)", store.results(dest_bucket), (rows, rows * files.size))
            if contestant.part is not Part.CEILING:
                found = successes(self.broker, result_topic, PARTITIONS, rows)
                _check(f"{contestant.name} sent notices of success", found, rows)
        return taken

    def list(self, contestant: Contestant, keys: Keys, store: Store, bucket: str) -> Lap:
        """Let a contestant list a bucket."""
        work = ListTask(self.broker.servers, _access(store), bucket, prefix="raw/", most=10 * keys.rows)
        taken = self._run(f"tests.bench.{BUCKET_TO_KAFKA}.{contestant.module}", work, store)
        _check(f"{contestant.name} listed", taken.said["rows"], keys.rows)
        return taken

    def _topic(self, there: ExitStack) -> str:
        topic = self.broker.new_topic(PARTITIONS)
        there.callback(self.broker.delete_topic, topic)
        return topic

    def _run(self, module: str, task_: WorkTask | ListTask, store: Store) -> Lap:
        before, store_before = self.broker.cpu_seconds(), store.cpu_seconds()
        taken = lap.run(module, task_, self.folder)
        after, store_after = self.broker.cpu_seconds(), store.cpu_seconds()
        broker = None if before is None or after is None else after - before
        return replace(taken, broker_cpu_seconds=broker, store_cpu_seconds=store_after - store_before)


def _access(store: Store) -> StoreAccess:
    return StoreAccess(store.s3.url, store.s3.key, store.s3.secret, store.s3.region)


def _check(what: str, found: object, expected: object) -> None:
    if found != expected:
        message = f"{what}: {found}, not {expected}"
        raise LapError(message)
