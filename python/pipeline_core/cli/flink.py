"""`flink run` and `flink submit`, each with the jobs that there are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import typer

from pipeline_core.cli import commands, flags
from pipeline_core.cli.output import Output
from pipeline_core.flink import Job, parquet_job, walmart_job
from pipeline_core.flink.settings import JobSettings, ParquetConfig, WalmartConfig

_WALMART = """
[bold]Examples[/bold]

pipeline-core flink {verb} walmart --jars jars --mysql-host db --batch-size 500

pipeline-core flink {verb} walmart --jars jars --parallelism 4 --checkpoint-dir s3://flink/checkpoints

Make the table first: pipeline-core init-db walmart-to-mysql. Passwords have no flags but in --mysql-url: set
MYSQL_PASSWORD, KAFKA_SASL_PASSWORD and the like.
"""
_PARQUET = """
[bold]Examples[/bold]

pipeline-core flink {verb} parquet --jars jars --topic orders --to /lake/orders --column id=int64 --column name=string

pipeline-core flink {verb} parquet --jars jars --topic orders --to /lake --parser my_module:parse --column id=int64

Passwords have no flags: set KAFKA_SASL_PASSWORD and the like.
"""


class _Kind(NamedTuple):
    """A job: its name, its settings, what makes it, what it is for, and examples."""

    name: str
    config: type[JobSettings]
    make: Callable[[Any], Job]
    title: str
    epilog: str


_JOBS = (
    _Kind("walmart", WalmartConfig, walmart_job, "Walmart's orders from a topic into MySQL or MariaDB.", _WALMART),
    _Kind("parquet", ParquetConfig, parquet_job, "A topic of JSON into Parquet files.", _PARQUET),
)


def add_to(app: typer.Typer) -> None:
    """Put `flink` into the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    for verb, do, title in (
        ("run", _run, "Run a job on this machine until it has ended."),
        ("submit", _submit, "Send a job to a cluster, where it goes on by itself."),
    ):
        jobs = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
        for kind in _JOBS:
            own = flags.add(commands.parameters(kind.config), _command(kind, do))
            jobs.command(kind.name, help=kind.title, epilog=kind.epilog.format(verb=verb))(own)
        group.add_typer(jobs, name=verb, help=title)
    app.add_typer(group, name="flink", help="Run jobs in Apache Flink, on this machine or in a cluster.")


def _command(kind: _Kind, do: Callable[[Job, Output], None]) -> Callable[..., None]:
    def body(config: JobSettings, output: Output) -> None:
        do(kind.make(config), output)

    def command(**given: Any) -> None:  # noqa: ANN401 - typer fills it
        commands.run(kind.config, body, given)

    return command


def _run(job: Job, output: Output) -> None:
    seconds = job.run()
    output.result(f"Job {job.name} has ended after {seconds:.1f} s", {"job": job.name, "seconds": seconds})


def _submit(job: Job, output: Output) -> None:
    job_id = job.submit()
    output.result(
        f"Job {job.name} runs as {job_id} at {job.config.jobmanager}",
        {"job": job.name, "job_id": job_id, "jobmanager": job.config.jobmanager},
    )
