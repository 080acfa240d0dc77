"""Operators: a pipeline's run, the check before it, and the comparison after it."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from pipeline_core._core import Stop
from pipeline_core.airflow import runs


class _OfPipeline(BaseOperator):
    """What all operators are told."""

    template_fields: Sequence[str] = ("settings", "conn_ids")
    template_fields_renderers = {"settings": "json", "conn_ids": "json"}
    ui_color = "#d7ebe8"

    def __init__(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        conn_ids: Mapping[str, str | None] | None = None,
        **kwargs: Any,  # noqa: ANN401 - Airflow's
    ) -> None:
        super().__init__(**kwargs)
        self.settings = settings or {}
        self.conn_ids = conn_ids or {}


class PipelineOperator(_OfPipeline):
    """Runs a pipeline; its report goes to XCom as a dict.

    A task that is killed drains and commits what it has read, then fails; its retry goes on from there. An error that
    trying again cannot mend fails it without retries.

    Args:
        pipeline: Its name, such as `kafka_to_parquet`.
        settings: Fields of its `Config` by name (templated). One that is None is left to the environment.
        conn_ids: Ids of Airflow connections by what they reach (templated), see `PipelineHook`.
        **kwargs: Those of every operator.

    Example:
        >>> PipelineOperator(  # doctest: +SKIP
        ...     task_id="consume",
        ...     pipeline="kafka_to_parquet",
        ...     settings={"topic": "orders", "to": "s3://lake", "until": "end"},
        ...     conn_ids={"kafka": "kafka_default", "s3": "aws_default"},
        ... )
    """

    template_fields: Sequence[str] = ("pipeline", *_OfPipeline.template_fields)

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self._stop: Stop | None = None

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ANN401 - Airflow's
        """Run it."""
        del context
        self._stop = Stop()
        return runs.run(self.pipeline, conn_ids=self.conn_ids, stop=self._stop, **self.settings)

    def on_kill(self) -> None:
        """Let it drain and commit."""
        if self._stop is not None:
            self._stop.set()


class CheckOperator(_OfPipeline):
    """Tries all that a pipeline needs, moving nothing; what was tried goes to XCom.

    Takes what `PipelineOperator` takes.
    """

    template_fields: Sequence[str] = ("pipeline", *_OfPipeline.template_fields)

    def __init__(self, *, pipeline: str, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        super().__init__(**kwargs)
        self.pipeline = pipeline

    def execute(self, context: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - Airflow's
        """Try it."""
        del context
        return runs.check(self.pipeline, conn_ids=self.conn_ids, **self.settings)


class VerifyOperator(_OfPipeline):
    """Compares files with the topic they were written from; fails without retries when something is wrong.

    Args:
        settings: Fields of `verify`'s `Config` by name (templated): `to`, `topic`, `prefix`, `name`, `with_topic`.
        conn_ids: Ids of Airflow connections by what they reach (templated), see `PipelineHook`.
        **kwargs: Those of every operator.
    """

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ANN401 - Airflow's
        """Compare."""
        del context
        return runs.verify(conn_ids=self.conn_ids, **self.settings)
