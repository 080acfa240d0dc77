"""`bucket-to-kafka`, and `obs-worker` with its `status`."""

import inspect
from typing import Annotated, Any

import typer

from pipeline_core import bucket_to_kafka, obs_worker
from pipeline_core.cli import commands, flags
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import Output
from pipeline_core.config import KafkaSettings

_STATUS_SETTINGS = {"topic", "group_id", "log_db"}
_QUEUE = Annotated[bool, typer.Option("--queue/--no-queue", metavar="", help="Ask Kafka for the length of the queue.")]

_BUCKET_TO_KAFKA = """
[bold]Examples[/bold]

pipeline-core bucket-to-kafka --bucket input-files --prefix data/2026/ --dest-bucket processed-files

pipeline-core bucket-to-kafka --bucket s3://input-files --include '**/*.csv' --since 24h --max-files 100000

pipeline-core bucket-to-kafka --bucket input-files urgent/data.csv --dest-key processed/data.json

pipeline-core bucket-to-kafka --bucket input-files --keys-file keys.txt --resend

pipeline-core bucket-to-kafka --bucket input-files --dry-run      [dim]# lists and counts only[/dim]

Passwords and secret keys have no flags: set KAFKA_SASL_PASSWORD, OBS_SECRET_KEY and the like.
"""
_OBS_WORKER = """
[bold]Examples[/bold]

pipeline-core obs-worker --processes 8 --parser my_module:create_parser

pipeline-core obs-worker --parser csv --until end --log-db processing_log.db

pipeline-core obs-worker --task-timeout 10m --task-memory 4GiB --max-attempts 5

DBC_FILE=powertrain.dbc pipeline-core obs-worker --parser pipeline_core.dbc:create_parser

pipeline-core obs-worker status --log-db processing_log.db      [dim]# how the workers are doing[/dim]

Passwords and secret keys have no flags: set KAFKA_SASL_PASSWORD, OBS_SECRET_KEY and the like.
"""
_STATUS = """
[bold]Examples[/bold]

pipeline-core obs-worker status --log-db processing_log.db

pipeline-core obs-worker status --group-id obs-workers --json

pipeline-core obs-worker status --log-db processing_log.db --no-queue      [dim]# without Kafka[/dim]
"""


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the application."""
    title = "Send a task for each file of a bucket to a Kafka topic, for obs-worker."
    commands.add(app, bucket_to_kafka.Config, _bucket_to_kafka, title, _BUCKET_TO_KAFKA)

    worker = typer.Typer(rich_markup_mode="rich")
    context = flags.parameter("context", typer.Context, inspect.Parameter.empty)
    parameters = commands.parameters(obs_worker.Config)
    title = "Parse the files that tasks name, in parallel: a result object and a notice for each, none lost."
    worker.callback(invoke_without_command=True, help=title, epilog=_OBS_WORKER)(
        flags.add([context, *parameters], _obs_worker)
    )
    wanted = _STATUS_SETTINGS | KafkaSettings.model_fields.keys()
    queue = flags.parameter("queue", _QUEUE, default=True)
    own = [queue, *commands.parameters(obs_worker.Config, wanted)]
    title = "Show throughput, success rate, mean time and errors of the processing log, and the length of the queue."
    worker.command("status", help=title, epilog=_STATUS)(flags.add([context, *own], _status))
    app.add_typer(worker, name="obs-worker")


def _bucket_to_kafka(config: bucket_to_kafka.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = bucket_to_kafka.run(config, on_progress=bar)
    commands.show(report, output)


def _obs_worker(context: typer.Context, **given: Any) -> None:  # noqa: ANN401 - typer fills it
    if context.invoked_subcommand is None:
        commands.run(obs_worker.Config, _work, given)
    context.obj = given


def _work(config: obs_worker.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = obs_worker.run(config, on_progress=bar)
    commands.show(report, output)


def _status(context: typer.Context, *, queue: bool, **given: Any) -> None:  # noqa: ANN401 - typer fills it
    def tell(config: obs_worker.Config, output: Output) -> None:
        commands.show(obs_worker.status(config, queue=queue), output)

    # Flags may stand before the word `status`, too.
    for name in given:
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            given[name] = context.obj[name]
    commands.run(obs_worker.Config, tell, given)
