"""`postgres-to-kafka` and `cdc-to-postgres`."""

import typer

from pipeline_core import cdc_to_postgres, postgres_to_kafka
from pipeline_core.cli import commands
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import Output

_POSTGRES_TO_KAFKA = """
[bold]Examples[/bold]

pipeline-core init-db postgres-to-kafka --source-host db      [dim]# table, changes and triggers, once[/dim]

pipeline-core postgres-to-kafka --source-url postgresql://user:password@db:5432/postgres

pipeline-core postgres-to-kafka --table emp_cdc --topic bf_employee_cdc --snapshot --until end

pipeline-core postgres-to-kafka --config orders.toml --metrics-port 9400      [dim]# another table, see mapping[/dim]

pipeline-core postgres-to-kafka --restart      [dim]# after the source was made again[/dim]

Passwords have no flags but in --source-url, which other users of this machine may see: rather set SOURCE_PASSWORD or
SOURCE_URL.
"""
_CDC_TO_POSTGRES = """
[bold]Examples[/bold]

pipeline-core init-db cdc-to-postgres --target-host db      [dim]# the tables, once[/dim]

pipeline-core cdc-to-postgres --target-url postgresql://user:password@db:5433/postgres

pipeline-core cdc-to-postgres --topic bf_employee_cdc --group-id production_cdc_consumer --until end

pipeline-core cdc-to-postgres --dlq-format raw --max-rejected-share 0.01 --metrics-port 9401

pipeline-core cdc-to-postgres --no-enable-dlq      [dim]# the first refused message ends it[/dim]

Passwords have no flags but in --target-url, which other users of this machine may see: rather set TARGET_PASSWORD or
TARGET_URL.
"""


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the application."""
    title = "Send the changes of a PostgreSQL table to a Kafka topic, each once and in order."
    commands.add(app, postgres_to_kafka.Config, _postgres_to_kafka, title, _POSTGRES_TO_KAFKA)
    title = "Apply the changes of a Kafka topic to a PostgreSQL table, each exactly once."
    commands.add(app, cdc_to_postgres.Config, _cdc_to_postgres, title, _CDC_TO_POSTGRES)


def _postgres_to_kafka(config: postgres_to_kafka.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = postgres_to_kafka.run(config, on_progress=bar)
    commands.show(report, output)


def _cdc_to_postgres(config: cdc_to_postgres.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = cdc_to_postgres.run(config, on_progress=bar)
    commands.show(report, output)
