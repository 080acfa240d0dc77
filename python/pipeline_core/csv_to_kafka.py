"""CSV files onto a Kafka topic, one JSON message a row.

```python
from pipeline_core import csv_to_kafka

report = csv_to_kafka.run(files="orders.csv", topic="supply-chain-orders")
```
"""

import os
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import Unpack

from pipeline_core import _core, engine
from pipeline_core.config import DEFAULT_TOPIC, KafkaArguments, KafkaSettings, StoreArguments, StoreSettings
from pipeline_core.fields import (
    Character,
    ColumnType,
    ColumnTypes,
    Compression,
    Metavar,
    Partitioner,
    Partitions,
    Place,
    Places,
    Replicas,
    Seconds,
    Share,
    Size,
)
from pipeline_core.layers import Env
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import Report


class Config(KafkaSettings, StoreSettings, MetricsSettings):
    """What `csv_to_kafka` does, and with what."""

    pipeline: ClassVar[str] = "csv_to_kafka"

    files: Annotated[
        Places,
        Field(description="CSV files: paths, globs or gs://, s3://, obs://, file:// URLs; gzip and zstd too."),
        Env("CSV_FILE_PATH"),
    ]
    topic: Annotated[
        str, Field(min_length=1, description="Topic to write; created when missing."), Env("KAFKA_TOPIC")
    ] = DEFAULT_TOPIC
    key: Annotated[
        str | None,
        Field(
            description='Column that becomes the message key; without it "Order Id" where there is one; "" for no key.'
        ),
    ] = None
    encoding: Annotated[
        str, Field(min_length=1, description="Encoding of the files: auto (UTF-8 or ISO-8859-1), utf-8, latin-1, …")
    ] = "auto"
    delimiter: Annotated[Character, Field(description="What stands between two cells.")] = ","
    quote: Annotated[Character, Field(description="What stands around a quoted cell.")] = '"'
    typed: Annotated[
        bool, Field(description="Write numbers, booleans and RFC 3339 times, not text for every cell.")
    ] = False
    column_types: Annotated[
        ColumnTypes, Field(description="Type of a column, instead of the one found; may be repeated.")
    ] = {}
    ragged: Annotated[
        Literal["reject", "keep"], Field(description="What to do with rows of too few or too many cells.")
    ] = "reject"
    duplicate_headers: Annotated[
        Literal["error", "rename"], Field(description="What to do when two columns have one name.")
    ] = "error"
    rate: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False, description="Rows a second; without it, as fast as it goes.")
    ] = None
    limit: Annotated[int | None, Field(gt=0, description="Stop after this many rows.")] = None
    partitions: Partitions = None
    replication_factor: Replicas = None
    partitioner: Partitioner = "murmur2_random"
    compression: Compression = "lz4"
    json_style: Annotated[
        Literal["compact", "python"],
        Field(description="compact, or the blanks and ASCII escapes of Python's json.dumps."),
    ] = "compact"
    exactly_once: Annotated[
        bool, Field(description="Send in transactions, so that read_committed readers see each row once.")
    ] = False
    resume: Annotated[bool, Field(description="Go on where an earlier run of the same files stopped.")] = False
    state_dir: Annotated[
        Place | None, Metavar("DIR"), Field(description="Folder where runs keep how far they came.")
    ] = None
    transaction_rows: Annotated[int, Field(gt=0, description="Rows in one transaction at most.")] = 100_000
    transaction_seconds: Annotated[Seconds, Field(description="Age of one transaction at most.")] = 5
    dead_letter_topic: Annotated[
        str | None, Field(description="Topic for refused rows; without it, the topic's name and _dlq.")
    ] = None
    max_rejected_share: Annotated[Share, Field(description="Fail when a larger share of the rows is refused.")] = 0.1
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered.")] = 256 * 1024 * 1024


class Arguments(KafkaArguments, StoreArguments, MetricsArguments, total=False):
    """Keyword arguments of `run` and `arun`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    topic: str
    key: str | None
    encoding: str
    delimiter: str
    quote: str
    typed: bool
    column_types: dict[str, ColumnType]
    ragged: Literal["reject", "keep"]
    duplicate_headers: Literal["error", "rename"]
    rate: float | None
    limit: int | None
    partitions: int | None
    replication_factor: int | None
    partitioner: str
    compression: Compression
    json_style: Literal["compact", "python"]
    exactly_once: bool
    resume: bool
    state_dir: str | os.PathLike[str] | None
    transaction_rows: int
    transaction_seconds: float | str
    dead_letter_topic: str | None
    max_rejected_share: float
    memory_limit: int | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Send CSV rows to a topic and wait until the brokers have them all.

    Each row becomes one JSON object, keys in column order, all values text unless `typed`. Rows that are refused go
    to the dead-letter topic with their file and line. Ctrl-C, SIGTERM and `stop` end the run after what was read is
    delivered.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `files="orders*.csv", topic="orders", rate=100`. Sizes are bytes
            or text such as `"256MB"`, durations seconds or text such as `"10m"`.

    Returns:
        Rows and bytes read, written and rejected, and in `details` the encoding that was taken.

    Raises:
        SettingsError: A setting is missing or wrong; nothing was sent.
        NotFoundError: There is no such file.
        RejectedError: More rows were refused than `max_rejected_share`.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import csv_to_kafka
        >>> report = csv_to_kafka.run(files="orders.csv", topic="orders", limit=1000)  # doctest: +SKIP
        >>> report.rows_written  # doctest: +SKIP
        1000
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.csv_to_kafka, config.document(), stop=stop, on_progress=on_progress))


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
        >>> report = await csv_to_kafka.arun(files="orders.csv", topic="orders")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.csv_to_kafka, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)
