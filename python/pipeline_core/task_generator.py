"""Tasks for `obs_worker` made and sent from Python, with the methods of the original `TaskGenerator`."""

import json
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from typing_extensions import Self, Unpack

from pipeline_core import _core, engine
from pipeline_core.bucket_to_kafka import Arguments, Config
from pipeline_core.exceptions import SettingsError
from pipeline_core.report import Report

Task = dict[str, Any]
"""A task: `key` and `generated_at`; `bucket`, `dest_bucket`, `dest_key`, `size`, `etag`, `last_modified` and
`metadata` where they are known."""


class TaskGenerator:
    """Makes tasks of files and sends them to Kafka; a context manager.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        **settings: Fields of `bucket_to_kafka.Config` by name, e.g. `bucket="input", topic="tasks"`. What a method is
            not told, it takes from them.

    Attributes:
        report: What the last sending did, or None.

    Raises:
        SettingsError: A setting is wrong.

    Example:
        >>> from pipeline_core import TaskGenerator
        >>> with TaskGenerator(bucket="my-bucket") as generator:
        ...     tasks = generator.generate_task_from_file_list(["data/1.csv", "data/2.csv"])
        >>> [task["key"] for task in tasks]
        ['data/1.csv', 'data/2.csv']
    """

    report: Report | None = None

    def __init__(self, config: Config | None = None, **settings: Unpack[Arguments]) -> None:
        # Which files there are is for each method to say.
        none: Arguments = {} if config else {"keys": [], "keys_file": None, "dest_key": None}
        self._config = engine.configured(Config, config, {**none, **settings})
        self._stop = _core.Stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generate_task_from_obs_list(
        self, bucket: str | None = None, prefix: str = "", dest_bucket: str | None = None, max_files: int | None = None
    ) -> list[Task]:
        """List a bucket, all its pages, "directory" keys left out, and make a task of each file.

        Files whose tasks have been sent are listed, too; sending leaves them out.

        Args:
            bucket: Its name or URL.
            prefix: Start of the keys.
            dest_bucket: Bucket for the results.
            max_files: How many tasks at most; 1,000 unless the settings say otherwise.

        Raises:
            SettingsError: No bucket is named.
            PipelineError: The bucket cannot be listed.
        """
        given = {"bucket": bucket, "prefix": prefix, "dest_bucket": dest_bucket, "max_files": max_files}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value not in (None, "")}
        settings: dict[str, Any] = {**self._config.model_dump(), "keys": [], "keys_file": None, "dest_key": None}
        config = Config(**{**settings, **changed})
        if not config.bucket:
            message = "Setting 'bucket' is missing"
            raise SettingsError(message, "Give bucket=…, or set SOURCE_BUCKET or OBS_SOURCE_BUCKET.")
        return json.loads(engine.run(_core.list_tasks, config.document(), stop=self._open()))

    def generate_task_from_file_list(
        self, file_list: Iterable[str], bucket: str | None = None, dest_bucket: str | None = None
    ) -> list[Task]:
        """Make a task for each key.

        Args:
            file_list: Keys of objects.
            bucket: Where they are.
            dest_bucket: Bucket for the results.
        """
        if isinstance(file_list, str):
            message = "Setting 'file_list' is one text"
            raise SettingsError(message, "Give a list of keys, or call generate_single_task.")
        return [self.generate_single_task(key, bucket, dest_bucket) for key in file_list]

    def generate_single_task(
        self,
        file_key: str,
        bucket: str | None = None,
        dest_bucket: str | None = None,
        dest_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Task:
        """Make a task for one key.

        Args:
            file_key: The object's key.
            bucket: Where it is.
            dest_bucket: Bucket for the result.
            dest_key: The result's key.
            metadata: Anything that JSON can hold, carried along in the task.
        """
        if not file_key:
            message = "A task needs a key"
            raise SettingsError(message, "Give the key of an object.")
        known = {
            "key": file_key,
            "bucket": bucket or self._config.bucket,
            "dest_bucket": dest_bucket or self._config.dest_bucket,
            "dest_key": dest_key,
            "generated_at": datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "metadata": dict(metadata) if metadata else None,
        }
        return {name: value for name, value in known.items() if value}

    def send_task_to_kafka(self, task: Mapping[str, Any]) -> bool:
        """Send one task and wait until the brokers have it. For many, `send_tasks_to_kafka` is much faster.

        Returns:
            False if a task for this object, unchanged since, was sent before.
        """
        return self.send_tasks_to_kafka([task]) == 1

    def send_tasks_to_kafka(
        self, tasks: Iterable[Mapping[str, Any]], batch_size: int = 100, delay_between_batches: float = 0
    ) -> int:
        """Send tasks and wait until the brokers have them.

        Tasks with an ETag that was sent before are left out, unless the setting `resend` is true.

        Args:
            tasks: What the `generate_…` methods gave.
            batch_size: How many to send between two pauses; without a pause, all are sent at once.
            delay_between_batches: Seconds of a pause. The original always paused for 0.1 s; here it is 0 unless asked
                for, since nothing is won by it.

        Returns:
            How many were sent; `report` has more.

        Raises:
            SettingsError: A task is none.
            PipelineError: Not all could be sent; those of the last batch may have been.
        """
        waiting = [dict(task) for task in tasks]
        if batch_size < 1:
            message = f"Setting 'batch_size': It must be greater than 0, not '{batch_size}'"
            raise SettingsError(message, "Leave it out to send all tasks at once.")
        size = batch_size if delay_between_batches > 0 else max(1, len(waiting))
        sent = 0
        for begin in range(0, len(waiting), size):
            if begin:
                time.sleep(delay_between_batches)
            sent += self._send(waiting[begin : begin + size])
        return sent

    def scan_and_generate_tasks(
        self,
        bucket: str | None = None,
        prefix: str = "",
        dest_bucket: str | None = None,
        max_files: int | None = None,
        send_to_kafka: bool = True,  # noqa: FBT001, FBT002 - as in the original
    ) -> list[Task]:
        """List a bucket, make a task of each file and send them.

        Args:
            bucket: Its name or URL.
            prefix: Start of the keys.
            dest_bucket: Bucket for the results.
            max_files: How many tasks at most; 1,000 unless the settings say otherwise.
            send_to_kafka: Whether to send them.

        Returns:
            The tasks; `report` tells how many of them were sent now, and how many before.
        """
        tasks = self.generate_task_from_obs_list(bucket, prefix, dest_bucket, max_files)
        if send_to_kafka:
            self.send_tasks_to_kafka(tasks)
        return tasks

    def close(self) -> None:
        """End it; what is going on in another thread stops."""
        self._stop.set()

    def _send(self, tasks: list[Task]) -> int:
        text = json.dumps(tasks, ensure_ascii=False)
        native: engine.Native = lambda document, stop, beat: _core.send_tasks(document, text, stop, beat)  # noqa: E731
        self.report = Report.from_json(engine.run(native, self._config.document(), stop=self._open()))
        return self.report.rows_written

    def _open(self) -> _core.Stop:
        if self._stop.is_set():
            message = "This TaskGenerator is closed"
            raise SettingsError(message, "Make a new one.")
        return self._stop
