"""What a run tells while it goes on: counts to a callback, log lines to `logging` under `pipeline_core`."""

import json
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from pipeline_core._core import Stop


@dataclass(frozen=True)
class Stats:
    """Counts since the run began.

    Attributes:
        rows_read: Rows taken from the source.
        rows_written: Rows the sink has for good.
        rows_rejected: Rows refused and put into the dead letters.
        bytes_read: Bytes taken from the source.
        bytes_written: Bytes the sink has for good.
        bytes_total: Bytes the source holds, where that is known.
        rows_total: Rows the run will read, where that is known.
        live: What else there is to tell at this moment, by name, such as `lag` or `transaction_seconds`.
    """

    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_total: int | None = None
    rows_total: int | None = None
    live: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def share(self) -> float | None:
        """How much of the source was read, from 0 to 1; None where its size is not known."""
        if self.rows_total:
            return min(1.0, self.rows_read / self.rows_total)
        if self.bytes_total:
            return min(1.0, self.bytes_read / self.bytes_total)
        return None


OnProgress = Callable[[Stats], None]
"""Called about ten times a second; raising from it stops the run, which drains, and the exception comes out."""


Line = tuple[str, str, str, dict[str, Any], str, int | None]
"""A line of the engine's log: level, target, message, fields, source file and line."""

RUN: ContextVar[str] = ContextVar("run", default="")
"""What a run is called where several go on side by side; their log lines are told apart by it."""

HURRY: ContextVar[threading.Event | None] = ContextVar("hurry", default=None)
"""Ends a run that is not on the main thread, as a second Ctrl-C would."""

_ROOT = "pipeline_core"

OnLines = Callable[[list[Line]], None]
"""Called with the lines of each heartbeat that has some, whatever their level."""

Span = tuple[str, int, int]
"""Something that is over: its name, when it began in nanoseconds since 1970, and how long it took in nanoseconds."""

OnSpans = Callable[[Stats, list[Span]], None]
"""Called at each heartbeat."""


class Heartbeat:
    """Receives the engine's heartbeat on the calling thread, ten times a second."""

    def __init__(
        self,
        stop: Stop,
        on_progress: OnProgress | None = None,
        on_lines: OnLines | None = None,
        on_spans: OnSpans | None = None,
    ) -> None:
        self._stop = stop
        self._on_progress = on_progress
        self._on_lines = on_lines
        self._on_spans = on_spans
        self._hurry = HURRY.get()

    def __call__(self, beat: str) -> int:
        """Take one beat, a JSON document of counts and log lines; the least level of those that are wanted."""
        # The interpreter waits for this thread before it goes; a run without an end must not keep it.
        if not threading.main_thread().is_alive():
            self._stop.set()
        if self._hurry is not None and self._hurry.is_set():
            raise KeyboardInterrupt
        news = json.loads(beat)
        for line in news["logs"]:
            log(line)
        if self._on_lines is not None and news["logs"]:
            self._on_lines(news["logs"])
        if self._on_spans is not None:
            self._on_spans(Stats(**news["stats"]), news["spans"])
        if self._on_progress is not None:
            try:
                self._on_progress(Stats(**news["stats"]))
            except BaseException:
                # A second exception would cut the drain short, as a second Ctrl-C does.
                self._on_progress = None
                raise
        return logging.DEBUG if self._on_lines is not None else least_level()


def least_level() -> int:
    """The least level that a logger of the engine's lines takes."""
    loggers = logging.getLogger(_ROOT).manager.loggerDict
    names = [_ROOT, *(name for name in list(loggers) if name.startswith(f"{_ROOT}."))]
    return min(logging.getLogger(name).getEffectiveLevel() for name in names)


def log(line: Line) -> None:
    """Hand one line of the engine to `logging`, with its place in the engine's source.

    Its fields are readable as `record.fields`, and appended to the text.
    """
    level, target, message, fields, file, row = line
    name = target.replace("::", ".")
    logger = logging.getLogger(name)
    number = cast("int", getattr(logging, level))
    if logger.isEnabledFor(number):
        # A traceback is for `record.fields`: a line is a line.
        firsts = {field: str(value).partition("\n")[0] for field, value in fields.items()}
        particulars = " ".join(f"{field}={first}" for field, first in firsts.items())
        text = f"{message} ({particulars})" if particulars else message
        extra = {"event": message, "fields": fields}
        function = name.rpartition(".")[2]
        logger.handle(logger.makeRecord(name, number, file, row or 0, "%s", (text,), None, function, extra))
