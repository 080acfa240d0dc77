"""Walmart's orders from a Kafka topic into MySQL or MariaDB: lines, charges, statuses and refunds, exactly once.

```python
from pipeline_core import walmart_to_mysql

walmart_to_mysql.init_db(mysql_url="mysql://root:password@localhost:3306")
report = walmart_to_mysql.run(mysql_url="mysql://root:password@localhost:3306", until="end")
```
"""

import os
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import Unpack

from pipeline_core import _core, engine
from pipeline_core.config import ORDER_TOPIC, KafkaArguments, KafkaSettings, MysqlArguments, MysqlSettings
from pipeline_core.fields import Identifier, Seconds, Share, Size, Until, Zone
from pipeline_core.layers import Env
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import DatabaseReport, Report


class Config(KafkaSettings, MysqlSettings, MetricsSettings):
    """What `walmart_to_mysql` does, and with what.

    Where no settings file is named, `config/config.yml` of the working folder is read if it exists.
    """

    pipeline: ClassVar[str] = "walmart_to_mysql"

    topic: Annotated[str, Field(min_length=1, description="Topic to read."), Env("WALMART_TOPIC")] = ORDER_TOPIC
    group_id: Annotated[
        str,
        Field(min_length=1, description="Consumer group; members of one group share the partitions."),
        Env("KAFKA_GROUP_ID"),
    ] = "flink-walmart-order-pipeline-jdbc"
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
    database: Annotated[Identifier, Field(description="Database of the tables."), Env("MYSQL_DATABASE")] = "ods"
    # The longest name made of it has eight letters more, and MySQL takes 64.
    table: Annotated[
        Identifier, Field(max_length=56, description="Table of the order lines; the others are named after it.")
    ] = "walmart_order"
    batch_size: Annotated[int, Field(gt=0, description="Messages of a partition in one transaction.")] = 5000
    batch_interval_ms: Annotated[
        int, Field(gt=0, description="Milliseconds that a transaction waits for more orders.")
    ] = 1000
    max_retries: Annotated[
        int, Field(ge=0, description="How often a transaction is tried again after a deadlock or a lock timeout.")
    ] = 10
    rows_per_statement: Annotated[int, Field(ge=1, le=1200, description="Rows of one INSERT at most.")] = 100
    connections: Annotated[int, Field(ge=1, le=16, description="Connections; partitions loaded at once.")] = 4
    truncate: Annotated[
        bool,
        Field(description="Cut text and round amounts that do not fit their column; else the order is refused."),
    ] = False
    raw: Annotated[bool, Field(description="Keep what no column holds in a JSON column raw.")] = False
    formatted_timezone: Annotated[Zone, Field(description="Time zone of the columns …_formatted.")] = "UTC"
    source_file: Annotated[str, Field(max_length=100, description="What the column source_file gets.")] = "kafka_stream"
    dead_letter_topic: Annotated[
        str | None, Field(description="Topic for refused orders; without it, the topic's name and _dlq.")
    ] = None
    max_rejected_share: Annotated[Share, Field(description="Fail when a larger share of the orders is refused.")] = 0.1
    session_timeout_seconds: Annotated[
        Seconds,
        Field(description="Silence after which the group takes a worker for dead."),
        Env("KAFKA_SESSION_TIMEOUT_MS", form="{}ms"),
    ] = 45
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered, over all partitions.")] = (
        256 * 1024 * 1024
    )


class Arguments(KafkaArguments, MysqlArguments, MetricsArguments, total=False):
    """Keyword arguments of `run`, `arun` and `init_db`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    topic: str
    group_id: str
    auto_offset_reset: Literal["earliest", "latest"]
    until: str
    database: str
    table: str
    batch_size: int
    batch_interval_ms: int
    max_retries: int
    rows_per_statement: int
    connections: int
    truncate: bool
    raw: bool
    formatted_timezone: str
    source_file: str
    dead_letter_topic: str | None
    max_rejected_share: float
    session_timeout_seconds: float | str
    memory_limit: int | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Load the orders of a topic until `until`, each exactly once, whatever is killed on the way.

    A line of an order is a row of `table`; its charges, statuses and refunds are rows of `<table>_charge`, `_status`
    and `_refund`. An older snapshot of an order never replaces a newer one. Orders that are refused go to the
    dead-letter topic with the path that failed. Make the tables with `init_db` first. Ctrl-C, SIGTERM and `stop` end
    the run after everything read is in the tables.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`,
            or `config/config.yml` of the working folder where no file is named.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `mysql_host="db", until="end"`.

    Returns:
        `rows_read` messages, `rows_written` rows of the order table and `rows_rejected` orders refused; in `details`
        `tables`, a dict of each table's name and the rows that changed in it.

    Raises:
        SettingsError: A setting is missing or wrong; nothing was read.
        NotFoundError: There is no such topic, database or table.
        AccessDeniedError: The broker or the database refused the credentials.
        RejectedError: More orders were refused than `max_rejected_share`.
        DataLossError: The topic no longer holds what comes next.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import walmart_to_mysql
        >>> walmart_to_mysql.run(mysql_host="db", until="end").details["tables"]  # doctest: +SKIP
        {'walmart_order': 2031, 'walmart_order_charge': 2222, 'walmart_order_status': 2031, 'walmart_order_refund': 155}
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.walmart_to_mysql, config.document(), stop=stop, on_progress=on_progress))


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
        >>> report = await walmart_to_mysql.arun(mysql_host="db", until="end")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.walmart_to_mysql, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)


def init_db(
    config: Config | None = None, *, stop: _core.Stop | None = None, **settings: Unpack[Arguments]
) -> DatabaseReport:
    """Create the databases and tables that are missing; a second call changes nothing.

    A table of the original's shape is kept with all its rows, and its key gains the line's number.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`,
            or `config/config.yml` of the working folder where no file is named.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name, e.g. `mysql_host="db", database="ods"`.

    Returns:
        What was created, what was migrated, and the statements that did it.

    Raises:
        SettingsError: A setting is wrong; nothing was changed.
        AccessDeniedError: The database refused the credentials or the permission.
        ConflictError: A table of that name has another shape.
        PipelineError: Anything else; see `retryable` and `hint`.

    Example:
        >>> from pipeline_core import walmart_to_mysql
        >>> walmart_to_mysql.init_db(mysql_host="db").created  # doctest: +SKIP
        ['ods', 'dws', 'ods.walmart_order', ...]
    """
    config = engine.configured(Config, config, settings)
    return DatabaseReport.from_json(engine.run(_core.init_walmart_to_mysql, config.document(), stop=stop))
