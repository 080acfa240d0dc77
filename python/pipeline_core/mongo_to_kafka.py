"""The documents of a MongoDB collection onto a Kafka topic: what is new since the last run, or every change.

```python
from pipeline_core import mongo_to_kafka

report = mongo_to_kafka.run(topic="information", mongodb_uri="mongodb://localhost:27017/raw_data_temp")
```
"""

import json
import os
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self, Unpack, override

from pipeline_core import _core, engine, parser_setup
from pipeline_core.config import KafkaArguments, KafkaSettings
from pipeline_core.data_types import BUILT_IN, DataTypes, Dotted, MappingDocument
from pipeline_core.exceptions import SettingsError
from pipeline_core.fields import (
    Compression,
    Metavar,
    Partitioner,
    Partitions,
    Place,
    Replicas,
    Seconds,
    Share,
    Size,
    Until,
    named,
)
from pipeline_core.layers import Found, closest
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.mongo_cursor import CursorReport
from pipeline_core.mongodb import MongodbArguments, MongodbSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import Report
from pipeline_core.settings import sounds_secret

JsonForm = Literal["canonical", "relaxed", "plain"]
Action = Literal["show", "set", "reset"]


def _filter(value: object) -> object:
    """A JSON object as text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
        text = json.dumps(found, ensure_ascii=False)
    except (TypeError, ValueError):
        found, text = None, ""
    if value is not None and not isinstance(found, dict):
        message = 'Write an object of extended JSON, such as {"date": {"$gte": {"$date": "2026-01-01T00:00:00Z"}}}'
        raise ValueError(message)
    return value if value is None or isinstance(value, str) else text


class Config(KafkaSettings, MongodbSettings, MetricsSettings):
    """What `mongo_to_kafka` does, and with what."""

    pipeline: ClassVar[str] = "mongo_to_kafka"

    topic: Annotated[str, Field(min_length=1, description="Topic to write; created when missing.")]
    data_type: Annotated[
        str,
        Field(
            min_length=1,
            description="What becomes of a document: information, raw (all of it), or one of the data types of your"
            " own.",
        ),
    ] = "information"
    data_types: Annotated[
        DataTypes,
        Field(
            description="Data types of your own, as NAME=module:Class or a JSON object of mappings; may be repeated;"
            " longer ones stand in tables data_types.NAME of a settings file."
        ),
    ] = {}
    collection: Annotated[str, Field(min_length=1, description="Collection to read.")] = "raw_information_list_temp"
    cursor_field: Annotated[Dotted, Field(description="Field whose values tell what is new, in mode cursor.")] = "_id"
    mode: Annotated[
        Literal["cursor", "stream"],
        Field(description="cursor: what is new by a field; stream: inserts, updates and deletes as they happen."),
    ] = "cursor"
    full_amount: Annotated[
        bool,
        Field(
            description="Send all documents once more; one that was interrupted goes on, and what is new stays known."
        ),
    ] = False
    snapshot: Annotated[
        bool, Field(description="Begin a stream with all documents; without it, with what changes from now on.")
    ] = True
    filter: Annotated[
        str | None,
        Metavar("JSON"),
        BeforeValidator(_filter),
        Field(description="Which documents, as an object of extended JSON; in mode cursor."),
    ] = None
    json_form: Annotated[
        JsonForm | None,
        Metavar("NAME"),
        Field(
            description="How values look: canonical or relaxed (Extended JSON v2), or plain; without it canonical for"
            " raw, else plain."
        ),
    ] = None
    until: Annotated[
        Until,
        Field(
            description="When to end: end (of what was there at the start), stopped (by a signal), a duration such as"
            " 10m, or a count such as 500000rows."
        ),
    ] = "end"
    debug: Annotated[bool, Field(description="Log what is done with each batch.")] = False
    exactly_once: Annotated[
        bool, Field(description="Send in transactions that hold the position, too; for read_committed readers.")
    ] = False
    batch_size: Annotated[int, Field(gt=0, description="Documents that the server gives at once.")] = 1000
    transaction_rows: Annotated[
        int, Field(gt=0, description="Messages after which the position is saved, at most.")
    ] = 10_000
    transaction_seconds: Annotated[Seconds, Field(description="Time after which it is saved, at most.")] = 5
    lag_seconds: Annotated[
        Seconds, Field(description="How late a document may become visible behind its stamp, in mode cursor.")
    ] = 10
    window_documents: Annotated[
        int, Field(gt=0, description="Documents that are remembered inside of that time, at most.")
    ] = 20_000
    poll_interval_ms: Annotated[
        int, Field(gt=0, description="Milliseconds between two looks when nothing is new, in mode cursor.")
    ] = 1000
    full_document: Annotated[
        Literal["lookup", "post-image"],
        Metavar("NAME"),
        Field(
            description="What an update sends: lookup (the document as it is now), or post-image (as it was then, where"
            " the collection keeps these)."
        ),
    ] = "lookup"
    on_lost_token: Annotated[
        Literal["catch-up", "fail"],
        Metavar("NAME"),
        Field(description="When the server no longer has what comes after the position of a stream: catch-up or fail."),
    ] = "catch-up"  # noqa: S105 - no password
    heartbeat_seconds: Annotated[Seconds, Field(description="How often an idle stream saves its position.")] = 10
    dead_letter_topic: Annotated[
        str | None, Field(description="Topic for refused documents; without it, the topic's name and _dlq.")
    ] = None
    max_rejected_share: Annotated[Share, Field(description="Fail when a larger share of the documents is refused.")] = (
        0.1
    )
    partitions: Partitions = None
    replication_factor: Replicas = None
    partitioner: Partitioner = "murmur2_random"
    compression: Compression = "gzip"
    producer_config: Annotated[
        dict[str, Any] | None,
        Metavar("NAME=VALUE"),
        Field(
            repr=False,
            description="Settings of the producer by kafka-python's names, as the original has them; may be repeated.",
        ),
    ] = None
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered.")] = 256 * 1024 * 1024
    runtime_dir: Annotated[Place, Metavar("DIR"), Field(min_length=1, description="Folder of the cursor files.")] = (
        "runtime"
    )
    stats_interval_seconds: Annotated[Seconds, Field(description="How often a line of statistics is logged.")] = 10

    @classmethod
    @override
    def layers(cls, arguments: dict[str, Any]) -> list[dict[str, Found]]:
        """What each place sets, with what a `producer_config` stands for in its place.

        Raises:
            SettingsError: A name is unknown, also in `producer_config`, or the file could not be read.
        """
        layers = super().layers(arguments)
        for layer in layers:
            producer = layer.pop("producer_config", Found(None, ""))
            for name, value in _of_producer(producer).items():
                given = layer.setdefault(name, Found(value, producer.origin))
                if name == "properties":
                    layer[name] = given._replace(value=_with(value, given.value))
        return layers

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        """Refuse a data type that there is not, or twice, and a filter that nothing reads."""
        taken = next((name for name in BUILT_IN if name in self.data_types), None)
        known = [*BUILT_IN, *self.data_types]
        message = ""
        if taken is not None:
            message = f"Setting 'data_types' has {taken!r}, which is built in: give it another name"
        elif self.data_type not in known:
            message = f"Setting 'data_type' is {self.data_type!r}, which is none of {', '.join(known)}"
            message += closest(self.data_type, known)
        elif self.filter is not None and self.mode != "cursor":
            message = "Setting 'filter' is for the mode cursor only"
        if message:
            raise ValueError(message)
        return self

    @override
    def document(self) -> str:
        document = json.loads(super().document())
        del document["producer_config"]
        model = self.data_types[self.data_type].model if self.data_type in self.data_types else None
        document["model_setup"] = parser_setup.of_class(model) if model else None
        return json.dumps(document, ensure_ascii=False)


class Arguments(KafkaArguments, MongodbArguments, MetricsArguments, total=False):
    """Keyword arguments of `run`, `arun` and `cursor`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    topic: str
    data_type: str
    data_types: dict[str, MappingDocument | str | type]
    collection: str
    cursor_field: str
    mode: Literal["cursor", "stream"]
    full_amount: bool
    snapshot: bool
    filter: str | dict[str, Any] | None
    json_form: JsonForm | None
    until: str
    debug: bool
    exactly_once: bool
    batch_size: int
    transaction_rows: int
    transaction_seconds: float | str
    lag_seconds: float | str
    window_documents: int
    poll_interval_ms: int
    full_document: Literal["lookup", "post-image"]
    on_lost_token: Literal["catch-up", "fail"]
    heartbeat_seconds: float | str
    dead_letter_topic: str | None
    max_rejected_share: float
    partitions: int | None
    replication_factor: int | None
    partitioner: str
    compression: Compression
    producer_config: dict[str, Any] | None
    memory_limit: int | str
    runtime_dir: str | os.PathLike[str]
    stats_interval_seconds: float | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Send the documents of a collection to a topic until `until`; the position follows what the brokers have.

    A message is the document as its data type maps it; its key is the document's `_id`. In mode cursor the documents
    that are new by `cursor_field` are sent, in mode stream every insert, update and delete, the last as a message
    without a value. The position stands in a file below `runtime_dir`; with `exactly_once` it is also in the
    transaction of the messages. Documents that are refused go to the dead-letter topic. Ctrl-C, SIGTERM and `stop` end
    the run; what was read ahead is read again by the next.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `topic="information", full_amount=True`. In `data_types` a mapping
            is a dict, and a class of a module may stand for itself.

    Returns:
        `rows_read` documents or changes, `rows_written` messages; in `details` the `position`, and what was not sent:
        `duplicates`, `waiting`, `vanished`, `left_out`, `dead_letters`, and `gaps` of a stream.

    Raises:
        SettingsError: A setting is missing or wrong; nothing was sent.
        NotFoundError: There is no such collection.
        AccessDeniedError: The broker or the server refused the credentials.
        ConflictError: Another run has the cursor file, or it is of another filter or field.
        DataLossError: The server no longer has what a stream would go on from, and `on_lost_token` is `fail`.
        RejectedError: More documents were refused than `max_rejected_share`.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import mongo_to_kafka
        >>> mongo_to_kafka.run(topic="information", mongodb_host="db").rows_written  # doctest: +SKIP
        1000
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.mongo_to_kafka, config.document(), stop=stop, on_progress=on_progress))


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
        >>> report = await mongo_to_kafka.arun(topic="information", mode="stream", until="1h")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.mongo_to_kafka, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)


