"""The `pipeline-core` command."""

import io
import sys
from importlib import import_module
from typing import Annotated

import typer

from pipeline_core import __version__
from pipeline_core.cli.output import say

_HELP = "Move data between files, object stores, APIs, Kafka and databases: nothing is lost, nothing arrives twice."

# The module of each command, in the order of --help. It is imported when its command is run: a command starts fast.
_MODULES = {
    "csv-to-kafka": "transfers",
    "kafka-to-parquet": "transfers",
    "verify": "transfers",
    "bucket-to-kafka": "files",
    "obs-worker": "files",
    "walmart-to-kafka": "walmart",
    "walmart-to-mysql": "walmart",
    "postgres-to-kafka": "cdc",
    "cdc-to-postgres": "cdc",
    "mongo-to-kafka": "mongo",
    "mysql-to-mysql": "mysql",
    "flink": "flink",
    "run": "run",
    "init-db": "init_db",
    "dlq": "dlq",
    "check": "checks",
    "validate": "validation",
    "config": "show",
    "sample-data": "sample",
    "demo": "demo",
}


def application(command: str = "") -> typer.Typer:
    """The command line with one command; with all of them if it has none of that name."""
    app = typer.Typer(
        name="pipeline-core",
        help=_HELP,
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted, 143 terminated.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    wanted = [_MODULES[command]] if command in _MODULES else dict.fromkeys(_MODULES.values())
    for module in wanted:
        import_module(f"{__name__}.{module}").add_to(app)
    return app


def _show_version(asked: bool) -> None:  # noqa: FBT001 - a callback of typer
    if asked:
        say(__version__)
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, metavar="", help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line; the entry point of the wheel."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    application(*sys.argv[1:2])()
