"""Changes of topics into PostgreSQL, with the class and the arguments of the original `ProductionCDCConsumer`."""

import logging
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from types import TracebackType
from typing import Any

from typing_extensions import Self, Unpack

from pipeline_core import _core, engine, termination
from pipeline_core.cdc_to_postgres import Config, MoreArguments
from pipeline_core.exceptions import SettingsError
from pipeline_core.report import Report

# What gives way to the environment, `.env` and a settings file.
_DEFAULTS = {
    "bootstrap_servers": "localhost:29092",
    "group_id": "production_cdc_consumer",
    "target_host": "localhost",
    "target_port": "5433",
    "enable_dlq": "True",
    "enable_idempotency": "True",
}

_BEAT_SECONDS = 0.1

_log = logging.getLogger(__name__)


class CdcConsumer:
    """Applies the changes of topics to a PostgreSQL table; a context manager.

    What is left as it is here gives way to the environment, `.env` and a settings file, and a setting by its own name
    counts more than the original's argument for it.

    Args:
        host: Kafka's host.
        port: Kafka's port.
        group_id: Consumer group; members of one group share the partitions.
        db_host: The database's host.
        db_port: The database's port.
        enable_dlq: Send refused messages to the dead-letter topic; otherwise the first one ends it.
        enable_idempotency: Keep a ledger of what was applied, and leave out what it holds.
        **settings: Fields of `cdc_to_postgres.Config` by name, e.g. `target_password="…", until="end"`.

    Attributes:
        reports: What was done, by topic, once `consume` has ended.

    Raises:
        SettingsError: A setting is wrong.

    Example:
        >>> from pipeline_core import CdcConsumer
        >>> consumer = CdcConsumer(group_id="production_cdc_consumer", enable_dlq=True, enable_idempotency=True)
        >>> consumer.consume(["bf_employee_cdc"])  # doctest: +SKIP
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as in the original
        self,
        host: str = "localhost",
        port: str | int = "29092",
        group_id: str = "production_cdc_consumer",
        db_host: str = "localhost",
        db_port: str | int = "5433",
        enable_dlq: bool = True,  # noqa: FBT001, FBT002 - as in the original
        enable_idempotency: bool = True,  # noqa: FBT001, FBT002 - as in the original
        **settings: Unpack[MoreArguments],
    ) -> None:
        given: dict[str, Any] = {
            "bootstrap_servers": f"{host}:{port}",
            "group_id": group_id,
            "target_host": db_host,
            "target_port": db_port,
            "enable_dlq": enable_dlq,
            "enable_idempotency": enable_idempotency,
        }
        found = Config.found(**settings)
        weak = {name for name, value in given.items() if name in found and str(value) == _DEFAULTS[name]}
        named = {name: value for name, value in given.items() if name not in weak}
        self._config = Config(**{**named, **dict[str, Any](settings)})
        self._drain = _core.Stop()
        self._is_stopped = False
        self.reports: dict[str, Report] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def consume(self, topics: str | Iterable[str]) -> dict[str, Report]:
        """Apply the changes of topics, side by side, until `until`, `stop`, or Ctrl-C, which drains first.

        Each topic is a run of its own with these settings; with `metrics_port`, the second one's metrics are at the
        next port, and so on. If one fails, the others drain, too. A second Ctrl-C does not wait.

        Args:
            topics: Names of topics.

        Returns:
            What was done, by topic; it is logged as well.

        Raises:
            SettingsError: No topic is named, or this was stopped.
            RejectedError: More messages were refused than `max_rejected_share`, or one was and `enable_dlq` is false.
            PipelineError: Anything else; see `retryable` and `hint`.
            SystemExit: SIGTERM (143), after the drain.
        """
        drain = self._drain = _core.Stop()
        configs = self._of(topics)
        self.reports = {}
        outcomes: dict[str, Report | BaseException] = {}
        # Threads of their own, so that Ctrl-C is met here, and leaves the reports.
        threads = ThreadPoolExecutor(len(configs), thread_name_prefix="pipeline_core")
        with termination.draining(drain) as run:
            try:
                runs = {threads.submit(copy_context().run, _apply, own, drain, outcomes) for own in configs}
                while runs:
                    # A signal that comes just before it is not met while it waits.
                    ended, runs = wait(runs, _BEAT_SECONDS, FIRST_EXCEPTION)
                    if any(one.exception() for one in ended):
                        break
            except KeyboardInterrupt:
                _log.info("Interrupted: what was read is applied first")
            finally:
                drain.set()
            threads.shutdown()
        failure: BaseException | None = None
        for topic in (own.topic for own in configs if own.topic in outcomes):
            outcome = outcomes[topic]
            if isinstance(outcome, Report):
                self.reports[topic] = outcome
                _log.info("%s", outcome)
            else:
                failure = failure or outcome
        if run.is_terminated:
            raise SystemExit(termination.EXIT_CODE) from failure
        if failure is not None:
            raise failure
        return self.reports

    def stop(self) -> None:
        """End it; what `consume` has read in another thread is applied first."""
        self._is_stopped = True
        self._drain.set()

    def _of(self, topics: str | Iterable[str]) -> list[Config]:
        """The settings of each topic."""
        if self._is_stopped:
            message = f"This {type(self).__name__} was stopped"
            raise SettingsError(message, "Make a new one; it goes on from there.")
        names = [topics] if isinstance(topics, str) else list(dict.fromkeys(topics))
        if not names:
            message = "Setting 'topics' is empty"
            raise SettingsError(message, "Give at least one topic.")
        settings, port = self._config.model_dump(), self._config.metrics_port
        configs: list[Config] = []
        for number, name in enumerate(names):
            own: dict[str, Any] = {**settings, "topic": name, "metrics_port": port + number if port else None}
            configs.append(Config(**own))
        return configs


def _apply(config: Config, stop: _core.Stop, outcomes: dict[str, Report | BaseException]) -> None:
    try:
        report = engine.run(_core.cdc_to_postgres, config.document(), stop=stop)
        outcomes[config.topic] = Report.from_json(report)
    except BaseException as error:
        outcomes[config.topic] = error
        raise
