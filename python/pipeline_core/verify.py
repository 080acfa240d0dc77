"""Are all messages of a topic in the files, each once? Answered from names and footers alone."""

import os
from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import Unpack

from pipeline_core import _core, engine
from pipeline_core.config import DEFAULT_TOPIC, KafkaArguments, KafkaSettings, StoreArguments, StoreSettings
from pipeline_core.fields import Place
from pipeline_core.layers import Env
from pipeline_core.report import VerifyReport


class Config(KafkaSettings, StoreSettings):
    """Where `verify` looks."""

    pipeline: ClassVar[str] = "verify"

    to: Annotated[
        Place,
        Field(min_length=1, description="Where the files are: a folder or a gs://, s3://, obs:// or file:// URL."),
        Env("GCS_BUCKET_NAME", form="gs://{}", is_fallback=True),
    ]
    prefix: Annotated[
        str, Field(description="Start of every object's name below that place."), Env("GCS_OUTPUT_PREFIX")
    ] = "raw_streaming/"
    topic: Annotated[str, Field(min_length=1, description="Topic the files were written from."), Env("KAFKA_TOPIC")] = (
        DEFAULT_TOPIC
    )
    name: Annotated[str, Field(min_length=1, description="First word of an object's name after the prefix.")] = "orders"
    with_topic: Annotated[bool, Field(description="Compare with the topic as it is now, too.")] = True


class Arguments(KafkaArguments, StoreArguments, total=False):
    """Keyword arguments of `verify`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    prefix: str
    topic: str
    name: str
    with_topic: bool


def verify(
    url: str | os.PathLike[str] | None = None,
    *,
    config: Config | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> VerifyReport:
    """Compare the objects below a place with the topic they were written from.

    Args:
        url: The folder or URL that `kafka_to_parquet` was given as `to`; without it, from the other settings.
        config: All settings at once, instead of `url` and `settings`.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name, e.g. `topic="orders"`.

    Returns:
        Offset ranges, gaps, overlaps and rows of each partition; `ok` says whether nothing is wrong. What is wrong
        with the data is in `problems` and never raises.

    Raises:
        SettingsError: A setting is missing or wrong.
        PipelineError: The topic or the place could not be read.

    Example:
        >>> from pipeline_core import verify
        >>> verify("gs://my-bucket", topic="orders").ok  # doctest: +SKIP
        True
    """
    arguments = dict(settings) if url is None else {**settings, "to": url}
    config = engine.configured(Config, config, arguments)
    return VerifyReport.from_json(engine.run(_core.verify, config.document(), stop=stop))
