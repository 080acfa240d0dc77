"""Who takes part, in the order of the table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from . import changes, documents, files
from .clients import FLUSH_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence


class Part(Enum):
    """What a contestant stands for."""

    OURS = "ours"
    CEILING = "ceiling"
    ORIGINAL = "original"
    """As the original program did it."""
    MODERN = "modern"
    """As a good engineer would write it today; the fastest of several counts."""
    PLAIN = "plain"
    """As everybody writes it first: boto3, one thing after the other."""
    ONE_PROCESS = "one process"
    """Ours, with one process where another line has two."""
    LESS = "less"
    """Does less than is asked; told, but no goal is set against it."""
    VARIANT = "variant"
    """Ours, with something done on top; no goal is set for it."""


@dataclass(frozen=True)
class Contestant:
    """A program that does the work."""

    name: str
    label: str
    module: str
    part: Part
    flush_rows: int | None = None
    """Rows of a file of ours, where it is not to be the default."""
    processes: int = 1
    """Parser processes of ours."""
    is_slow: bool = False
    """Whether it is given a part of the work, for all of it would take minutes."""
    partitions: int = 0
    """Of the topic that it loads orders from; 0 where it does not."""
    makes_rows: bool = True
    """Whether there is something to count in what it makes of orders."""
    poll_ms: int = 0
    """The pause of one that asks a database again and again."""
    keeps_ledger: bool = False
    """Whether it notes each event that it has applied."""


CSV_TO_KAFKA = "csv_to_kafka"
KAFKA_TO_PARQUET = "kafka_to_parquet"
OBS_WORKER = "obs_worker"
BUCKET_TO_KAFKA = "bucket_to_kafka"
WALMART_TO_KAFKA = "walmart_to_kafka"
WALMART_ORDERS = "walmart_orders"
WALMART_TO_MYSQL = "walmart_to_mysql"
CDC_TO_POSTGRES = "cdc_to_postgres"
POSTGRES_TO_KAFKA = "postgres_to_kafka"
MONGO_TO_KAFKA = "mongo_to_kafka"
MYSQL_TO_MYSQL = "mysql_to_mysql"
FLINK_WALMART = "flink_walmart"

ONE = Contestant("ours", "**pipeline_core**, 1 process", "ours", Part.OURS)
TWO = Contestant("ours2", "**pipeline_core**, 2 processes", "ours", Part.OURS, processes=2)

CONTESTANTS = {
    CSV_TO_KAFKA: (
        Contestant("ours", "**pipeline_core**", "ours", Part.OURS),
        Contestant("ceiling", "ceiling: payloads encoded beforehand, same client", "ceiling", Part.CEILING),
        Contestant("original", "csv.DictReader + json + confluent-kafka", "original", Part.ORIGINAL),
        Contestant("orjson", "csv.reader + orjson + confluent-kafka", "with_orjson", Part.MODERN),
        Contestant("polars", "polars + confluent-kafka", "with_polars", Part.MODERN),
    ),
    KAFKA_TO_PARQUET: (
        Contestant("ours", "**pipeline_core**", "ours", Part.OURS),
        Contestant("ours20k", "**pipeline_core**, files of 20,000 rows", "ours", Part.OURS, FLUSH_ROWS),
        Contestant("ceiling", "ceiling: a consumer that throws messages away", "ceiling", Part.CEILING),
        Contestant("original", "confluent-kafka + json + pandas", "original", Part.ORIGINAL),
        Contestant("pyarrow", "confluent-kafka + pyarrow", "with_pyarrow", Part.MODERN),
        Contestant("polars", "confluent-kafka + polars", "with_polars", Part.MODERN),
    ),
    OBS_WORKER: (
        ONE,
        TWO,
        Contestant("ceiling", "ceiling: bare get and put, same client", "ceiling", Part.CEILING),
        Contestant("boto3", "boto3, one after the other", "boto3_loop", Part.PLAIN, is_slow=True),
        Contestant("original", "ThreadPool + boto3 + confluent-kafka", "original", Part.ORIGINAL, is_slow=True),
        Contestant("obstore", "obstore + asyncio + confluent-kafka", "with_obstore", Part.MODERN),
    ),
    BUCKET_TO_KAFKA: (
        Contestant("ours", "**pipeline_core**", "ours", Part.OURS),
        Contestant("ceiling", "ceiling: pages fetched, not read", "ceiling", Part.CEILING),
        Contestant("boto3", "boto3's paginator", "boto3_pages", Part.PLAIN),
        Contestant("obstore", "obstore's list", "with_obstore", Part.MODERN),
    ),
    WALMART_TO_KAFKA: (
        Contestant("ours", "**pipeline_core**", "ours", Part.OURS),
        Contestant("original", "http.client + json + confluent-kafka", "original", Part.ORIGINAL, is_slow=True),
    ),
    WALMART_ORDERS: (
        Contestant("ours", "**pipeline_core**, Arrow", "ours", Part.OURS),
        Contestant("ours1", "**pipeline_core**, Arrow, one thread", "ours_one_thread", Part.OURS),
        Contestant("pylist", "**pipeline_core**, to_pylist", "ours_pylist", Part.VARIANT),
        Contestant("simdjson", "ceiling: simdjson, no rows", "ceiling", Part.CEILING, makes_rows=False),
        Contestant("loads", "orjson, no rows", "orjson_alone", Part.LESS, makes_rows=False),
        Contestant("original", "json + dicts", "original", Part.ORIGINAL),
        Contestant("orjson", "orjson + dicts", "with_orjson", Part.MODERN),
    ),
    WALMART_TO_MYSQL: (
        Contestant("ours", "**pipeline_core**, 3 partitions", "ours", Part.OURS, partitions=3),
        Contestant("ours6", "**pipeline_core**, 6 partitions", "ours", Part.OURS, partitions=6),
        Contestant("ceiling", "ceiling: LOAD DATA, the same four tables", "ceiling", Part.CEILING),
        Contestant("order", "LOAD DATA, the order table alone", "load_data", Part.LESS),
        Contestant("original", "REPLACE, executemany of 10", "original", Part.ORIGINAL),
        Contestant("upsert", "INSERT … UPDATE, executemany of 500", "with_upsert", Part.MODERN),
    ),
    CDC_TO_POSTGRES: (
        Contestant("ours", "**pipeline_core**, no ledger", "ours", Part.OURS),
        Contestant("ledger", "**pipeline_core**", "ours_ledger", Part.OURS, keeps_ledger=True),
        Contestant("ceiling", "ceiling: COPY of the same rows", "ceiling", Part.CEILING),
        Contestant("original", "a transaction per event", "original", Part.ORIGINAL, is_slow=True, keeps_ledger=True),
        Contestant("executemany", "psycopg, executemany of 1,000", "with_executemany", Part.MODERN),
    ),
    POSTGRES_TO_KAFKA: (
        Contestant("ours", "**pipeline_core**", "ours", Part.OURS),
        Contestant("original", "psycopg + json + confluent-kafka, 1 s", "original", Part.ORIGINAL, poll_ms=1_000),
        Contestant("original50", "the same, 50 ms", "original", Part.LESS, poll_ms=50),
    ),
    MONGO_TO_KAFKA: (
        Contestant("ours", "**pipeline_core**", "ours", Part.OURS),
        Contestant("raw", "**pipeline_core**, raw", "ours_raw", Part.VARIANT),
        Contestant("ceiling", "ceiling: the same driver, thrown away", "ceiling", Part.CEILING),
        Contestant("producer", "values encoded beforehand, same client", "producer", Part.LESS),
        Contestant("batches", "pymongo's raw batches, thrown away", "raw_batches", Part.LESS),
        Contestant("original", "pymongo + pydantic + kafka-python", "original", Part.ORIGINAL),
        Contestant("confluent", "pymongo + pydantic + confluent-kafka", "with_confluent", Part.ORIGINAL),
        Contestant("orjson", "pymongo + orjson + confluent-kafka", "with_orjson", Part.MODERN),
    ),
    MYSQL_TO_MYSQL: (
        Contestant("ours", "**pipeline_core**", "ours", Part.OURS),
        Contestant("original", "PyMySQL, a query for each tag", "original", Part.ORIGINAL, is_slow=True),
        Contestant("executemany", "PyMySQL, 500 items in a transaction", "with_executemany", Part.MODERN),
    ),
    FLINK_WALMART: (
        Contestant("ours", "**pipeline_core** in Flink", "ours", Part.OURS, partitions=1),
        Contestant("ours500", "**pipeline_core** in Flink, batches of 500", "ours500", Part.OURS, partitions=1),
        Contestant("original", "the original's map in Flink", "original", Part.ORIGINAL, partitions=1),
        Contestant("original500", "the same, batches of 500", "original500", Part.LESS, partitions=1),
        Contestant("alone", "**pipeline_core** `walmart-to-mysql`", "alone", Part.VARIANT, partitions=1),
        Contestant("alone3", "the same, 3 partitions", "alone", Part.VARIANT, partitions=3),
    ),
}
OF_SHAPE = {
    # Where the parser computes, that is about processes, and nothing else.
    files.COMPUTED.name: (TWO, replace(ONE, part=Part.ONE_PROCESS)),
    # What waits is read at once: nobody pauses.
    changes.BACKLOG: tuple(
        replace(one, label=one.label.partition(", ")[0]) for one in CONTESTANTS[POSTGRES_TO_KAFKA][:2]
    ),
    # kafka-python needs another package for it.
    documents.LZ4.name: tuple(one for one in CONTESTANTS[MONGO_TO_KAFKA] if one.module != "original"),
}
"""Who takes part in races where that are not all of the command's."""


def field_of(command: str, shape: str, names: Sequence[str] | None = None) -> list[Contestant]:
    """Those of a command who race over a shape, or those of them who are named."""
    runs = OF_SHAPE.get(shape, CONTESTANTS[command])
    return [one for one in runs if names is None or one.name in names]
