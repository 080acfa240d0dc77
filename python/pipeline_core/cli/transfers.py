"""`csv-to-kafka`, `kafka-to-parquet` and `verify`."""

import typer

from pipeline_core import csv_to_kafka, kafka_to_parquet
from pipeline_core.cli import commands
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import Output
from pipeline_core.verify import Config as VerifyConfig
from pipeline_core.verify import verify

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


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the application."""
    commands.add(
        app,
        csv_to_kafka.Config,
        _csv_to_kafka,
        "Send CSV files to a Kafka topic, one JSON message a row.",
        _CSV_TO_KAFKA,
    )
    commands.add(
        app,
        kafka_to_parquet.Config,
        _kafka_to_parquet,
        "Write a Kafka topic into Parquet files, each message exactly once.",
        _KAFKA_TO_PARQUET,
    )
    commands.add(app, VerifyConfig, _verify, "Tell whether the files hold each message of a topic once.", _VERIFY)


def _csv_to_kafka(config: csv_to_kafka.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = csv_to_kafka.run(config, on_progress=bar)
    commands.show(report, output)


def _kafka_to_parquet(config: kafka_to_parquet.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = kafka_to_parquet.run(config, on_progress=bar)
    commands.show(report, output)


def _verify(config: VerifyConfig, output: Output) -> None:
    report = verify(config=config)
    commands.show(report, output)
    raise typer.Exit(0 if report.ok else 1)
