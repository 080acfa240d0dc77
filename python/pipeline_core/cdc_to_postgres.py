"""Changes of a Kafka topic into a PostgreSQL table: inserted, updated and deleted as at their source, exactly once.

```python
from pipeline_core import cdc_to_postgres

cdc_to_postgres.init_db(target_url="postgresql://postgres:password@localhost:5433/postgres")
report = cdc_to_postgres.run(target_url="postgresql://postgres:password@localhost:5433/postgres", until="end")
```
"""

import os
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import Unpack

from pipeline_core import _core, engine
from pipeline_core.config import (
    CHANGE_TOPIC,
    KafkaArguments,
    KafkaSettings,
    MappingArguments,
    MappingSettings,
    TargetArguments,
    TargetSettings,
)
from pipeline_core.fields import Seconds, Share, Size, Table, Until
from pipeline_core.layers import Env
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import DatabaseReport, Report


class Config(KafkaSettings, TargetSettings, MappingSettings, MetricsSettings):
    """What `cdc_to_postgres` does, and with what."""

    pipeline: ClassVar[str] = "cdc_to_postgres"

    topic: Annotated[str, Field(min_length=1, description="Topic to read.")] = CHANGE_TOPIC
    group_id: Annotated[
        str,
        Field(min_length=1, description="Consumer group; members of one group share the partitions."),
        Env("KAFKA_GROUP_ID"),
    ] = "production_cdc_consumer"
    auto_offset_reset: Annotated[
        Literal["earliest", "latest"], Field(description="Where a new group starts."), Env("KAFKA_AUTO_OFFSET_RESET")
    ] = "earliest"
    until: Annotated[
        Until,
        Field(
            description="When to end: end (of what the topic holds at the start), stopped (by a signal), a duration"
            " such as 10m, or a count such as 500000rows."
        ),
    ] = "stopped"
    table: Annotated[Table, Field(description="Table that the changes are applied to.")] = "employees"
    processed_events: Annotated[Table, Field(description="Ledger of the changes that were applied.")] = (
        "processed_events"
    )
    enable_idempotency: Annotated[bool, Field(description="Keep the ledger, and leave out what it holds.")] = True
    processed_events_days: Annotated[
        float, Field(gt=0, allow_inf_nan=False, description="Days that the ledger keeps a change.")
    ] = 30
    tombstone_days: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False, description="Days that an older change cannot bring back a deleted row."),
    ] = 30
    enable_dlq: Annotated[
        bool, Field(description="Send refused messages to the dead-letter topic; otherwise the first one ends the run.")
    ] = True
    dlq_format: Annotated[
        Literal["original", "raw"],
        Field(description="A dead letter's value: original is JSON with seven fields; raw is the message's as it was."),
    ] = "original"
    dead_letter_topic: Annotated[
        str | None, Field(description="Topic for refused messages; without it, the topic's name and _dlq.")
    ] = None
    unknown_fields: Annotated[
        Literal["refuse", "ignore"], Field(description="What to do with a message that has fields of no column.")
    ] = "refuse"
    batch_size: Annotated[int, Field(gt=0, description="Messages of a partition in one transaction.")] = 20_000
    batch_interval_ms: Annotated[
        int, Field(gt=0, description="Milliseconds that a transaction waits for more messages.")
    ] = 200
    copy_rows: Annotated[int, Field(ge=0, description="Rows from which on COPY is used, not INSERT.")] = 1000
    max_retries: Annotated[
        int, Field(ge=0, description="How often a transaction is tried again after a deadlock or a lock timeout.")
    ] = 10
    connections: Annotated[int, Field(ge=1, le=16, description="Connections; partitions applied at once.")] = 4
    statement_timeout_seconds: Annotated[Seconds, Field(description="How long one statement may take.")] = 60
    max_rejected_share: Annotated[Share, Field(description="Fail when a larger share of the messages is refused.")] = (
        0.1
    )
    session_timeout_seconds: Annotated[
        Seconds,
        Field(description="Silence after which the group takes a worker for dead."),
        Env("KAFKA_SESSION_TIMEOUT_MS", form="{}ms"),
    ] = 45
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered, over all partitions.")] = (
        256 * 1024 * 1024
    )
    stats_interval_seconds: Annotated[Seconds, Field(description="How often a line of statistics is logged.")] = 10


class MoreArguments(KafkaArguments, TargetArguments, MappingArguments, MetricsArguments, total=False):
    """Those `Arguments` that the original's consumer has no name for."""

    config_file: str | os.PathLike[str]
    auto_offset_reset: Literal["earliest", "latest"]
    until: str
    table: str
    processed_events: str
    processed_events_days: float
    tombstone_days: float
    dlq_format: Literal["original", "raw"]
    dead_letter_topic: str | None
    unknown_fields: Literal["refuse", "ignore"]
    batch_size: int
    batch_interval_ms: int
    copy_rows: int
    max_retries: int
    connections: int
    statement_timeout_seconds: float | str
    max_rejected_share: float
    session_timeout_seconds: float | str
    memory_limit: int | str
    stats_interval_seconds: float | str


class Arguments(MoreArguments, total=False):
    """Keyword arguments of `run`, `arun` and `init_db`: the fields of `Config`, and a settings file."""

    topic: str
    group_id: str
    enable_idempotency: bool
    enable_dlq: bool


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Apply the changes of a topic until `until`, each exactly once, whatever is killed on the way.

    Rows, position, ledger and dead letters are one transaction of the database. An older change never replaces a newer
    one, and brings no deleted row back. Messages that are refused go to the dead-letter topic with the path that
    failed. Debezium's envelope and tombstones are understood, too. Make the tables with `init_db` first. Ctrl-C,
    SIGTERM and `stop` end the run after everything read is in the table.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `target_host="db", until="end"`.

    Returns:
        `rows_read` messages, `rows_written` changes applied and `rows_rejected` messages refused; in `details` what
        they came to: `upserted`, `deleted`, `superseded`, `stale` and `duplicates`.

    Raises:
        SettingsError: A setting is missing or wrong; nothing was read.
        NotFoundError: There is no such topic, database or table.
        AccessDeniedError: The broker or the database refused the credentials.
        RejectedError: More messages were refused than `max_rejected_share`, or one was and `enable_dlq` is false.
        DataLossError: The topic no longer holds what comes next.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import cdc_to_postgres
        >>> cdc_to_postgres.run(target_host="db", until="end").details["upserted"]  # doctest: +SKIP
        16
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.cdc_to_postgres, config.document(), stop=stop, on_progress=on_progress))


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
        >>> report = await cdc_to_postgres.arun(target_host="db", until="end")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.cdc_to_postgres, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)


def init_db(
    config: Config | None = None, *, stop: _core.Stop | None = None, **settings: Unpack[Arguments]
) -> DatabaseReport:
    """Create the tables that are missing, and the column of an existing one that holds a row's version.

    Nothing is dropped, and a second call changes nothing.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name, e.g. `target_host="db", table="employees"`.

    Returns:
        What was created, and the statements that did it.

    Raises:
        SettingsError: A setting is wrong; nothing was changed.
        AccessDeniedError: The database refused the credentials or the permission.
        PipelineError: Anything else; see `retryable` and `hint`.

    Example:
        >>> from pipeline_core import cdc_to_postgres
        >>> cdc_to_postgres.init_db(target_host="db").created  # doctest: +SKIP
        ['employees', 'processed_events', ...]
    """
    config = engine.configured(Config, config, settings)
    return DatabaseReport.from_json(engine.run(_core.init_cdc_to_postgres, config.document(), stop=stop))
