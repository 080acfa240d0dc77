"""The graph of `walmart_job`: topic, parser, table; what is refused goes to the dead letters."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyflink.common import Row, Types
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext
from pyflink.table import StreamTableEnvironment

from pipeline_core import _core, parse_walmart_orders, units
from pipeline_core.flink.graphs.table import rows_into
from pipeline_core.flink.graphs.topic import LETTERS, bury, letter, messages
from pipeline_core.flink.settings import WalmartConfig

# The server fills it in.
_LOAD_TIME = "load_time"
_WHOLE = {"int32": Types.INT(), "int64": Types.LONG()}


def build(config: WalmartConfig, tables: StreamTableEnvironment) -> None:
    """Put the steps into the environment."""
    columns = columns_of_orders()
    kinds = [_WHOLE.get(kind, Types.STRING()) for kind in columns.values()]
    rows = messages(config, tables).process(ParseOrders(config), Types.ROW_NAMED(list(columns), kinds))
    rows.name("parse").uid("parse")
    rows_into(config, columns, rows)
    bury(config, tables, rows.get_side_output(LETTERS))


def columns_of_orders() -> dict[str, str]:
    """The columns of the table of order lines that a job writes, and their types in Arrow.

    What is no whole number goes as text: the server reads amounts and times digit for digit, whatever the clock of the
    machine that sends them.
    """
    schema = pa.record_batch(parse_walmart_orders([])).schema
    return {column.name: str(column.type) for column in schema if column.name != _LOAD_TIME}


class ParseOrders(ProcessFunction):
    """Lines of the orders of a message; orders that are refused go aside."""

    def __init__(self, config: WalmartConfig) -> None:
        self._topic, self._pipeline = config.topic, config.pipeline
        self._options = json.dumps(
            {
                "formatted_timezone": units.zone(config.formatted_timezone),
                "truncate": config.truncate,
                "raw": False,
                "source_file": config.source_file,
            }
        )
        self._parsed: Any = None
        self._refused: Any = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make the counters that Flink shows."""
        group = runtime_context.get_metrics_group()
        self._parsed, self._refused = group.counter("order_lines"), group.counter("refused_orders")

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row | tuple[OutputTag, Row]]:
        """Parse one message."""
        del ctx
        if value.body is None:
            self._refused.inc()
            yield LETTERS, self._letter(value, None, "$: The message has no value")
            return
        batch, refused = _core.parse_walmart_orders([value.body], "order", self._options)
        lines = batch.to_pylist()
        self._parsed.inc(len(lines))
        for line in lines:
            del line[_LOAD_TIME]
            yield Row(*(cell if cell is None or type(cell) is int else str(cell) for cell in line.values()))
        self._refused.inc(len(refused))
        for _, path, reason, order in refused:
            # What is no text is the whole message.
            body = value.body if "\ufffd" in order else order.encode()
            yield LETTERS, self._letter(value, body, f"{path}: {reason}")

    def _letter(self, message: Row, body: bytes | None, reason: str) -> Row:
        return letter(message, body, reason, pipeline=self._pipeline, topic=self._topic)
