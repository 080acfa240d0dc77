"""`csv-to-kafka`, `kafka-to-parquet`, `verify`, and `check` for each of them."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer

from pipeline_core import csv_to_kafka, kafka_to_parquet
from pipeline_core.check import as_data, check
from pipeline_core.cli import flags
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import ConfigOption, JsonOption, LogFormatOption, LogLevelOption, Output
from pipeline_core.report import Document
from pipeline_core.settings import PipelineSettings
from pipeline_core.verify import Config as VerifyConfig
from pipeline_core.verify import verify

_Config = TypeVar("_Config", bound=PipelineSettings)
_AFTER_STOP = {
    "csv_to_kafka": "What was read is on the topic; runs with --resume go on from there, others start over.",
    "kafka_to_parquet": "What was read is written and committed; the same command goes on from there.",
}
_POSITIONAL = {"csv_to_kafka": ("files",), "verify": ("to",)}

_CSV_TO_KAFKA = """
[bold]Examples[/bold]

pipeline-core csv-to-kafka orders.csv --topic supply-chain-orders --partitions 12

pipeline-core csv-to-kafka 'gs://bucket/2026/*.csv.gz' --encoding latin-1 --typed

pipeline-core csv-to-kafka orders.csv --rate 10      [dim]# a slow replay, ten rows a second[/dim]

pipeline-core csv-to-kafka orders.csv --exactly-once --resume --state-dir ./state

pipeline-core csv-to-kafka orders.csv --property linger.ms=50

Passwords and secret keys have no flags: set KAFKA_SASL_PASSWORD, AWS_SECRET_ACCESS_KEY and the like.
"""
_KAFKA_TO_PARQUET = """
[bold]Examples[/bold]

pipeline-core kafka-to-parquet --topic supply-chain-orders --to gs://bucket --until end

pipeline-core kafka-to-parquet --to s3://bucket/lake --flush-bytes 256MB --flush-seconds 5m

pipeline-core kafka-to-parquet --to ./lake --partition-by date=%F --partition-by Market --until 1h30m

pipeline-core kafka-to-parquet --to obs://bucket --flush-rows 500 --format json --until 500000rows

Passwords and secret keys have no flags: set KAFKA_SASL_PASSWORD, AWS_SECRET_ACCESS_KEY and the like.
"""
_VERIFY = """
[bold]Examples[/bold]

pipeline-core verify gs://bucket --topic supply-chain-orders

pipeline-core verify ./lake --topic supply-chain-orders --json

The exit code is 1 if anything is wrong.
"""
_CHECK = """
[bold]Example[/bold]

pipeline-core check kafka-to-parquet --topic supply-chain-orders --to s3://bucket

The exit code is 1 if anything does not work.
"""


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the application."""
    _command(
        app,
        csv_to_kafka.Config,
        _csv_to_kafka,
        "Send CSV files to a Kafka topic, one JSON message a row.",
        _CSV_TO_KAFKA,
    )
    _command(
        app,
        kafka_to_parquet.Config,
        _kafka_to_parquet,
        "Write a Kafka topic into Parquet files, each message exactly once.",
        _KAFKA_TO_PARQUET,
    )
    _command(app, VerifyConfig, _verify, "Tell whether the files hold each message of a topic once.", _VERIFY)
    checks = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    for config in (csv_to_kafka.Config, kafka_to_parquet.Config):
        title = f"Try what {config.pipeline.replace('_', '-')} would need with these settings."
        _command(checks, config, _check, title, _CHECK)
    app.add_typer(checks, name="check", help="Try broker, topic and place of a pipeline; moves nothing.")


def _csv_to_kafka(config: csv_to_kafka.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = csv_to_kafka.run(config, on_progress=bar)
    _show(report, output)


def _kafka_to_parquet(config: kafka_to_parquet.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = kafka_to_parquet.run(config, on_progress=bar)
    _show(report, output)


def _verify(config: VerifyConfig, output: Output) -> None:
    report = verify(config=config)
    _show(report, output)
    raise typer.Exit(0 if report.ok else 1)


def _check(config: PipelineSettings, output: Output) -> None:
    checks = check(config)
    lines: list[str] = []
    for item in checks:
        lines.append(f"{'ok    ' if item.ok else 'FAILED'}  {item.name}  {item.detail}".rstrip())
        if item.hint:
            lines.append(f"        Hint: {item.hint}")
    output.result("\n".join(lines), as_data(checks))
    raise typer.Exit(0 if all(item.ok for item in checks) else 1)


def _show(report: Document, output: Output) -> None:
    output.result(repr(report), report.to_dict())


def _command(
    app: typer.Typer, config: type[_Config], body: Callable[[_Config, Output], None], title: str, epilog: str
) -> None:
    """Make a command of a pipeline's settings and what to do with them."""

    def command(**given: Any) -> None:  # noqa: ANN401 - typer fills it
        output = Output(given.pop("json"), given.pop("log_level"), given.pop("log_format"))
        with output.exit_codes(_AFTER_STOP.get(config.pipeline)):
            body(config(**{name: value for name, value in given.items() if value not in (None, [])}), output)

    common = [
        flags.parameter("config_file", ConfigOption, None),
        flags.parameter("json", JsonOption, default=False),
        flags.parameter("log_level", LogLevelOption, "info"),
        flags.parameter("log_format", LogFormatOption, "text"),
    ]
    parameters = [*flags.of(config, _POSITIONAL.get(config.pipeline, ())), *common]
    name = config.pipeline.replace("_", "-")
    app.command(name, help=title, epilog=epilog)(flags.add(parameters, command))
