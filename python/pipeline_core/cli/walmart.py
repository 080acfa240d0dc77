"""`walmart-to-kafka` and `walmart-to-mysql`."""

import typer

from pipeline_core import walmart_to_kafka, walmart_to_mysql
from pipeline_core.cli import commands
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import Output

_WALMART_TO_KAFKA = """
[bold]Examples[/bold]

pipeline-core walmart-to-kafka -H 2

pipeline-core walmart-to-kafka -s 20251111 -e 20251111 -a eForCity -t walmart_order_raw

pipeline-core walmart-to-kafka -H 2 --ship-node-type SellerFulfilled --timezone UTC

pipeline-core walmart-to-kafka -s 20251101 -e 20251111 --modified      [dim]# what has changed since[/dim]

pipeline-core walmart-to-kafka --follow --poll-seconds 5m --log-format original

config/config.yml of this folder is read if no settings file is named. Tokens and secrets have no flags: put them there,
or set WALMART_TOKEN, WALMART_CLIENT_SECRET, KAFKA_SASL_PASSWORD.
"""
_WALMART_TO_MYSQL = """
[bold]Examples[/bold]

pipeline-core init-db walmart-to-mysql --mysql-host db      [dim]# the tables, once[/dim]

pipeline-core walmart-to-mysql --topic walmart_order_raw --mysql-url mysql://user:password@db:3306

pipeline-core walmart-to-mysql --until end --truncate --raw

pipeline-core walmart-to-mysql --mysql-host db --mysql-tls verify_identity --mysql-ca-location ca.pem

config/config.yml of this folder is read if no settings file is named. Passwords have no flags but in --mysql-url, which
other users of this machine may see: rather set MYSQL_PASSWORD or MYSQL_URL.
"""


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the application."""
    title = "Send Walmart's orders to a Kafka topic, each once."
    commands.add(app, walmart_to_kafka.Config, _walmart_to_kafka, title, _WALMART_TO_KAFKA)
    title = "Load Walmart's orders from a Kafka topic into MySQL or MariaDB, each exactly once."
    commands.add(app, walmart_to_mysql.Config, _walmart_to_mysql, title, _WALMART_TO_MYSQL)


def _walmart_to_kafka(config: walmart_to_kafka.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = walmart_to_kafka.run(config, on_progress=bar)
    commands.show(report, output)


def _walmart_to_mysql(config: walmart_to_mysql.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = walmart_to_mysql.run(config, on_progress=bar)
    commands.show(report, output)
