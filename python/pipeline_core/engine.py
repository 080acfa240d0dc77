"""The one door to the engine: blocking and awaitable, with signals, progress and a drain on every way out."""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from pipeline_core import termination, traces
from pipeline_core._core import Stop
from pipeline_core.exceptions import SettingsError
from pipeline_core.progress import Heartbeat, OnLines, OnProgress, Stats
from pipeline_core.settings import PipelineSettings

Native = Callable[[str, Stop, Callable[[str], object] | None], str]
"""A blocking call of the engine: settings document, stop token, heartbeat; gives the report document."""

_Config = TypeVar("_Config", bound=PipelineSettings)

_log = logging.getLogger(__name__)


def configured(kind: type[_Config], config: _Config | None, arguments: Mapping[str, object]) -> _Config:
    """The given settings, or settings made of the arguments.

    Raises:
        SettingsError: Both were given, or a setting is missing, unknown or wrong.
    """
    if config is None:
        return kind(**arguments)
    if arguments:
        message = f"Give either config or single settings, not both: {', '.join(sorted(arguments))}"
        raise SettingsError(message, f"Put them into {kind.__module__}.{kind.__name__}(…).")
    return config


def run(
    native: Native,
    document: str,
    *,
    stop: Stop | None = None,
    on_progress: OnProgress | None = None,
    on_lines: OnLines | None = None,
) -> str:
    """Call the engine and wait. On the main thread Ctrl-C and SIGTERM drain first; the second one does not wait."""
    stop = stop or Stop()
    with termination.raising():
        return _traced(native, document, stop, on_progress, on_lines)


async def arun(
    native: Native,
    document: str,
    *,
    stop: Stop | None = None,
    on_progress: OnProgress | None = None,
    on_lines: OnLines | None = None,
) -> str:
    """Call the engine on a thread of its own; on cancellation and SIGTERM it has drained before this returns.

    Only that thread and the event loop touch Python, and the interpreter joins the thread before it goes, so a
    program may end right after its last await.
    """
    stop = stop or Stop()
    relay = _Relay(stop, on_progress, on_lines)
    with termination.draining(stop) as run_:
        work = contextvars.copy_context().run
        threading.Thread(target=work, args=(relay.call, native, document), name="pipeline_core").start()
        cancelled = await _drained(relay.outcome, stop)
    failure = relay.outcome.exception()
    if failure is not None and (run_.is_terminated or cancelled):
        _log.error("The drain failed: %s", failure)
    if run_.is_terminated:
        raise SystemExit(termination.EXIT_CODE) from failure
    if cancelled is not None:
        raise cancelled from failure
    if relay.refusal is not None:
        raise relay.refusal
    return relay.outcome.result()


def _traced(native: Native, document: str, stop: Stop, on_progress: OnProgress | None, on_lines: OnLines | None) -> str:
    name: str = getattr(getattr(native, "func", native), "__name__", "call")
    with traces.run(name) as on_spans:
        return native(document, stop, Heartbeat(stop, on_progress, on_lines, on_spans))


class _Relay:
    """Carries a call of the engine from its thread to the event loop that waits for it."""

    def __init__(self, stop: Stop, on_progress: OnProgress | None, on_lines: OnLines | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._on_progress = on_progress
        self._on_lines = on_lines
        self.outcome: asyncio.Future[str] = self._loop.create_future()
        self.refusal: BaseException | None = None

    def call(self, native: Native, document: str) -> None:
        """Run on the thread."""
        report, failure = "", None
        try:
            on_progress = self._hand_over if self._on_progress else None
            report = _traced(native, document, self._stop, on_progress, self._on_lines)
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            failure = error
        # A closed loop has nobody left who waits for the outcome.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, report, failure)

    def _hand_over(self, stats: Stats) -> None:
        self._loop.call_soon_threadsafe(self._tell, stats)

    def _tell(self, stats: Stats) -> None:
        if self._on_progress is None or self.refusal is not None:
            return
        try:
            self._on_progress(stats)
        except BaseException as error:  # noqa: BLE001 - raised again after the drain
            self.refusal = error
            self._stop.set()

    def _settle(self, report: str, failure: BaseException | None) -> None:
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(report)
        else:
            self.outcome.set_exception(failure)


async def _drained(outcome: asyncio.Future[str], stop: Stop) -> asyncio.CancelledError | None:
    """Wait for the outcome through every cancellation; the engine's thread cannot be left behind."""
    cancelled: asyncio.CancelledError | None = None
    while not outcome.done():
        try:
            await asyncio.wait([outcome])
        except asyncio.CancelledError as error:  # noqa: PERF203 - once per cancellation
            stop.set()
            cancelled = error
        except BaseException:
            stop.set()
            raise
    return cancelled
