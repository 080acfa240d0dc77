"""`validate`."""

import typer

from pipeline_core.cli import commands
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import Output
from pipeline_core.validate import Config, validate

_EPILOG = """
[bold]Examples[/bold]

pipeline-core validate ./lake --rules supply_chain

pipeline-core validate s3://bucket/lake --rules supply_chain --with-topic --topic supply-chain-orders

pipeline-core validate gs://bucket --unique id --not-null account --column-type amount=float64

pipeline-core validate ./lake --rules my_rules.py:orders --html report.html

It needs pip install 'pipeline-core\\[validate]'. The exit code is 1 if a check fails.
"""


def add_to(app: typer.Typer) -> None:
    """Put `validate` into the application."""
    commands.add(app, Config, _validate, "Check every row of Parquet files by rules.", _EPILOG)


def _validate(config: Config, output: Output) -> None:
    with Bar(config.to, output.console) as bar:
        report = validate(config=config, on_progress=bar)
    commands.show(report, output)
    raise typer.Exit(0 if report.ok else 1)
