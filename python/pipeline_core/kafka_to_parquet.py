"""A Kafka topic into Parquet (or JSON) objects in GCS, S3, OBS or a local folder, each row exactly once.

```python
from pipeline_core import kafka_to_parquet

report = kafka_to_parquet.run(topic="supply-chain-orders", to="gs://my-bucket", until="end")
```
"""

import os
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import Unpack

from pipeline_core import _core, engine
from pipeline_core.config import DEFAULT_TOPIC, KafkaArguments, KafkaSettings, StoreArguments, StoreSettings
from pipeline_core.fields import ColumnType, ColumnTypes, Metavar, Names, Place, Seconds, Share, Size, Until
from pipeline_core.layers import Env
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import Report


class Config(KafkaSettings, StoreSettings, MetricsSettings):
    """What `kafka_to_parquet` does, and with what."""

    pipeline: ClassVar[str] = "kafka_to_parquet"

    topic: Annotated[str, Field(min_length=1, description="Topic to read."), Env("KAFKA_TOPIC")] = DEFAULT_TOPIC
    group_id: Annotated[
        str,
        Field(min_length=1, description="Consumer group; members of one group share the partitions."),
        Env("KAFKA_GROUP_ID"),
        Env("CONSUMER_GROUP_ID"),
    ] = "supply-chain-consumer-group"
    to: Annotated[
        Place,
        Field(min_length=1, description="Where to write: a folder or a gs://, s3://, obs:// or file:// URL."),
        Env("GCS_BUCKET_NAME", form="gs://{}", is_fallback=True),
    ]
    prefix: Annotated[
        str, Field(description="Start of every object's name below that place."), Env("GCS_OUTPUT_PREFIX")
    ] = "raw_streaming/"
    name: Annotated[str, Field(min_length=1, description="First word of an object's name after the prefix.")] = "orders"
    format: Annotated[
        Literal["parquet", "json"], Field(description="What to write; json is one array of objects, indented by two.")
    ] = "parquet"
    flush_rows: Annotated[int | None, Field(gt=0, description="Rows of one file at most.")] = None
    flush_bytes: Annotated[Size, Field(description="Size of one file, about.")] = 128 * 1024 * 1024
    flush_seconds: Annotated[Seconds, Field(description="Age of an unfinished file at most.")] = 60
    idle_seconds: Annotated[Seconds | None, Field(description="Write what is there when nothing came for so long.")] = (
        None
    )
    until: Annotated[
        Until,
        Field(
            description="When to end: end (of what the topic holds at the start), stopped (by a signal), a duration"
            " such as 10m, or a count such as 500000rows."
        ),
    ] = "stopped"
    compression: Annotated[
        Literal["zstd", "snappy", "none"], Field(description="Compression of the Parquet files.")
    ] = "zstd"
    typed: Annotated[
        bool, Field(description="Columns of numbers, booleans and times where the values are such, not text only.")
    ] = False
    column_types: Annotated[
        ColumnTypes, Field(description="Type of a column, instead of the one found; may be repeated.")
    ] = {}
    partition_by: Annotated[
        Names, Field(description="Folders by a column's value, or date=%F by the message's time; may be repeated.")
    ] = []
    auto_offset_reset: Annotated[
        Literal["earliest", "latest"],
        Field(description="Where a new group starts."),
        Env("AUTO_OFFSET_RESET"),
        Env("KAFKA_AUTO_OFFSET_RESET"),
    ] = "earliest"
    metadata_prefix: Annotated[
        str, Field(description="Put before the names of the columns topic, partition, offset, time and key.")
    ] = ""
    key_encoding: Annotated[
        Literal["utf8", "base64"], Field(description="How keys are written; base64 for keys that are not text.")
    ] = "utf8"
    dead_letter_topic: Annotated[
        str | None, Field(description="Topic for refused messages; without it, the topic's name and _dlq.")
    ] = None
    max_rejected_share: Annotated[Share, Field(description="Fail when a larger share of the rows is refused.")] = 0.1
    spill_dir: Annotated[
        Place | None, Metavar("DIR"), Field(description="Folder for unfinished files; the system's own without it.")
    ] = None
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered, over all partitions.")] = (
        256 * 1024 * 1024
    )
    session_timeout_seconds: Annotated[
        Seconds,
        Field(description="Silence after which the group takes a worker for dead."),
        Env("KAFKA_SESSION_TIMEOUT_MS", form="{}ms"),
    ] = 45


class Arguments(KafkaArguments, StoreArguments, MetricsArguments, total=False):
    """Keyword arguments of `run` and `arun`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    topic: str
    group_id: str
    to: str | os.PathLike[str]
    prefix: str
    name: str
    format: Literal["parquet", "json"]
    flush_rows: int | None
    flush_bytes: int | str
    flush_seconds: float | str
    idle_seconds: float | str | None
    until: str
    compression: Literal["zstd", "snappy", "none"]
    typed: bool
    column_types: dict[str, ColumnType]
    partition_by: str | Sequence[str]
    auto_offset_reset: Literal["earliest", "latest"]
    metadata_prefix: str
    key_encoding: Literal["utf8", "base64"]
    dead_letter_topic: str | None
    max_rejected_share: float
    spill_dir: str | os.PathLike[str] | None
    memory_limit: int | str
    session_timeout_seconds: float | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Write a topic into files until `until`, each message exactly once, whatever is killed on the way.

    Objects are named `<prefix><name>_<YYYYMMDD_HHMMSS>…` with topic, partition, first and last offset, and get the
    five columns topic, partition, offset, time and key. Messages that are refused go to the dead-letter topic with
    their topic, partition and offset. Ctrl-C, SIGTERM and `stop` end the run after everything read is written and
    committed.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `to="s3://bucket", until="10m"`. Sizes are bytes or text such as
            `"256MB"`, durations seconds or text such as `"10m"`.

    Returns:
        Rows and bytes read, written and rejected, and in `details` the objects written.

    Raises:
        SettingsError: A setting is missing or wrong; nothing was read.
        NotFoundError: There is no such topic or bucket.
        ConflictError: An object with another end stands where one of ours belongs.
        DataLossError: The topic no longer holds what comes next.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import kafka_to_parquet
        >>> kafka_to_parquet.run(topic="orders", to="./lake", until="end").status  # doctest: +SKIP
        'complete'
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.kafka_to_parquet, config.document(), stop=stop, on_progress=on_progress))


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
        >>> report = await kafka_to_parquet.arun(topic="orders", to="./lake", until="end")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.kafka_to_parquet, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)
