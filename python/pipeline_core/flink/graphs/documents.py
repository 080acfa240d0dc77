"""The graph of `parquet_job`: topic, parser, Parquet files; what is refused goes to the dead letters."""

from collections.abc import Iterator
from typing import Any

from pyflink.common import Configuration, Row, Types
from pyflink.datastream import DataStream, OutputTag, ProcessFunction, RuntimeContext
from pyflink.datastream.connectors.file_system import (
    BucketAssigner,
    FileSink,
    OutputFileConfig,
    RollingPolicy,
)
from pyflink.datastream.formats.parquet import ParquetBulkWriters
from pyflink.table import DataTypes, StreamTableEnvironment

from pipeline_core.flink.cells import RefusedError, rows_of
from pipeline_core.flink.graphs.cluster import url
from pipeline_core.flink.graphs.topic import LETTERS, bury, letter, messages
from pipeline_core.flink.settings import ParquetConfig

_TYPES = {
    "string": (Types.STRING(), DataTypes.STRING()),
    "int64": (Types.LONG(), DataTypes.BIGINT()),
    "float64": (Types.DOUBLE(), DataTypes.DOUBLE()),
    "boolean": (Types.BOOLEAN(), DataTypes.BOOLEAN()),
    "timestamp": (Types.SQL_TIMESTAMP(), DataTypes.TIMESTAMP(6).bridged_to("java.sql.Timestamp")),
}
_PLACE = {"topic": "string", "partition": "int64", "offset": "int64"}
_CODECS = {"zstd": "ZSTD", "snappy": "SNAPPY", "none": "UNCOMPRESSED"}


def build(config: ParquetConfig, tables: StreamTableEnvironment) -> None:
    """Put the steps into the environment."""
    kinds = {**config.columns, **_PLACE}
    fields = [_TYPES[kind][0] for kind in kinds.values()]
    rows = messages(config, tables).process(ParseDocuments(config), Types.ROW_NAMED(list(kinds), fields))
    rows.name("parse").uid("parse")
    _write(config, kinds, rows)
    bury(config, tables, rows.get_side_output(LETTERS))


class ParseDocuments(ProcessFunction):
    """Rows of a message; a message that is refused goes aside."""

    def __init__(self, config: ParquetConfig) -> None:
        self._topic, self._pipeline = config.topic, config.pipeline
        self._parser, self._columns = config.parser, dict(config.columns)
        self._rows: Any = None
        self._counted: Any = None
        self._refused: Any = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make the counters that Flink shows, and find the parser."""
        group = runtime_context.get_metrics_group()
        self._counted, self._refused = group.counter("rows"), group.counter("refused_messages")
        self._rows = rows_of(self._parser, self._columns)

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row | tuple[OutputTag, Row]]:
        """Parse one message."""
        del ctx
        try:
            rows = self._rows(value.body)
        except RefusedError as error:
            self._refused.inc()
            yield LETTERS, letter(value, value.body, str(error), pipeline=self._pipeline, topic=self._topic)
            return
        self._counted.inc(len(rows))
        for row in rows:
            yield Row(*row, self._topic, value.partition, value.offset)


def _write(config: ParquetConfig, kinds: dict[str, str], rows: DataStream) -> None:
    """Files that are whole at each checkpoint."""
    shape = DataTypes.ROW([DataTypes.FIELD(name, _TYPES[kind][1]) for name, kind in kinds.items()])
    options = Configuration()
    options.set_string("parquet.compression", _CODECS[config.compression])
    options.set_string("parquet.write.int64.timestamp", "true")
    options.set_string("parquet.timestamp.time.unit", "micros")
    names = OutputFileConfig.builder().with_part_prefix(config.name).with_part_suffix(".parquet").build()
    sink = (
        FileSink.for_bulk_format(url(config.to), ParquetBulkWriters.for_row_type(shape, options, utc_timestamp=True))
        .with_bucket_assigner(BucketAssigner.base_path_bucket_assigner())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .with_output_file_config(names)
        .build()
    )
    rows.sink_to(sink).name("files").uid("files")
