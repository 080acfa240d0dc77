"""The `pipeline-core` command."""

import io
import sys
from typing import Annotated

import typer

from pipeline_core import __version__
from pipeline_core.cli import (
    cdc,
    checks,
    demo,
    dlq,
    files,
    flink,
    init_db,
    mongo,
    mysql,
    run,
    sample,
    show,
    transfers,
    validation,
    walmart,
)
from pipeline_core.cli.output import say

app = typer.Typer(
    name="pipeline-core",
    help="Move data between files, object stores, APIs, Kafka and databases: nothing is lost, nothing arrives twice.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted, 143 terminated.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:  # noqa: FBT001 - a callback of typer
    if asked:
        say(__version__)
        raise typer.Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


transfers.add_to(app)
files.add_to(app)
walmart.add_to(app)
cdc.add_to(app)
mongo.add_to(app)
mysql.add_to(app)
flink.add_to(app)
run.add_to(app)
init_db.add_to(app)
dlq.add_to(app)
checks.add_to(app)
validation.add_to(app)
show.add_to(app)
sample.add_to(app)
demo.add_to(app)


def main() -> None:
    """Run the command line; the entry point of the wheel."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
