"""The graph of `walmart_job`: topic, parser, table; what is refused goes to the dead letters."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyflink.common import Row, Types
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from pipeline_core import _core, units
from pipeline_core.flink.graphs.table import rows_into
from pipeline_core.flink.graphs.topic import LETTERS, bury, letter, messages
from pipeline_core.flink.settings import WalmartConfig

# The server fills it in.
_LOAD_TIME = "load_time"
_WHOLE = {"int32": Types.INT(), "int64": Types.LONG()}


def build(config: WalmartConfig, environment: StreamExecutionEnvironment, tables: StreamTableEnvironment) -> None:
    """Put the steps into the environment."""
    del environment
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
    batch, _ = _core.parse_walmart_orders([], "order", json.dumps(_options()))
    schema = pa.record_batch(batch).schema
    return {column.name: str(column.type) for column in schema if column.name != _LOAD_TIME}


class ParseOrders(ProcessFunction):
    """Lines of the orders of a message; orders that are refused go aside."""

    def __init__(self, config: WalmartConfig) -> None:
        self._topic, self._pipeline = config.topic, config.pipeline
        self._options = json.dumps(_options(config))
        self._parsed: Any = None
        self._refused: Any = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make the counters that Flink shows."""
        group = runtime_context.get_metrics_group()
        self._parsed, self._refused = group.counter("order_lines"), group.counter("refused_orders")

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row | tuple[OutputTag, Row]]:
        """Parse one message."""
        del ctx
        batch, refused = _core.parse_walmart_orders([value.body or b""], "order", self._options)
        lines = batch.to_pylist()
        self._parsed.inc(len(lines))
        for line in lines:
            del line[_LOAD_TIME]
            yield Row(*(cell if cell is None or type(cell) is int else str(cell) for cell in line.values()))
        self._refused.inc(len(refused))
        for _, path, reason, order in refused:
            told = f"{path}: {reason}"
            yield LETTERS, letter(value, order.encode(), told, pipeline=self._pipeline, topic=self._topic)


def _options(config: WalmartConfig | None = None) -> dict[str, Any]:
    """The parser's options."""
    fields = WalmartConfig.model_fields
    zone = config.formatted_timezone if config else fields["formatted_timezone"].default
    return {
        "formatted_timezone": units.zone(zone),
        "truncate": config.truncate if config else False,
        "raw": False,
        "source_file": config.source_file if config else "",
    }
