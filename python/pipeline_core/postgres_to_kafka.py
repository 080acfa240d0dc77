"""The changes of a PostgreSQL table onto a Kafka topic, each once and in order, from a table that triggers fill.

```python
from pipeline_core import postgres_to_kafka

postgres_to_kafka.init_db(source_url="postgresql://postgres:password@localhost:5432/postgres")
report = postgres_to_kafka.run(source_url="postgresql://postgres:password@localhost:5432/postgres", until="end")
```
"""

import os
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self, Unpack

from pipeline_core import _core, engine
from pipeline_core.config import (
    CHANGE_TOPIC,
    KafkaArguments,
    KafkaSettings,
    MappingArguments,
    MappingSettings,
    SourceArguments,
    SourceSettings,
)
from pipeline_core.fields import Compression, Partitioner, Partitions, Replicas, Seconds, Size, Table, Until
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import DatabaseReport, Report


class Config(KafkaSettings, SourceSettings, MappingSettings, MetricsSettings):
    """What `postgres_to_kafka` does, and with what."""

    pipeline: ClassVar[str] = "postgres_to_kafka"

    table: Annotated[Table, Field(description="Table of the changes, which triggers fill.")] = "emp_cdc"
    snapshot_table: Annotated[Table, Field(description="Table that the changes are of.")] = "employees"
    topic: Annotated[str, Field(min_length=1, description="Topic to write; created when missing.")] = CHANGE_TOPIC
    until: Annotated[
        Until,
        Field(
            description="When to end: end (of the changes that were committed before the start), stopped (by a signal),"
            " a duration such as 10m, or a count such as 500000rows."
        ),
    ] = "stopped"
    snapshot: Annotated[
        bool, Field(description="Send all rows of the table first; what is interrupted goes on, what is done is done.")
    ] = False
    snapshot_rows: Annotated[int, Field(gt=0, description="With --snapshot: rows of one transaction at most.")] = 10_000
    batch_size: Annotated[int, Field(gt=0, description="Changes of one Kafka transaction at most.")] = 50_000
    poll_interval_ms: Annotated[
        int, Field(gt=0, description="Milliseconds between two looks at the table when nothing is new.")
    ] = 50
    position: Annotated[
        int | None,
        Field(
            ge=0,
            description="Go on after the change of this number, whatever was remembered; for a source made again.",
        ),
    ] = None
    restart: Annotated[
        bool,
        Field(description="Begin with the first change as a new generation; for a source made again."),
    ] = False
    partitions: Partitions = 3
    replication_factor: Replicas = None
    partitioner: Partitioner = "consistent_random"
    compression: Compression = "lz4"
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered.")] = 256 * 1024 * 1024
    stats_interval_seconds: Annotated[Seconds, Field(description="How often a line of statistics is logged.")] = 10

    @model_validator(mode="after")
    def _the_beginning_is_one(self) -> Self:
        """Refuse two places to begin at."""
        if self.restart and self.position is not None:
            message = "Setting 'restart' excludes 'position': give one of them"
            raise ValueError(message)
        return self


class Arguments(KafkaArguments, SourceArguments, MappingArguments, MetricsArguments, total=False):
    """Keyword arguments of `run`, `arun` and `init_db`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    table: str
    snapshot_table: str
    topic: str
    until: str
    snapshot: bool
    snapshot_rows: int
    batch_size: int
    poll_interval_ms: int
    position: int | None
    restart: bool
    partitions: int | None
    replication_factor: int | None
    partitioner: str
    compression: Compression
    memory_limit: int | str
    stats_interval_seconds: float | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Send the changes of a table to a topic until `until`, each once, whatever is killed on the way.

    A message is the changed row as JSON, with its number and what was done; its key is the row's. Changes are sent in
    the order of their numbers, and none before all that could still get a lower number have ended. The position stands
    on the topic `<topic>_position`, in the transaction of the messages. Make the tables with `init_db` first. Ctrl-C,
    SIGTERM and `stop` end the run after everything read is on the topic.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `source_host="db", until="end"`.

    Returns:
        `rows_read` and `rows_written` messages; in `details` the `position`, the `actions`, `snapshot_rows`, and what
        held changes back: `oldest_fence_seconds` and `held_back_by`.

    Raises:
        SettingsError: A setting is missing or wrong, or the sequence of the changes caches numbers; nothing was sent.
        NotFoundError: There is no such database or table.
        AccessDeniedError: The broker or the database refused the credentials.
        ConflictError: The source was made again, or a second run has taken over.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import postgres_to_kafka
        >>> postgres_to_kafka.run(source_host="db", until="end").details["actions"]  # doctest: +SKIP
        {'INSERT': 4, 'UPDATE': 12, 'DELETE': 1, 'TRUNCATE': 0}
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.postgres_to_kafka, config.document(), stop=stop, on_progress=on_progress))


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
        >>> report = await postgres_to_kafka.arun(source_host="db", until="end")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.postgres_to_kafka, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)


def init_db(
    config: Config | None = None, *, stop: _core.Stop | None = None, **settings: Unpack[Arguments]
) -> DatabaseReport:
    """Create the table, its table of changes and the triggers between them; what is there is kept as it is.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name, e.g. `source_host="db", table="emp_cdc"`.

    Returns:
        What was created, and the statements that did it.

    Raises:
        SettingsError: A setting is wrong; nothing was changed.
        AccessDeniedError: The database refused the credentials or the permission.
        PipelineError: Anything else; see `retryable` and `hint`.

    Example:
        >>> from pipeline_core import postgres_to_kafka
        >>> postgres_to_kafka.init_db(source_host="db").created  # doctest: +SKIP
        ['employees', 'emp_cdc', ...]
    """
    config = engine.configured(Config, config, settings)
    return DatabaseReport.from_json(engine.run(_core.init_postgres_to_kafka, config.document(), stop=stop))
