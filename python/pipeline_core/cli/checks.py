"""`check` for each pipeline."""

import typer

from pipeline_core import (
    bucket_to_kafka,
    cdc_to_postgres,
    csv_to_kafka,
    kafka_to_parquet,
    mongo_to_kafka,
    mysql_to_mysql,
    obs_worker,
    postgres_to_kafka,
    walmart_to_kafka,
    walmart_to_mysql,
)
from pipeline_core.check import as_data, check
from pipeline_core.cli import commands
from pipeline_core.cli.output import Output
from pipeline_core.settings import PipelineSettings

_PIPELINES = (
    bucket_to_kafka,
    cdc_to_postgres,
    csv_to_kafka,
    kafka_to_parquet,
    mongo_to_kafka,
    mysql_to_mysql,
    obs_worker,
    postgres_to_kafka,
    walmart_to_kafka,
    walmart_to_mysql,
)
_EPILOG = """
[bold]Examples[/bold]

pipeline-core check kafka-to-parquet --topic supply-chain-orders --to s3://bucket

pipeline-core check walmart-to-mysql --mysql-host db

pipeline-core check cdc-to-postgres --target-host db

pipeline-core check mongo-to-kafka --topic information --mongodb-host db

The exit code is 1 if anything does not work.
"""


def add_to(app: typer.Typer) -> None:
    """Put `check` into the application."""
    checks = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    for module in _PIPELINES:
        name = module.Config.pipeline.replace("_", "-")
        title = f"Try what {name} would need with these settings."
        commands.add(checks, module.Config, _check, title, _EPILOG)
    app.add_typer(
        checks, name="check", help="Try broker, topic and place, API or database of a pipeline; moves nothing."
    )


def _check(config: PipelineSettings, output: Output) -> None:
    found = check(config)
    lines: list[str] = []
    for item in found:
        lines.append(f"{'ok    ' if item.ok else 'FAILED'}  {item.name}  {item.detail}".rstrip())
        if item.hint:
            lines.append(f"        Hint: {item.hint}")
    output.result("\n".join(lines), as_data(found))
    raise typer.Exit(0 if all(item.ok for item in found) else 1)
