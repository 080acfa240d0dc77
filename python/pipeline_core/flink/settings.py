"""The settings of the Flink jobs."""

import os
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline_core.config import (
    DEFAULT_TOPIC,
    ORDER_TOPIC,
    KafkaArguments,
    KafkaSettings,
    MysqlArguments,
    MysqlSettings,
)
from pipeline_core.fields import ColumnType, ColumnTypes, Files, Identifier, Metavar, Pairs, Place, Seconds, Zone
from pipeline_core.layers import Env
from pipeline_core.settings import PipelineSettings

PLACE = frozenset({"topic", "partition", "offset"})
"""Columns that the files of `parquet_job` have beside those of their settings."""

Restart = Literal["exponential-delay", "fixed-delay", "none"]


class FlinkSettings(PipelineSettings):
    """How Flink runs a job."""

    block: ClassVar[str] = "flink"

    jobmanager: Annotated[
        str,
        Metavar("HOST:PORT"),
        Field(min_length=1, description="REST address of the cluster that a job is submitted to."),
        Env("FLINK_REST_ADDRESS"),
    ] = "localhost:8081"
    jars: Annotated[
        Files,
        Field(description="Jars of the connectors, or a folder of them; none where they stand in Flink's own lib."),
        Env("FLINK_JARS"),
    ] = []
    parallelism: Annotated[int, Field(gt=0, description="Instances of each step.")] = 1
    checkpoint_seconds: Annotated[Seconds, Field(description="Time from one checkpoint to the next.")] = 10
    checkpoint_dir: Annotated[
        Place | None,
        Metavar("URL"),
        Field(description="Where checkpoints are kept, for all machines to reach; without it as the cluster is set."),
    ] = None
    savepoint: Annotated[
        Place | None, Metavar("URL"), Field(description="Savepoint or checkpoint that the job goes on from.")
    ] = None
    restart: Annotated[Restart, Field(description="How the job is started again after a failure.")] = (
        "exponential-delay"
    )
    restart_attempts: Annotated[int, Field(gt=0, description="How often in a row, before the job has failed.")] = 10
    restart_delay_seconds: Annotated[
        Seconds, Field(description="Time before a restart; it grows with exponential-delay.")
    ] = 1
    python: Annotated[
        Place | None,
        Metavar("FILE"),
        Field(description="Python of the task managers, which needs this package too; without it, the one that runs."),
    ] = None
    flink_properties: Annotated[Pairs, Field(description="Any option of Flink's; may be repeated.")] = {}


class JobSettings(KafkaSettings, FlinkSettings):
    """What the jobs have in common: a topic that is read, and where it goes wrong."""

    properties: Annotated[
        Pairs,
        Field(repr=False, description="Any property of Kafka's Java client; may be repeated."),
        Env("KAFKA_PROPERTIES"),
    ] = {}
    auto_offset_reset: Annotated[
        Literal["earliest", "latest"], Field(description="Where a new group starts."), Env("KAFKA_AUTO_OFFSET_RESET")
    ] = "earliest"
    until: Annotated[
        Literal["end", "stopped"],
        Field(description="When to end: end (of what the topic holds at the start), or stopped (by a signal)."),
    ] = "stopped"
    dead_letter_topic: Annotated[
        str | None, Field(description="Topic for refused messages; without it, the topic's name and _dlq.")
    ] = None


