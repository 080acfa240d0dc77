"""OpenTelemetry: a span for each call of the engine, and below it one for each flush and each transaction.

Nothing of it is done unless OTEL_EXPORTER_OTLP_ENDPOINT is set, and nothing of it is imported either. A program that
has set up a tracer provider of its own gets our spans there, below its own.
"""

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline_core.progress import RUN, OnSpans, Span, Stats

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PREFIX = "pipeline_core."

_log = logging.getLogger(__name__)


@contextmanager
def run(name: str) -> Generator[OnSpans | None]:
    """The span of a call; takes what is timed in it. None where no endpoint is set."""
    tracer = _tracer() if any(os.environ.get(endpoint) for endpoint in _ENDPOINTS) else None
    if tracer is None:
        yield None
        return
    named = {f"{_PREFIX}run": RUN.get()} if RUN.get() else {}
    with tracer.start_as_current_span(f"{_PREFIX}{name}", attributes={f"{_PREFIX}pipeline": name, **named}) as span:

        def take(stats: Stats, spans: list[Span]) -> None:
            for what, began, lasted in spans:
                tracer.start_span(f"{_PREFIX}{what}", start_time=began).end(began + lasted)
            counts = {"rows_read": stats.rows_read, "rows_written": stats.rows_written}
            counts |= {"rows_rejected": stats.rows_rejected, "bytes_written": stats.bytes_written}
            span.set_attributes({f"{_PREFIX}{count}": value for count, value in counts.items()})

        yield take


@cache
def _tracer() -> "Tracer | None":
    """The program's, or one that sends to the endpoint."""
    try:
        from opentelemetry import trace  # noqa: PLC0415 - only where it is asked for

        provider: Any = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            provider = _provider()
            trace.set_tracer_provider(provider)
    except ImportError:
        _log.warning("%s is set, and no traces are sent: install pipeline-core[otel]", _ENDPOINTS[0])
        return None
    return trace.get_tracer("pipeline_core")


def _provider() -> Any:  # noqa: ANN401 - its package may be missing
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    # What the SDK is given wins over the environment.
    is_named = "OTEL_SERVICE_NAME" in os.environ or SERVICE_NAME in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if is_named else {SERVICE_NAME: "pipeline_core"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
