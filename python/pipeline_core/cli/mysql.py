"""`mysql-to-mysql`."""

import typer

from pipeline_core import mysql_to_mysql
from pipeline_core.cli import commands
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import Output

_MYSQL_TO_MYSQL = """
[bold]Examples[/bold]

pipeline-core init-db mysql-to-mysql --target-host new      [dim]# the tables, once[/dim]

pipeline-core mysql-to-mysql --task nfsc_task --source-host old --target-host new --dry-run

pipeline-core mysql-to-mysql --task nfsc_task --on-rejected stop --chunk-rows 100

pipeline-core mysql-to-mysql --task papers --config tasks.toml --no-update

It may be run again: what is there already is not written again. Passwords have no flags but in --source-url and
--target-url, which other users of this machine may see: rather set SOURCE_MYSQL_PASSWORD and TARGET_MYSQL_PASSWORD.
"""


def add_to(app: typer.Typer) -> None:
    """Put the command of this module into the application."""
    title = "Migrate items of one MySQL or MariaDB database into another, as a task says."
    commands.add(app, mysql_to_mysql.Config, _mysql_to_mysql, title, _MYSQL_TO_MYSQL)


def _mysql_to_mysql(config: mysql_to_mysql.Config, output: Output) -> None:
    with Bar(config.task, output.console) as bar:
        report = mysql_to_mysql.run(config, on_progress=bar)
    commands.show(report, output)