def cursor(
    action: Action = "show",
    value: str | None = None,
    config: Config | None = None,
    *,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> CursorReport:
    """Show how far the runs of a topic and a collection have come, or set where the next one begins.

    Args:
        action: `show`, `set`, or `reset`, which makes the next run begin with the first document.
        value: With `set`: an ObjectId of 24 hexadecimal digits, or another value of the field as extended JSON. What
            has this value, or a lower one, counts as sent.
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name; `topic`, `collection`, `mode` and `runtime_dir` say whose cursor it is.

    Raises:
        SettingsError: A setting or the value is wrong; nothing was changed.
        ConflictError: A run has the cursor file.
        PipelineError: The file could not be read or written.

    Example:
        >>> mongo_to_kafka.cursor("set", "6560cf7e1f2b3c4d5e6f7081", topic="information").file  # doctest: +SKIP
        'runtime/cursors/information/raw_information_list_temp/cursor.db'
    """
    config = engine.configured(Config, config, settings)
    if (value is not None) != (action == "set"):
        message = "A cursor needs a value to be set to" if action == "set" else f"Action {action!r} takes no value"
        raise SettingsError(message, "Give one with the action 'set', and with no other.")
    native = partial(_cursor, action, value)
    return CursorReport.from_json(engine.run(native, config.document(), stop=stop))


def _cursor(action: Action, value: str | None, document: str, stop: _core.Stop, beat: Any) -> str:  # noqa: ANN401
    return _core.mongo_cursor(document, action, value, stop, beat)


def _of_producer(found: Found) -> dict[str, Any]:
    """Our settings for kafka-python's."""
    if found.value is None:
        return {}
    from pipeline_core.producer_config import translate  # noqa: PLC0415

    try:
        given = named(found.value)
    except ValueError as error:
        given, reason = None, str(error)
    else:
        reason = "Write names and values"
    if not isinstance(given, dict):
        message = f"Setting 'producer_config' ({found.origin}): {reason}"
        raise SettingsError(message, "It takes kafka-python's names, such as acks, linger_ms and compression_type.")
    pairs = cast("dict[str, Any]", given).items()
    return translate({name: _number(value) if not sounds_secret(name) else value for name, value in pairs})


def _with(weaker: dict[str, Any], given: object) -> object:
    """More properties; what cannot be read is left for the check of its field."""
    try:
        own = named(given)
    except ValueError:
        return given
    return {**weaker, **cast("dict[str, Any]", own)} if isinstance(own, dict) else given


def _number(value: object) -> object:
    """A number of the command line's, which is text there."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value
