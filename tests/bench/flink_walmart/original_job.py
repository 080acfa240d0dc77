"""The original's PyFlink job, in Flink's Python: value-only messages, a flat map in Python, rows by JDBC."""
# ruff: noqa: T201 - the last line on stdout is the result

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pyflink.common import Configuration, Row, SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
from tests.bench.walmart_orders.original import rows_of

from pipeline_core.flink.graphs.cluster import jars
from pipeline_core.flink.graphs.orders import columns_of_orders
from pipeline_core.flink.graphs.table import sink
from pipeline_core.flink.settings import WalmartConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

TYPES = {
    "int32": (Types.INT(), "INTEGER"),
    "int64": (Types.LONG(), "BIGINT"),
    "string": (Types.STRING(), "VARCHAR"),
    "timestamp[s]": (Types.SQL_TIMESTAMP(), "TIMESTAMP"),
    "decimal128(10, 2)": (Types.DOUBLE(), "DOUBLE"),
}


def rows(text: str) -> Iterator[Row]:
    """Rows of a message, in the order of the table."""
    for row in rows_of(json.loads(text)):
        del row["load_time"]
        yield Row(*row.values())


def main() -> None:
    """Run the job, and say how long it took."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    options = Configuration()
    options.set_string("execution.checkpointing.interval", "10s")
    options.set_string("parallelism.default", "1")
    options.set_string("python.executable", sys.executable)
    environment = StreamExecutionEnvironment.get_execution_environment(options)
    config = WalmartConfig(
        mysql_url=task["url"], database=task["database"], batch_size=task["batch"], jars=[task["jars"]]
    )
    environment.add_jars(*jars(config))
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(task["servers"])
        .set_topics(task["topic"])
        .set_group_id(task["group"])
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    columns = columns_of_orders()
    kinds = [TYPES[kind] for kind in columns.values()]
    read = environment.from_source(source, WatermarkStrategy.no_watermarks(), "orders")
    made = read.flat_map(rows, Types.ROW_NAMED(list(columns), [kind for kind, _ in kinds]))
    marks = ", ".join("?" for _ in columns)
    replace = f"REPLACE INTO walmart_order ({', '.join(columns)}) VALUES ({marks})"
    made.sink_to(sink(config, replace, [kind for _, kind in kinds]))
    print(json.dumps({"seconds": environment.execute("original").get_net_runtime() / 1000}))


if __name__ == "__main__":
    main()
