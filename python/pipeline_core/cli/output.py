"""What the command line says and where: reports to stdout, logs, errors and progress to stderr, and the exit code."""

import json
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text
from typing_extensions import override

from pipeline_core import termination
from pipeline_core.exceptions import PipelineError
from pipeline_core.layers import PREFIX
from pipeline_core.progress import RUN

INTERRUPTED = 130

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json", "original"]

_PANEL = "Settings and output"

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"Settings file, TOML or YAML. [dim](env {PREFIX}CONFIG_FILE)[/dim]",
        rich_help_panel=_PANEL,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", metavar="", help="Print the report as one JSON line at the end of stdout.", rich_help_panel=_PANEL
    ),
]
LogLevelOption = Annotated[
    LogLevel, typer.Option("--log-level", help="Least level that is logged to stderr.", rich_help_panel=_PANEL)
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        help="How log lines and errors look; original is DATE TIME,MS - LEVEL - MESSAGE.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class Output:
    """How one command speaks.

    Attributes:
        json: Whether its result is one JSON line.
        log_level: The least level that is logged.
        log_format: How log lines and errors look.
        console: Stderr, for bars, errors and log lines: one for all, so that a bar stays below the lines.
    """

    json: bool = False
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    @contextmanager
    def exit_codes(self, after_stop: str | None = None) -> Generator[None]:
        """Log to stderr, and turn whatever ends the command into one error, one hint and an exit code.

        Args:
            after_stop: The hint when a signal ended it.
        """
        start_logging(self.log_level, self.log_format, self.console)
        try:
            yield
        except PipelineError as error:
            self.fail(error.message, error.hint, error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as end:
            self._stopped("Interrupted", end, after_stop)
            raise typer.Exit(INTERRUPTED) from None
        except SystemExit as end:
            if end.code == termination.EXIT_CODE:
                self._stopped("Terminated by SIGTERM", end, after_stop)
            raise
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:  # noqa: BLE001 - shown as one line, not as a traceback
            message = f"{type(error).__name__}: {error}"
            self.fail(message, "Run it with --log-level debug; if this is a bug, report that output.", error)
            raise typer.Exit(1) from None

    def fail(self, message: str, hint: str | None, error: BaseException | None = None) -> None:
        """One red line for each line of the message, and the hint; the traceback only when debugging."""
        trace = error if self.log_level == "debug" else None
        logger = logging.getLogger("pipeline_core")
        if self.log_format == "json":
            details = {"hint": hint, "kind": getattr(error, "kind", None)}
            extra = {"event": message, "fields": {name: text for name, text in details.items() if text}}
            logger.error("%s", message, extra=extra, exc_info=trace)
            return
        if trace is not None:
            logger.debug("Traceback of the error below", exc_info=trace)
        advice = [f"Hint: {' '.join(hint.split())}"] if hint else []
        if self.log_format == "original":
            for line in (*message.splitlines(), *advice):
                logger.error("%s", line)
            return
        lines = [Text(f"Error: {line}", style="bold red") for line in message.splitlines()]
        lines += [Text(line) for line in advice]
        for line in lines:
            self.console.print(line, soft_wrap=True)

    def _stopped(self, message: str, end: BaseException, hint: str | None) -> None:
        """Say that a signal ended it, and what went wrong in the drain, which the engine gives as the cause."""
        drain = end.__cause__
        if isinstance(drain, PipelineError):
            self.fail(f"{message}, and the drain failed: {drain.message}", drain.hint, drain)
        else:
            self.fail(message, hint)

    def result(self, text: str, data: object) -> None:
        """The result on stdout, for people or as JSON."""
        say(json.dumps(data, ensure_ascii=False) if self.json else text)


def say(text: str) -> None:
    """A line on stdout."""
    with silenced():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


@contextmanager
def silenced() -> Generator[None]:
    """Go on without stdout when its reader went away: that does not undo the work that was done."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def start_logging(level: LogLevel, form: LogFormat, console: Console) -> None:
    """Send the package's log lines to stderr."""
    handler = _Stderr(console)
    handler.setFormatter({"json": _Json, "original": _Original, "text": _Line}[form]())
    logger = logging.getLogger("pipeline_core")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def of_files(form: LogFormat) -> logging.Formatter:
    """How the lines of a log file look: with the date."""
    forms = {"original": "%(asctime)s - %(levelname)s - %(message)s", "text": "%(asctime)s %(levelname)-7s %(message)s"}
    return _Json() if form == "json" else logging.Formatter(forms[form])


class _Stderr(logging.Handler):
    """Writes whole lines, on a terminal above the bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        try:
            if self._console.is_terminal:
                self._console.print(Text(line), soft_wrap=True)
            else:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
        except (OSError, ValueError):
            return


class _Named(logging.Formatter):
    """Says whose line it is, where several runs go on side by side."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        if name := RUN.get():
            record.message = f"{name}: {record.message}"
        return super().formatMessage(record)


class _Line(_Named):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


class _Original(_Named):
    """As the Walmart original logs: `2025-11-11 12:00:00,123 - INFO - …`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s - %(levelname)s - %(message)s")


class _Json(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        own: dict[str, object] = getattr(record, "fields", {})
        line: dict[str, object] = {
            "event": getattr(record, "event", record.getMessage()),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "filename": record.filename,
            "func_name": record.funcName,
            "lineno": record.lineno,
        }
        line |= {"run": RUN.get()} if RUN.get() else {}
        line |= {name: value for name, value in own.items() if name not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
