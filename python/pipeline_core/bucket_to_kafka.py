"""Files of a bucket onto a Kafka topic, one task a file, for `obs_worker` to take.

```python
from pipeline_core import bucket_to_kafka

report = bucket_to_kafka.run(bucket="input-files", prefix="data/2026/", include="**/*.csv")
```
"""

import os
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self, Unpack

from pipeline_core import _core, engine
from pipeline_core.config import TASK_TOPIC, KafkaArguments, KafkaSettings, StoreArguments, StoreSettings
from pipeline_core.fields import (
    Compression,
    Keys,
    Metavar,
    Names,
    Partitioner,
    Partitions,
    Place,
    Replicas,
    Scheme,
    Since,
    Size,
)
from pipeline_core.layers import Env
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import Report


class Config(KafkaSettings, StoreSettings, MetricsSettings):
    """What `bucket_to_kafka` does, and with what."""

    pipeline: ClassVar[str] = "bucket_to_kafka"

    keys: Annotated[
        Keys, Field(description="Keys of single files; without any, the bucket is listed."), Env("SINGLE_FILE")
    ] = []
    keys_file: Annotated[Place | None, Metavar("FILE"), Field(description="File with one key a line; - for stdin.")] = (
        None
    )
    bucket: Annotated[
        str | None,
        Metavar("BUCKET"),
        Field(min_length=1, description="Bucket with the files: a name, or a URL such as s3://bucket."),
        Env("SOURCE_BUCKET"),
        Env("OBS_SOURCE_BUCKET"),
    ] = None
    prefix: Annotated[str, Field(description="Start of the keys that are listed."), Env("FILE_PREFIX")] = ""
    dest_bucket: Annotated[
        str | None,
        Metavar("BUCKET"),
        Field(min_length=1, description="Bucket for the results; without it, the worker's."),
        Env("DEST_BUCKET"),
    ] = None
    dest_key: Annotated[
        str | None,
        Metavar("KEY"),
        Field(min_length=1, description="Key of the result, for a single file."),
        Env("DEST_KEY"),
    ] = None
    max_files: Annotated[int, Field(gt=0, description="Tasks of one run at most."), Env("MAX_FILES")] = 1000
    include: Annotated[
        Names,
        Metavar("GLOB"),
        Field(description="Only keys like this, such as **/*.csv; * does not cross a /. May be repeated."),
    ] = []
    exclude: Annotated[Names, Metavar("GLOB"), Field(description="No keys like this; may be repeated.")] = []
    since: Annotated[
        Since | None, Field(description="Only files changed since a time, a date, or a duration ago such as 24h.")
    ] = None
    scheme: Annotated[Scheme, Field(description="Where buckets without a scheme are.")] = "obs"
    topic: Annotated[
        str, Field(min_length=1, description="Topic for the tasks; created when missing."), Env("KAFKA_TOPIC_TASKS")
    ] = TASK_TOPIC
    resend: Annotated[
        bool, Field(description="Send tasks for files that have not changed since the last time too.")
    ] = False
    dry_run: Annotated[bool, Field(description="List and count, but send nothing.")] = False
    list_concurrency: Annotated[int, Field(ge=1, le=64, description="Listings at once.")] = 8
    partitions: Partitions = None
    replication_factor: Replicas = None
    partitioner: Partitioner = "consistent_random"
    compression: Compression = "lz4"
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered.")] = 256 * 1024 * 1024

    @model_validator(mode="after")
    def _a_result_has_one_source(self) -> Self:
        """Refuse one name for the results of many files."""
        if self.dest_key and (len(self.keys) != 1 or self.keys_file):
            message = "Setting 'dest_key' (DEST_KEY) needs exactly one key (SINGLE_FILE), for it names one result"
            raise ValueError(message)
        return self


class Arguments(KafkaArguments, StoreArguments, MetricsArguments, total=False):
    """Keyword arguments of `run` and `arun`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    keys: str | Sequence[str]
    keys_file: str | os.PathLike[str] | None
    bucket: str | None
    prefix: str
    dest_bucket: str | None
    dest_key: str | None
    max_files: int
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    since: str | date | timedelta | None
    scheme: Scheme
    topic: str
    resend: bool
    dry_run: bool
    list_concurrency: int
    partitions: int | None
    replication_factor: int | None
    partitioner: str
    compression: Compression
    memory_limit: int | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Send a task for each file of a bucket, or for the keys that are given, and wait until the brokers have them.

    A file whose ETag a task was sent for already is left out, unless `resend`. "Directory" keys are no files.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `bucket="input", prefix="data/", since="24h"`.

    Returns:
        `rows_read` files listed and `rows_written` tasks sent, and in `details` how many were sent before.

    Raises:
        SettingsError: A setting is missing or wrong; nothing was sent.
        NotFoundError: There is no such bucket.
        AccessDeniedError: The bucket or the broker refused the credentials.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after what was listed is sent.
        SystemExit: SIGTERM (143), after what was listed is sent.

    Example:
        >>> from pipeline_core import bucket_to_kafka
        >>> bucket_to_kafka.run(bucket="input-files", prefix="data/").rows_written  # doctest: +SKIP
        1000
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.bucket_to_kafka, config.document(), stop=stop, on_progress=on_progress))


async def arun(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """`run` without blocking the event loop. Cancelling it drains first, then raises CancelledError.

    `on_progress` is called on the event loop's thread.

    Example:
        >>> report = await bucket_to_kafka.arun(bucket="input-files")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.bucket_to_kafka, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)
