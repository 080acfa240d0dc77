"""`run`: pipelines side by side in one process."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline_core.cli import commands
from pipeline_core.cli.output import JsonOption, LogFormatOption, LogLevelOption, Output, of_files
from pipeline_core.plan import Plan
from pipeline_core.supervisor import Supervisor

_EPILOG = """
[bold]Examples[/bold]

pipeline-core run pipelines.toml

pipeline-core run pipelines.toml --logs-dir /var/log/pipelines --json

The exit code is the worst of theirs. Ctrl-C and SIGTERM let all of them drain.
"""
_AFTER_STOP = "What was read is settled; the same command goes on from there."


def add_to(app: typer.Typer) -> None:
    """Put `run` into the application."""
    app.command("run", help="Run several pipelines side by side, as a file says.", epilog=_EPILOG)(run)


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The pipelines, TOML or YAML.")],
    logs_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of their logs and reports. [dim](default logs)[/dim]"),
    ] = None,
    *,
    json: JsonOption = False,
    log_level: LogLevelOption = "info",
    log_format: LogFormatOption = "text",
) -> None:
    """Run the pipelines of a file until they have ended."""
    output = Output(json, log_level, log_format)
    with output.exit_codes(_AFTER_STOP):
        supervisor = Supervisor(Plan.from_file(file, logs_dir), formatter=of_files(log_format))
        try:
            supervisor.run()
        finally:
            commands.show(supervisor.report, output)
        raise typer.Exit(supervisor.report.exit_code)
