"""SIGTERM during a run: it drains, then the process exits with 143, as one that the signal killed.

Nothing is installed outside runs, off the main thread, or where the program has a handler of its own.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pipeline_core._core import Stop

EXIT_CODE = 128 + signal.SIGTERM


@dataclass
class Run:
    """An awaitable run that is going on.

    Attributes:
        stop: Its stop token.
        is_terminated: Whether SIGTERM came while it was going on.
    """

    stop: Stop
    is_terminated: bool = False


_runs: list[Run] = []


@contextmanager
def raising() -> Generator[None]:
    """For a blocking run: SIGTERM raises SystemExit, which the engine's heartbeat meets as it meets Ctrl-C."""
    if not _is_default():
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        _restore(_raise)


@contextmanager
def draining(stop: Stop) -> Generator[Run]:
    """For an awaitable run, of which there may be several: SIGTERM stops them all, a second one kills."""
    run = Run(stop)
    is_first = not _runs and _is_default()
    is_ours = is_first or (_is_main_thread() and signal.getsignal(signal.SIGTERM) is _stop_all)
    if not is_ours:
        yield run
        return
    if is_first:
        signal.signal(signal.SIGTERM, _stop_all)
    _runs.append(run)
    try:
        yield run
    finally:
        _runs.remove(run)
        if not _runs:
            _restore(_stop_all)


def _raise(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(EXIT_CODE)


def _stop_all(_signal: int, _frame: FrameType | None) -> None:
    if any(run.is_terminated for run in _runs):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    for run in _runs:
        run.is_terminated = True
        run.stop.set()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_default() -> bool:
    return _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def _restore(handler: object) -> None:
    if signal.getsignal(signal.SIGTERM) is handler:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
