"""One job of `obs_worker`: a topic of tasks, a bucket to read and one to write, and the folder where workers run."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from confluent_kafka import ConsumerGroupState, Producer
from confluent_kafka.admin import AdminClient
from tests.python.support import files, notices, parsers, topics
from tests.python.support.children import Child, Ended, succeed, wait_until
from tests.python.support.places import obs_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.python.support.files import File
    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

SUFFIX = ".parsed.json"
GENERATED_AT = "2026-01-02T03:04:05.000006Z"
PARSER_PROCESS = "parser_process.py"


@dataclass
class Job:
    """What the tests of `obs_worker` need of the world.

    Attributes:
        kafka: The broker.
        s3: The store, as the tests see it.
        folder: Where workers run; `parsers.py` lies in it.
        url: Where workers reach the store.
        partitions: How many the topic of the tasks has.
        settings: What workers are told; changed by keyword arguments of `worker` and `work`.
    """

    kafka: Kafka
    s3: S3
    folder: Path
    url: str | None = None
    partitions: int = 1
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.source, self.dest = self.s3.new_bucket(), self.s3.new_bucket()
        self.topic = self.kafka.new_topic(self.partitions)
        self.result_topic = f"{self.topic}-results"
        parsers.install(self.folder)
        self.settings = {
            "topic": self.topic,
            "result_topic": self.result_topic,
            "group_id": self.topic,
            "bootstrap_servers": self.kafka.bootstrap,
            "dest_bucket": self.dest,
            "auto_offset_reset": "earliest",
            "session_timeout_seconds": 1.5,
            "heartbeat_seconds": 0.5,
            "processes": 2,
            "parser": "parsers:copying",
            "retry_seconds": 0.1,
            "until": "end",
            "log_format": "json",
            "json": True,
            **obs_settings(self.s3, self.url),
            **self.settings,
        }

    def put(self, *put: File) -> None:
        """Put files into the source bucket, without a task."""
        files.put(self.s3, self.source, put)

    def task(self, key: str, **more: object) -> dict[str, object]:
        """A task for a file of the source bucket."""
        task = {"key": key, "bucket": self.source, "dest_bucket": self.dest, **more, "generated_at": GENERATED_AT}
        return {name: value for name, value in task.items() if value is not None}

    def send(self, *tasks: Mapping[str, object] | bytes | str | None, keys: Iterable[str] = ()) -> None:
        """Put tasks, or what is none, on the topic; a text is the key of a file."""
        producer = Producer({**self.kafka.properties(), **topics.QUIET, "enable.idempotence": True})
        given = [*keys, *tasks]
        assert given, "There is nothing to send"
        for item in given:
            task = self.task(item) if isinstance(item, str) else item
            if isinstance(task, bytes) or task is None:
                producer.produce(self.topic, task, b"a key of Kafka")
            else:
                producer.produce(self.topic, json.dumps(task).encode(), str(task["key"]).encode())
        assert producer.flush(topics.SECONDS) == 0

    def add(self, *added: File) -> None:
        """Put files into the source bucket, with a task for each."""
        self.put(*added)
        self.send(keys=[file.key for file in added])

    def worker(self, *, fault: str = "", environment: Mapping[str, str] | None = None, **changed: object) -> Child:
        """Start a worker; what is changed to None is not set."""
        given = {name: value for name, value in {**self.settings, **changed}.items() if value is not None}
        return Child(self.folder, "obs-worker", fault=fault, environment=environment, **given)

    def work(self, *, environment: Mapping[str, str] | None = None, **changed: object) -> Ended:
        """Run a worker until the topic's end; it must end well."""
        given = {name: value for name, value in {**self.settings, **changed}.items() if value is not None}
        return succeed(self.folder, "obs-worker", environment=environment, **given)

    def notices(self) -> list[dict[str, Any]]:
        """The notices so far."""
        return notices.notices(self.kafka, self.result_topic)

    def notice(self, key: str) -> dict[str, Any]:
        """The one notice of a file."""
        told = [notice for notice in self.notices() if notice["source"]["key"] == key]
        assert len(told) == 1, f"{key} was told {len(told)} times"
        return told[0]

    def wait_for_members(self, count: int) -> None:
        """Wait until the group has so many members and each knows its partitions."""
        admin = AdminClient({**self.kafka.properties(), **topics.QUIET})

        def is_so() -> bool:
            group = admin.describe_consumer_groups([self.topic])[self.topic].result(timeout=30)
            return group.state == ConsumerGroupState.STABLE and len(group.members) == count

        wait_until(is_so, f"the group has {count} members", 60)

    def wait_for_notices(self, count: int, *workers: Child, seconds: float = 60) -> None:
        """Wait until so many notices are there; the workers must live."""

        def is_so() -> bool:
            for worker in workers:
                assert worker.is_running, f"It ended with {worker.process.returncode}:\n{worker.said[-3000:]}"
            return len(topics.messages(self.kafka, self.result_topic)) >= count

        wait_until(is_so, f"{count} notices", seconds)

    def letters(self) -> list[topics.Message]:
        """The dead letters so far."""
        return topics.dead_letters(self.kafka, self.topic)

    def result(self, key: str, bucket: str | None = None) -> bytes:
        """The result object of that name."""
        return self.s3.read(bucket or self.dest, key)

    def runs(self, key: str) -> int:
        """How often a parser was begun for a file."""
        return parsers.attempts(self.folder, key)

    def left_behind(self) -> list[str]:
        """Local files that are still in the work folder."""
        folder = self.folder / "work"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def assert_each_file_once(self, *expected: File, failed: Iterable[str] = ()) -> None:
        """What `notices.assert_each_file_once` says, of this job."""
        places = (self.topic, self.result_topic, (self.source, self.dest))
        notices.assert_each_file_once(self.kafka, self.s3, *places, expected, set(failed))


def attempts_told(said: str, status: str | None = None) -> list[dict[str, Any]]:
    """The log lines about attempts that have ended; all lines must be JSON."""
    lines = [json.loads(line) for line in said.splitlines()]
    return [line for line in lines if "file_key" in line and status in {None, line.get("status")}]


def parser_processes(folder: Path) -> list[psutil.Process]:
    """The parser processes of workers that run in `folder`."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if process.info["cwd"] == str(folder) and any(part.endswith(PARSER_PROCESS) for part in command):
            found.append(process)
    return found


def assert_no_parser_is_left(folder: Path) -> None:
    """Whoever runs parsers takes them along when it goes, however it goes."""
    assert sys.platform == "linux"
    wait_until(lambda: not parser_processes(folder), "The parsers of dead workers are gone", 10)
