"""Who takes part, in the order of the table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .clients import FLUSH_ROWS


class Part(Enum):
    """What a contestant stands for."""

    OURS = "ours"
    CEILING = "ceiling"
    ORIGINAL = "original"
    """As the original program did it."""
    MODERN = "modern"
    """As a good engineer would write it today; the fastest of several counts."""


@dataclass(frozen=True)
class Contestant:
    """A program that does the work."""

    name: str
    label: str
    module: str
    part: Part
    flush_rows: int | None = None
    """Rows of a file of ours, where it is not to be the default."""


CSV_TO_KAFKA = "csv_to_kafka"
KAFKA_TO_PARQUET = "kafka_to_parquet"

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
}
