"""Pipelines side by side in one process: each on a thread with its own log, started again as its plan says.

```python
from pipeline_core.plan import Plan
from pipeline_core.supervisor import Supervisor

report = Supervisor(Plan.from_file("pipelines.toml")).run()
```
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from logging.handlers import WatchedFileHandler
from typing import Literal, cast

from pydantic import TypeAdapter
from typing_extensions import override

from pipeline_core import _core, termination
from pipeline_core.exceptions import PipelineError, SettingsError
from pipeline_core.plan import Job, Plan
from pipeline_core.progress import HURRY, RUN
from pipeline_core.report import Document, Report, counted
from pipeline_core.units import seconds_text

_BEAT_SECONDS = 0.1
_BROKEN_OFF = 130
_LINE = "%(asctime)s %(levelname)-7s %(message)s"

_log = logging.getLogger(__name__)
_root = logging.getLogger("pipeline_core")


@dataclass(frozen=True)
class Outcome:
    """What became of one pipeline.

    Attributes:
        name: What the plan calls it.
        pipeline: What it is.
        status: `complete`, `stopped`, `failed`, or `broken off` by a second signal.
        exit_code: What the command of this pipeline would exit with.
        restarts: How often it was started again.
        report: Of its last run, if that ended well.
        error: Of its last run, if that failed.
    """

    name: str
    pipeline: str
    status: Literal["complete", "stopped", "failed", "broken off"]
    exit_code: int = 0
    restarts: int = 0
    report: Report | None = None
    error: str | None = None


_OUTCOME = TypeAdapter(Outcome)


@dataclass(frozen=True, repr=False)
class PlanReport(Document):
    """What became of the pipelines of a plan.

    Attributes:
        exit_code: The worst of theirs.
        seconds: How long it took.
        outcomes: Of each, in the order of the plan.
        logs_dir: The folder of their logs and reports.
    """

    exit_code: int
    seconds: float
    outcomes: list[Outcome]
    logs_dir: str

    @override
    def heading(self) -> str:
        """`2 pipelines in 3.2 s, 1 failed; logs are in logs`."""
        failed = sum(outcome.status == "failed" for outcome in self.outcomes)
        text = f"{counted(len(self.outcomes), 'pipeline')} in {seconds_text(self.seconds)}"
        return f"{text}{f', {failed} failed' if failed else ''}; logs are in {self.logs_dir}"

    @override
    def lines(self) -> Iterator[tuple[str, str]]:
        """One line for each pipeline."""
        width = max((len(outcome.pipeline) for outcome in self.outcomes), default=0)
        for outcome in self.outcomes:
            parts = [f"{outcome.pipeline:<{width}}  {outcome.status:<10}"]
            if (report := outcome.report) is not None:
                parts += [f"{report.rows_read:,} read", f"{report.rows_written:,} written"]
                parts += [f"{report.rows_rejected:,} rejected", seconds_text(report.seconds)]
            parts += [counted(outcome.restarts, "restart")] if outcome.restarts else []
            parts += [outcome.error] if outcome.error else []
            yield outcome.name, "  ".join(parts)


class Supervisor:
    """Runs a plan once.

    A pipeline that fails for good ends the others, which drain.

    Args:
        plan: What to run.
        stop: Set it from another thread to end all of them.
        formatter: How lines look in the logs; the time, the level and the message without it.
    """

    def __init__(self, plan: Plan, stop: _core.Stop | None = None, formatter: logging.Formatter | None = None) -> None:
        self._plan = plan
        self._stop = stop or _core.Stop()
        self._formatter = formatter or logging.Formatter(_LINE)
        self._ending = threading.Event()
        self._hurry = threading.Event()
        self._outcomes: dict[str, Outcome] = {}
        self._began = time.monotonic()

    def run(self) -> PlanReport:
        """Run all until they have ended. On the main thread Ctrl-C and SIGTERM drain; the second one does not wait.

        Returns:
            What became of them; failures are told there and not raised.

        Raises:
            SettingsError: The folder of the logs cannot be made.
            KeyboardInterrupt: Ctrl-C, after the drain; `report` tells the rest.
            SystemExit: SIGTERM (143), likewise.
        """
        self._began = time.monotonic()
        with self._logs(), termination.raising():
            threads = [
                threading.Thread(target=self._keep, args=(job,), name=f"pipeline_core {job.name}")
                for job in self._plan.jobs
            ]
            try:
                for thread in threads:
                    thread.start()
                signal = self._wait(threads)
            except BaseException:
                self._hurry.set()
                raise
            finally:
                self._drain()
                for thread in threads:
                    if thread.ident is not None:
                        thread.join()
        if signal is not None:
            raise signal
        return self.report

    @property
    def report(self) -> PlanReport:
        """What became of those that have ended by now."""
        outcomes = [self._outcomes[job.name] for job in self._plan.jobs if job.name in self._outcomes]
        worst = max((outcome.exit_code for outcome in outcomes), default=0)
        return PlanReport(worst, time.monotonic() - self._began, outcomes, str(self._plan.logs_dir))

    def _wait(self, threads: list[threading.Thread]) -> BaseException | None:
        """The first signal, once all have ended."""
        signal: BaseException | None = None
        while any(thread.is_alive() for thread in threads):
            try:
                time.sleep(_BEAT_SECONDS)
                if self._stop.is_set() or any(outcome.exit_code for outcome in list(self._outcomes.values())):
                    self._drain()
            except (KeyboardInterrupt, SystemExit) as raised:  # noqa: PERF203 - once per signal
                if signal is None:
                    signal = raised
                    _log.info("All pipelines drain; a second signal does not wait")
                    self._drain()
                else:
                    self._hurry.set()
        return signal

    def _drain(self) -> None:
        self._stop.set()
        self._ending.set()

    def _keep(self, job: Job) -> None:
        """The thread of one pipeline."""
        RUN.set(job.name)
        HURRY.set(self._hurry)
        restarts, pause = 0, job.restarts.restart_seconds
        while True:
            began = time.monotonic()
            outcome = self._attempt(job, restarts)
            try:
                (self._plan.logs_dir / f"{job.name}.json").write_bytes(_OUTCOME.dump_json(outcome, indent=2))
            except OSError as error:
                _log.warning("Its report cannot be written: %s", error.strerror)
            if not self._is_repeated(job, outcome):
                break
            if outcome.error is None or time.monotonic() - began > job.restarts.restart_max_seconds:
                pause = job.restarts.restart_seconds
            _log.info("Starting it again in %s", seconds_text(pause))
            if self._ending.wait(pause):
                break
            restarts, pause = restarts + 1, min(pause * 2, job.restarts.restart_max_seconds)
        self._outcomes[job.name] = outcome

    def _attempt(self, job: Job, restarts: int) -> Outcome:
        pipeline = job.config.pipeline
        run = cast("Callable[..., Report]", import_module(f"pipeline_core.{pipeline}").run)
        _log.info("Starting %s", pipeline)
        try:
            report = run(job.config, stop=self._stop)
        except KeyboardInterrupt:
            _log.warning("It was broken off")
            return Outcome(job.name, pipeline, "broken off", _BROKEN_OFF, restarts)
        except PipelineError as error:
            _log.error("%s", error)
            return Outcome(job.name, pipeline, "failed", error.exit_code, restarts, error=error.message)
        except Exception as error:  # noqa: BLE001 - told in the report, and in the log with its traceback
            _log.exception("This is a bug: please report it with the log")
            return Outcome(job.name, pipeline, "failed", 1, restarts, error=f"{type(error).__name__}: {error}")
        _log.info("%s", report.heading())
        return Outcome(job.name, pipeline, report.status, 0, restarts, report)

    def _is_repeated(self, job: Job, outcome: Outcome) -> bool:
        wanted = job.restarts
        # A wrong setting is as wrong the next time.
        is_wanted = wanted.restart == "always" or (wanted.restart == "on-failure" and outcome.status == "failed")
        is_allowed = wanted.max_restarts is None or outcome.restarts < wanted.max_restarts
        is_hopeful = outcome.exit_code not in {SettingsError.exit_code, _BROKEN_OFF}
        return is_wanted and is_allowed and is_hopeful and not self._ending.is_set() and not self._stop.is_set()

    @contextmanager
    def _logs(self) -> Generator[None]:
        """A log file for each pipeline, for as long as they run."""
        level, folder = _root.level, self._plan.logs_dir
        handlers: list[logging.Handler] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for job in self._plan.jobs:
                handler = WatchedFileHandler(folder / f"{job.name}.log", encoding="utf-8")
                handler.addFilter(partial(_is_of, job.name))
                handler.setFormatter(self._formatter)
                handlers.append(handler)
        except OSError as error:
            message = f"The logs cannot be written to {folder}: {error.strerror}"
            raise SettingsError(message, "Choose another folder with logs_dir.") from None
        # Without a level of its own, a program that logs nothing would have empty logs.
        if _root.getEffectiveLevel() > logging.INFO and level == logging.NOTSET:
            _root.setLevel(logging.INFO)
        for handler in handlers:
            _root.addHandler(handler)
        try:
            yield
        finally:
            _root.setLevel(level)
            for handler in handlers:
                _root.removeHandler(handler)
                handler.close()


def _is_of(name: str, _record: logging.LogRecord) -> bool:
    """Whether the pipeline of that name says this: it speaks on its own thread."""
    return RUN.get() == name
