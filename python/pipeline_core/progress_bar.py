"""A progress bar for notebooks, to be given as `on_progress`."""

import time
from html import escape
from importlib import import_module
from types import TracebackType
from typing import Any

from typing_extensions import Self

from pipeline_core.progress import Stats
from pipeline_core.units import seconds_text

# The engine tells its counts ten times a second; a browser needs fewer.
_PAUSE_SECONDS = 0.25


class ProgressBar:
    """Draws counts and rate below a notebook's cell; outside notebooks it draws nothing.

    `with ProgressBar("orders") as bar:` leaves the bar full when the run inside has ended well, and says so when not.

    Args:
        what: What the bar is called.

    Example:
        >>> with ProgressBar("orders") as bar:  # doctest: +SKIP
        ...     report = kafka_to_parquet.run(topic="orders", to="./lake", until="end", on_progress=bar)
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._drawn = time.monotonic()
        self._stats = Stats()
        self._display: Any = None

    def __enter__(self) -> Self:
        self._draw(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw("done" if kind is None else f"ended by {kind.__name__}", is_full=kind is None)

    def __call__(self, stats: Stats) -> None:
        """Draw one beat."""
        self._stats = stats
        if time.monotonic() - self._drawn >= _PAUSE_SECONDS:
            self._draw(None)

    def _draw(self, end: str | None, *, is_full: bool = False) -> None:
        self._drawn = time.monotonic()
        if not _is_notebook():
            return
        display: Any = import_module("IPython.display")
        html = display.HTML(self._html(end, is_full=is_full))
        if self._display is None:
            self._display = display.display(html, display_id=True)
        else:
            self._display.update(html)

    def _html(self, end: str | None, *, is_full: bool) -> str:
        stats, seconds = self._stats, max(time.monotonic() - self._began, 0.001)
        share = 1.0 if is_full else stats.share
        # A bar without a value moves to and fro; one that has ended must not.
        value = "" if share is None and end is None else f' value="{share or 0:.4f}"'
        counts = [f"{stats.rows_read:,} read"]
        counts += [f"{stats.rows_written:,} written"] if stats.rows_written else []
        counts += [f"{stats.rows_rejected:,} rejected"] if stats.rows_rejected else []
        counts += [f"{stats.rows_read / seconds:,.0f} a second", seconds_text(seconds)]
        counts += [end] if end else []
        bar = f'<progress max="1"{value} style="width:16em;vertical-align:middle;margin:0 0.8em"></progress>'
        return f"<div>{escape(self._what)}{bar}{escape(', '.join(counts))}</div>"


def _is_notebook() -> bool:
    """Whether this runs in a kernel of Jupyter."""
    try:
        shell: Any = import_module("IPython").get_ipython()
    except ImportError:
        return False
    return getattr(shell, "kernel", None) is not None
