"""How a pipeline's settings become a command."""

import inspect
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import typer

from pipeline_core.cli import flags
from pipeline_core.cli.output import ConfigOption, JsonOption, LogFormatOption, LogLevelOption, Output
from pipeline_core.report import Document
from pipeline_core.settings import PipelineSettings

_Config = TypeVar("_Config", bound=PipelineSettings)
_AFTER_STOP = {
    "bucket_to_kafka": "What was sent is on the topic; the same command leaves it out and goes on.",
    "cdc_to_postgres": "What was applied is committed; the same command goes on from there.",
    "csv_to_kafka": "What was read is on the topic; runs with --resume go on from there, others start over.",
    "dlq": "What was sent again is marked; the same command leaves it out and goes on.",
    "flink_parquet": "The job is cancelled; the same command goes on from its last checkpoint's offsets.",
    "flink_walmart": "The job is cancelled; the same command goes on from its last checkpoint's offsets.",
    "kafka_to_parquet": "What was read is written and committed; the same command goes on from there.",
    "mongo_to_kafka": "What was sent is on the topic; the same command goes on from there.",
    "mysql_to_mysql": "Whole chunks are committed; the same command goes on with the rest.",
    "obs_worker": "What was finished is committed; the same command, or another worker, goes on from there.",
    "postgres_to_kafka": "What was sent is on the topic; the same command goes on from there.",
    "walmart_to_kafka": "The windows that were fetched whole are on the topic; the same command goes on from there.",
    "walmart_to_mysql": "What was loaded is committed; the same command goes on from there.",
}
_POSITIONAL = {
    "bucket_to_kafka": ("keys",),
    "csv_to_kafka": ("files",),
    "dlq": ("topic",),
    "validate": ("to",),
    "verify": ("to",),
}
_OF_ALL = {"config_file", "json", "log_level", "log_format"}


def add(
    app: typer.Typer, config: type[_Config], body: Callable[[_Config, Output], None], title: str, epilog: str
) -> None:
    """Make a command of a pipeline's settings and what to do with them."""

    def command(**given: Any) -> None:  # noqa: ANN401 - typer fills it
        run(config, body, given)

    name = config.pipeline.replace("_", "-")
    app.command(name, help=title, epilog=epilog)(flags.add(parameters(config), command))


def parameters(config: type[PipelineSettings], wanted: Collection[str] | None = None) -> list[inspect.Parameter]:
    """The flags of a command: the settings', or of the settings that are wanted, and those that every command has."""
    found = [
        *flags.of(config, _POSITIONAL.get(config.pipeline, ())),
        flags.parameter("config_file", ConfigOption, None),
        flags.parameter("json", JsonOption, default=False),
        flags.parameter("log_level", LogLevelOption, "info"),
        flags.parameter("log_format", LogFormatOption, "text"),
    ]
    return [one for one in found if wanted is None or one.name in {*wanted, *_OF_ALL}]


def run(config: type[_Config], body: Callable[[_Config, Output], None], given: dict[str, Any]) -> None:
    """Do a command with the flags that were given."""
    output = Output(given.pop("json"), given.pop("log_level"), given.pop("log_format"))
    with output.exit_codes(_AFTER_STOP.get(config.pipeline)):
        body(config(**{name: value for name, value in given.items() if value not in (None, [])}), output)


def inherited(context: typer.Context, given: dict[str, Any]) -> dict[str, Any]:
    """The flags of a command below another, with those that stand before its word."""
    before: dict[str, Any] = context.obj
    return {name: value if _is_said(context, name) else before[name] for name, value in given.items()}


def _is_said(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def show(report: Document, output: Output) -> None:
    """Print a report, for people or as JSON."""
    output.result(repr(report), report.to_dict())