class WalmartConfig(JobSettings, MysqlSettings):
    """What `walmart_job` does, and with what.

    Where no settings file is named, `config/config.yml` of the working folder is read if it exists.
    """

    pipeline: ClassVar[str] = "flink_walmart"

    topic: Annotated[str, Field(min_length=1, description="Topic to read."), Env("WALMART_TOPIC")] = ORDER_TOPIC
    group_id: Annotated[
        str,
        Field(min_length=1, description="Consumer group whose offsets the job goes on from."),
        Env("KAFKA_GROUP_ID"),
    ] = "flink-walmart-order-pipeline-jdbc"
    database: Annotated[Identifier, Field(description="Database of the table."), Env("MYSQL_DATABASE")] = "ods"
    table: Annotated[Identifier, Field(description="Table of the order lines.")] = "walmart_order"
    batch_size: Annotated[int, Field(gt=0, description="Rows of one batch of statements.")] = 10
    batch_interval_ms: Annotated[int, Field(gt=0, description="Milliseconds that a batch waits for more rows.")] = 1000
    max_retries: Annotated[
        int, Field(ge=0, description="How often a batch is tried again before the job restarts.")
    ] = 3
    jdbc_properties: Annotated[
        Pairs, Field(repr=False, description="Any option of MariaDB's JDBC driver; may be repeated.")
    ] = {}
    truncate: Annotated[
        bool,
        Field(description="Cut text and round amounts that do not fit their column; else the order is refused."),
    ] = False
    formatted_timezone: Annotated[Zone, Field(description="Time zone of the columns …_formatted.")] = "UTC"
    source_file: Annotated[str, Field(max_length=100, description="What the column source_file gets.")] = "kafka_stream"


class ParquetConfig(JobSettings):
    """What `parquet_job` does, and with what."""

    pipeline: ClassVar[str] = "flink_parquet"

    topic: Annotated[str, Field(min_length=1, description="Topic to read."), Env("KAFKA_TOPIC")] = DEFAULT_TOPIC
    group_id: Annotated[
        str,
        Field(min_length=1, description="Consumer group whose offsets the job goes on from."),
        Env("KAFKA_GROUP_ID"),
    ] = "flink-parquet"
    to: Annotated[
        Place, Field(min_length=1, description="Where to write: a folder, or a URL of a file system that Flink knows.")
    ]
    columns: Annotated[
        ColumnTypes, Field(description="Columns of the files and their types, at least one; may be repeated.")
    ] = {}
    parser: Annotated[
        str,
        Metavar("MODULE:FUNCTION"),
        Field(
            pattern=r"^(json|[\w.]+:[\w.]+)$",
            description="What makes rows of a message: json (an object is a row), or a function that gives dicts for"
            " its bytes.",
        ),
    ] = "json"
    name: Annotated[str, Field(min_length=1, description="First word of a file's name.")] = "part"
    compression: Annotated[
        Literal["zstd", "snappy", "none"], Field(description="Compression of the Parquet files.")
    ] = "zstd"


class JobArguments(KafkaArguments, total=False):
    """Keyword arguments that set `JobSettings`, and a settings file."""

    config_file: str | os.PathLike[str]
    jobmanager: str
    jars: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    parallelism: int
    checkpoint_seconds: float | str
    checkpoint_dir: str | os.PathLike[str] | None
    savepoint: str | os.PathLike[str] | None
    restart: Restart
    restart_attempts: int
    restart_delay_seconds: float | str
    python: str | os.PathLike[str] | None
    flink_properties: dict[str, str]
    auto_offset_reset: Literal["earliest", "latest"]
    until: Literal["end", "stopped"]
    dead_letter_topic: str | None


class WalmartArguments(JobArguments, MysqlArguments, total=False):
    """Keyword arguments of `walmart_job`: the fields of `WalmartConfig`, and a settings file."""

    topic: str
    group_id: str
    database: str
    table: str
    batch_size: int
    batch_interval_ms: int
    max_retries: int
    jdbc_properties: dict[str, str]
    truncate: bool
    formatted_timezone: str
    source_file: str


class ParquetArguments(JobArguments, total=False):
    """Keyword arguments of `parquet_job`: the fields of `ParquetConfig`, and a settings file."""

    topic: str
    group_id: str
    to: str | os.PathLike[str]
    columns: dict[str, ColumnType]
    parser: str
    name: str
    compression: Literal["zstd", "snappy", "none"]
