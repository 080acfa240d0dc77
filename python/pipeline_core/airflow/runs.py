"""What a task does with a pipeline: run, check, verify, make tables. For operators, and for functions of `@task`.

```python
from airflow.sdk import task


@task
def consume():
    from pipeline_core.airflow import runs

    return runs.run("kafka_to_parquet", conn_ids={"kafka": "kafka_default"}, to="./lake", until="end")
```

An error that trying again cannot mend fails the task at once, as `AirflowFailException`; any other one leaves it to
its retries. What they return is plain data for XCom.
"""

import logging
import signal
import threading
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from pipeline_core import obs_worker
from pipeline_core._core import Stop
from pipeline_core.airflow.hooks import PipelineHook
from pipeline_core.check import as_data
from pipeline_core.check import check as check_all
from pipeline_core.exceptions import PipelineError
from pipeline_core.verify import verify as verify_files

if TYPE_CHECKING:
    from pipeline_core.report import DatabaseReport, Report
    from pipeline_core.verify import Config as VerifyConfig

ConnIds = Mapping[str, str | None]

_log = logging.getLogger(__name__)


def run(
    pipeline: str,
    /,
    *,
    conn_ids: ConnIds | None = None,
    stop: Stop | None = None,
    **settings: Any,  # noqa: ANN401 - checked by the Config
) -> dict[str, Any]:
    """Run a pipeline and give its report; SIGTERM and `stop` end it after everything read is written and committed.

    Args:
        pipeline: Its name, such as `csv_to_kafka`.
        conn_ids: Ids of Airflow connections by what they reach, see `PipelineHook`.
        stop: Set it from another thread to end the run.
        **settings: Fields of the pipeline's `Config` by name.

    Raises:
        AirflowFailException: It failed, and would fail again.
        AirflowException: It was told to stop before it was done; a retry goes on from there.
        PipelineError: It failed, and may succeed later.
    """
    stop = stop or Stop()
    with failures(), _stopped_by_sigterm(stop):
        hook = PipelineHook(pipeline, conn_ids)
        with hook.configured(**settings) as config:
            module = import_module(f"pipeline_core.{hook.pipeline}")
            report = cast("Report", module.run(config, stop=stop))
    _log.info("%r", report)
    if report.status == "stopped" and stop.is_set():
        message = f"{report.heading()}: the task was told to stop. What was read is safe; a retry goes on from there"
        raise AirflowException(message)
    return report.to_dict()


def check(
    pipeline: str,
    /,
    *,
    conn_ids: ConnIds | None = None,
    not_yet: Collection[str] = (),
    **settings: Any,  # noqa: ANN401 - checked by the Config
) -> list[dict[str, Any]]:
    """Try all that a pipeline needs, moving nothing; what was tried.

    Args:
        pipeline: Its name, such as `csv_to_kafka`.
        conn_ids: Ids of Airflow connections by what they reach, see `PipelineHook`.
        not_yet: Names of what need not be there now, such as a `topic` that a later task makes.
        **settings: Fields of the pipeline's `Config` by name.

    Raises:
        AirflowFailException: The settings are wrong.
        AirflowException: Something cannot be reached or used; the message says what and what to do.
    """
    stop = Stop()
    with failures(), _stopped_by_sigterm(stop), PipelineHook(pipeline, conn_ids).configured(**settings) as config:
        found = check_all(config, stop=stop)
    for item in found:
        _log.info("%s: %s%s", item.name, "ok" if item.ok else "failed", f", {item.detail}" if item.detail else "")
    wrong = [item for item in found if not item.ok and item.name not in not_yet]
    if wrong:
        hints = [f"{item.name}: {item.detail}{f' Hint: {item.hint}' if item.hint else ''}" for item in wrong]
        raise AirflowException("\n".join(hints))
    return as_data(found)


def verify(
    *,
    conn_ids: ConnIds | None = None,
    **settings: Any,  # noqa: ANN401 - checked by the Config
) -> dict[str, Any]:
    """Compare the files below a place with the topic they were written from; the report.

    Raises:
        AirflowFailException: There are gaps, overlaps or rows missing; the message has them all.
        PipelineError: The topic or the place could not be read.
    """
    stop = Stop()
    hook = PipelineHook("verify", conn_ids)
    with failures(), _stopped_by_sigterm(stop), hook.configured(**settings) as config:
        report = verify_files(config=cast("VerifyConfig", config), stop=stop)
    _log.info("%r", report)
    if not report.ok:
        raise AirflowFailException("\n".join([report.heading(), *report.problems]))
    return report.to_dict()


def init_db(
    pipeline: str,
    /,
    *,
    conn_ids: ConnIds | None = None,
    **settings: Any,  # noqa: ANN401 - checked by the Config
) -> dict[str, Any]:
    """Create the databases and tables of a pipeline that are missing; what was created.

    Raises:
        AirflowFailException: It failed, and would fail again.
        PipelineError: It failed, and may succeed later.
    """
    stop = Stop()
    with failures(), _stopped_by_sigterm(stop):
        hook = PipelineHook(pipeline, conn_ids)
        with hook.configured(**settings) as config:
            module = import_module(f"pipeline_core.{hook.pipeline}")
            report = cast("DatabaseReport", module.init_db(config, stop=stop))
    _log.info("%r", report)
    return report.to_dict()


def lag(
    topic: str,
    group_id: str,
    *,
    conn_ids: ConnIds | None = None,
    **settings: Any,  # noqa: ANN401 - checked by the Config
) -> dict[str, Any]:
    """How many messages of a topic a group has not done; they are counted by reading them.

    Args:
        topic: The topic.
        group_id: The consumer group.
        conn_ids: Ids of Airflow connections by what they reach: `kafka`.
        **settings: More fields of `obs_worker.Config`.

    Returns:
        `tasks`, their number, with `topic`, `group_id` and the `partitions`.

    Raises:
        AirflowFailException: The settings are wrong, or there is no such topic.
        PipelineError: The topic could not be read.
    """
    hook = PipelineHook("obs_worker", conn_ids)
    with failures():
        return lag_of(hook, hook.get_conn(), {**settings, "topic": topic, "group_id": group_id})


def lag_of(hook: PipelineHook, found: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`lag`, where the connections were already asked for."""
    with hook.configured_by(found, {"auto_offset_reset": "earliest", **settings}) as config:
        status = obs_worker.status(cast("obs_worker.Config", config))
    queue: dict[str, Any] = status.to_dict()["queue"]
    _log.info("%s is %s messages behind %s", queue["group_id"], f"{queue['tasks']:,}", queue["topic"])
    return queue


@contextmanager
def failures() -> Generator[None]:
    """An error that trying again cannot mend becomes `AirflowFailException`."""
    try:
        yield
    except PipelineError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


@contextmanager
def _stopped_by_sigterm(stop: Stop) -> Generator[None]:
    """Airflow ends a task by SIGTERM, and its own handler asks the operator only, which for a function does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def on_term(number: int, frame: FrameType | None) -> None:
        stop.set()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, on_term)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
