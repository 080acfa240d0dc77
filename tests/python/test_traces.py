"""OpenTelemetry's spans of a run, as a collector gets them."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.python.support import data
from tests.python.support.children import run, succeed

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "pipeline_core."


class Collector(ThreadingHTTPServer):
    """Takes what is exported over HTTP.

    Attributes:
        taken: The requests so far.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[ExportTraceServiceRequest] = []

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program to it."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}", "OTEL_SERVICE_NAME": "orders"}

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.taken
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert self.path == "/v1/traces", self.path
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def attributes(of: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


def test_a_run_its_flushes_and_its_transactions_are_spans(kafka, topic, collector, tmp_path):
    orders = data.dataco(tmp_path, 500)
    given = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "exactly_once": True, "transaction_rows": 100}
    succeed(tmp_path, f"csv-to-kafka {orders}", environment=collector.environment, encoding="latin-1", **given)
    [request] = collector.taken
    assert attributes(request.resource_spans[0].resource)["service.name"] == "orders"
    spans = collector.spans()
    [whole] = [span for span in spans if not span.parent_span_id]
    assert whole.name == f"{PREFIX}csv_to_kafka"
    told = attributes(whole)
    assert (told[f"{PREFIX}pipeline"], told[f"{PREFIX}rows_written"]) == ("csv_to_kafka", 500)
    parts = [span for span in spans if span.parent_span_id]
    assert {span.name for span in parts} == {f"{PREFIX}flush", f"{PREFIX}transaction"}
    assert sum(span.name == f"{PREFIX}transaction" for span in parts) >= 5
    for span in parts:
        assert (span.trace_id, span.parent_span_id) == (whole.trace_id, whole.span_id)
        assert whole.start_time_unix_nano < span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano < whole.end_time_unix_nano


def test_an_error_stands_on_the_span(collector, tmp_path):
    ended = run(tmp_path, "csv-to-kafka nowhere.csv", environment=collector.environment)
    assert ended.code == 1
    [span] = collector.spans()
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert "nowhere.csv" in attributes(span.events[0])["exception.message"]


def test_without_an_endpoint_nothing_is_imported():
    program = (
        "import sys, contextlib\n"
        "from pipeline_core import csv_to_kafka, exceptions\n"
        "with contextlib.suppress(exceptions.NotFoundError):\n"
        "    csv_to_kafka.run(files='nowhere.csv', topic='t')\n"
        "print('opentelemetry' in sys.modules, 'pipeline_core.traces' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "False True", done.stderr
