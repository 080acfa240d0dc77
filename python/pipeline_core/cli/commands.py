"""How a pipeline's settings become a command."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from pipeline_core.cli import flags
from pipeline_core.cli.output import ConfigOption, JsonOption, LogFormatOption, LogLevelOption, Output
from pipeline_core.report import Document
from pipeline_core.settings import PipelineSettings

_Config = TypeVar("_Config", bound=PipelineSettings)
_AFTER_STOP = {
    "bucket_to_kafka": "What was sent is on the topic; the same command leaves it out and goes on.",
    "csv_to_kafka": "What was read is on the topic; runs with --resume go on from there, others start over.",
    "kafka_to_parquet": "What was read is written and committed; the same command goes on from there.",
    "obs_worker": "What was finished is committed; the same command, or another worker, goes on from there.",
    "walmart_to_kafka": "The windows that were fetched whole are on the topic; the same command goes on from there.",
    "walmart_to_mysql": "What was loaded is committed; the same command goes on from there.",
}
_POSITIONAL = {"bucket_to_kafka": ("keys",), "csv_to_kafka": ("files",), "verify": ("to",)}


def add(
    app: typer.Typer, config: type[_Config], body: Callable[[_Config, Output], None], title: str, epilog: str
) -> None:
    """Make a command of a pipeline's settings and what to do with them."""

    def command(**given: Any) -> None:  # noqa: ANN401 - typer fills it
        run(config, body, given)

    name = config.pipeline.replace("_", "-")
    app.command(name, help=title, epilog=epilog)(flags.add(parameters(config), command))


def parameters(config: type[PipelineSettings]) -> list[inspect.Parameter]:
    """The flags of a command: the settings', and those that every command has."""
    return [
        *flags.of(config, _POSITIONAL.get(config.pipeline, ())),
        flags.parameter("config_file", ConfigOption, None),
        flags.parameter("json", JsonOption, default=False),
        flags.parameter("log_level", LogLevelOption, "info"),
        flags.parameter("log_format", LogFormatOption, "text"),
    ]


def run(config: type[_Config], body: Callable[[_Config, Output], None], given: dict[str, Any]) -> None:
    """Do a command with the flags that were given."""
    output = Output(given.pop("json"), given.pop("log_level"), given.pop("log_format"))
    with output.exit_codes(_AFTER_STOP.get(config.pipeline)):
        body(config(**{name: value for name, value in given.items() if value not in (None, [])}), output)


def show(report: Document, output: Output) -> None:
    """Print a report, for people or as JSON."""
    output.result(repr(report), report.to_dict())
