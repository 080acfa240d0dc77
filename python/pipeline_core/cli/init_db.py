"""`init-db` for each pipeline that keeps its rows in tables."""

from collections.abc import Callable
from typing import Any, NamedTuple

import typer

from pipeline_core import cdc_to_postgres, mysql_to_mysql, postgres_to_kafka, walmart_to_mysql
from pipeline_core.cli import commands, flags
from pipeline_core.cli.output import Output
from pipeline_core.config import MysqlSettings, MysqlTargetSettings, SourceSettings, TargetSettings
from pipeline_core.settings import PipelineSettings

_WALMART_TO_MYSQL = """
[bold]Examples[/bold]

pipeline-core init-db walmart-to-mysql --mysql-url mysql://user:password@db:3306

pipeline-core init-db walmart-to-mysql --config config/config.yml --database ods --json

It may be run again: what is there stays, and a table of the original keeps its rows.
"""
_POSTGRES_TO_KAFKA = """
[bold]Examples[/bold]

pipeline-core init-db postgres-to-kafka --source-url postgresql://user:password@db:5432/postgres

pipeline-core init-db postgres-to-kafka --config orders.toml --table order_cdc --snapshot-table orders

It may be run again: what is there stays as it is, and nothing is dropped.
"""
_CDC_TO_POSTGRES = """
[bold]Examples[/bold]

pipeline-core init-db cdc-to-postgres --target-url postgresql://user:password@db:5433/postgres

pipeline-core init-db cdc-to-postgres --target-host db --target-database copy --json

It may be run again: what is there stays, and nothing is dropped. The table of the original keeps its rows and gains a
column.
"""
_MYSQL_TO_MYSQL = """
[bold]Examples[/bold]

pipeline-core init-db mysql-to-mysql --target-url mysql://user:password@db:3306

pipeline-core init-db mysql-to-mysql --target-host db --target-database nfsc --json

It may be run again: what is there stays as it is. The tables are those of the task nfsc_task.
"""


class _Tables(NamedTuple):
    """The command of one pipeline: its module, the settings that matter, what it is for, and examples."""

    module: Any
    wanted: set[str]
    title: str
    epilog: str


_PIPELINES = (
    _Tables(
        walmart_to_mysql,
        {"database", "table", "raw", *MysqlSettings.model_fields},
        "Create the databases and tables of walmart-to-mysql, and migrate a table of the original.",
        _WALMART_TO_MYSQL,
    ),
    _Tables(
        postgres_to_kafka,
        {"table", "snapshot_table", "mapping", *SourceSettings.model_fields},
        "Create the table that is watched, the table of its changes, and the triggers between them.",
        _POSTGRES_TO_KAFKA,
    ),
    _Tables(
        cdc_to_postgres,
        {"table", "processed_events", "mapping", *TargetSettings.model_fields},
        "Create the tables that changes are applied to, and what keeps account of them.",
        _CDC_TO_POSTGRES,
    ),
    _Tables(
        mysql_to_mysql,
        {*MysqlTargetSettings.model_fields},
        "Create the target's database and tables of mysql-to-mysql's task nfsc_task.",
        _MYSQL_TO_MYSQL,
    ),
)


def add_to(app: typer.Typer) -> None:
    """Put `init-db` into the application."""
    tables = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    for pipeline in _PIPELINES:
        config: type[PipelineSettings] = pipeline.module.Config
        own = flags.add(commands.parameters(config, pipeline.wanted), _command(pipeline))
        tables.command(config.pipeline.replace("_", "-"), help=pipeline.title, epilog=pipeline.epilog)(own)
    app.add_typer(tables, name="init-db", help="Create the databases and tables that a pipeline needs.")


def _command(pipeline: _Tables) -> Callable[..., None]:
    def create(config: PipelineSettings, output: Output) -> None:
        commands.show(pipeline.module.init_db(config), output)

    def command(**given: Any) -> None:  # noqa: ANN401 - typer fills it
        commands.run(pipeline.module.Config, create, given)

    return command
