"""A progress bar with rate and time left, on a terminal only."""

import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from typing_extensions import Self

from pipeline_core.progress import Stats

_RATE_SECONDS = 5


class Bar:
    """A callable for `on_progress` that draws on a console, or does nothing where that is no terminal."""

    def __init__(self, what: str, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(what, total=None, counts="")
        self._recent: deque[tuple[float, int]] = deque()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, stats: Stats) -> None:
        """Draw one beat."""
        rate = f"{self._rate(stats.rows_read):,.0f}/s"
        if stats.live:
            counts = _live(stats, rate)
        else:
            counts = f"{stats.rows_read:,} read, {stats.rows_written:,} written, {rate}"
            counts += f", [red]{stats.rows_rejected:,} rejected[/red]" if stats.rows_rejected else ""
        share = stats.share
        self._progress.update(self._task, completed=share or 0, total=None if share is None else 1, counts=counts)

    def _rate(self, rows: int) -> float:
        """Rows a second of late: a run that waits for messages shows that it waits."""
        now = time.monotonic()
        self._recent.append((now, rows))
        while now - self._recent[0][0] > _RATE_SECONDS:
            self._recent.popleft()
        then, before = self._recent[0]
        return (rows - before) / (now - then) if now > then else 0


def _live(stats: Stats, rate: str) -> str:
    """What a run says of this moment, of what it knows."""
    live = stats.live
    parts = [f"{stats.rows_written:,} processed"]
    parts += [f"[red]{stats.rows_rejected:,} failed[/red]"] if stats.rows_rejected else []
    parts += [f"{live['duplicates']:,.0f} duplicates"] if "duplicates" in live else []
    parts += [f"{live['dead_letters']:,.0f} DLQ"] if "dead_letters" in live else []
    parts.append(rate)
    parts += [f"lag {live['lag']:,.0f}"] if "lag" in live else []
    parts += [f"transaction {live['transaction_seconds'] * 1000:,.0f} ms"] if "transaction_seconds" in live else []
    return ", ".join(parts)
