"""A topic as Arrow record batches, for notebooks: pyarrow, polars and DuckDB take them without a copy."""

import os
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field
from typing_extensions import Unpack

from pipeline_core import _core, engine
from pipeline_core.config import DEFAULT_TOPIC, KafkaArguments, KafkaSettings
from pipeline_core.fields import ColumnType, ColumnTypes, Until
from pipeline_core.layers import ArgumentOnly, Env


def _start(value: object) -> object:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and text not in {"earliest", "latest"} and not text.isdecimal():
        message = "Write earliest, latest or an offset"
        raise ValueError(message)
    return text


class Config(KafkaSettings):
    """What `read_batches` reads. Only Kafka's address and the topic come from the environment."""

    pipeline: ClassVar[str] = "read_batches"

    topic: Annotated[str, Field(min_length=1, description="Topic to read."), Env("KAFKA_TOPIC")] = DEFAULT_TOPIC
    start: Annotated[
        str, ArgumentOnly(), BeforeValidator(_start), Field(description="earliest, latest or an offset.")
    ] = "earliest"
    until: Annotated[
        Until,
        ArgumentOnly(),
        Field(description="When to end: end (of what is there now), or a count such as 1000rows."),
    ] = "end"
    typed: Annotated[bool, ArgumentOnly(), Field(description="Numbers, booleans and times as such.")] = False
    column_types: Annotated[ColumnTypes, ArgumentOnly(), Field(description="Type of a column by its name.")] = {}
    batch_rows: Annotated[int, ArgumentOnly(), Field(gt=0, description="Rows of one batch at most.")] = 8192
    metadata: Annotated[
        bool, ArgumentOnly(), Field(description="Add the columns topic, partition, offset, time and key.")
    ] = True


class Arguments(KafkaArguments, total=False):
    """Keyword arguments of `read_batches`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    start: str | int
    until: str
    typed: bool
    column_types: dict[str, ColumnType]
    batch_rows: int
    metadata: bool


def read_batches(
    topic: str | None = None, *, config: Config | None = None, **settings: Unpack[Arguments]
) -> _core.BatchReader:
    """Read a topic as an iterator of Arrow record batches; the topic and its groups stay as they are.

    Args:
        topic: Topic to read; without it, from the other settings.
        config: All settings at once, instead of `topic` and `settings`.
        **settings: Fields of `Config` by name: `start` ("earliest", "latest" or an offset), `until` ("end" or a
            number of rows such as "1000rows"), `typed`, `column_types`, `batch_rows`, `metadata`, and how to reach
            Kafka.

    Returns:
        An iterator of batches of up to `batch_rows` rows, itself an Arrow stream; iterate it, or give it whole to
        `pyarrow.table`, `polars.DataFrame` or DuckDB's `register`. Close it, or read it to its end.

    Raises:
        SettingsError: A setting is missing or wrong.
        NotFoundError: There is no such topic.
        UnavailableError: The broker could not be reached.

    Example:
        >>> import polars  # doctest: +SKIP
        >>> polars.DataFrame(pipeline_core.read_batches("orders", until="1000rows"))  # doctest: +SKIP
    """
    arguments = dict(settings) if topic is None else {**settings, "topic": topic}
    config = engine.configured(Config, config, arguments)
    return _core.read_batches(config.document())
