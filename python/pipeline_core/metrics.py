"""Where a run's numbers and its health are served: settings that all pipelines share."""

from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import TypedDict

from pipeline_core.fields import Port, Seconds
from pipeline_core.settings import PipelineSettings


class MetricsSettings(PipelineSettings):
    """Where a run's numbers and its health are served, for Prometheus and orchestrators."""

    block: ClassVar[str] = "metrics"
    block_prefix: ClassVar[str] = "metrics_"

    metrics_port: Annotated[
        Port | None,
        Field(description="Port of /metrics for Prometheus, /health/live and /health/ready; none without it."),
    ] = None
    metrics_host: Annotated[str, Field(min_length=1, description="Address that they are served at.")] = "127.0.0.1"
    metrics_ready_seconds: Annotated[
        Seconds, Field(description="A run that has not moved for so long is not ready.")
    ] = 60


class MetricsArguments(TypedDict, total=False):
    """Keyword arguments that set `MetricsSettings`."""

    metrics_port: int | None
    metrics_host: str
    metrics_ready_seconds: float | str
