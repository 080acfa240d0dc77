"""The main job: every row of a CSV is in Parquet once, with the same text, wherever the files go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from tests.python.support import data, oracle, topics
from tests.python.support.places import Place, gcs_place, obs_place, s3_place

from pipeline_core import csv_to_kafka, kafka_to_parquet, verify

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from tests.services.gcs import Gcs
    from tests.services.kafka import Kafka
    from tests.services.s3 import S3


@dataclass(frozen=True)
class Sent:
    """A CSV that is on a topic, and what the oracle says of both."""

    path: Path
    topic: str
    header: list[str]
    expected: Counter[str]
    messages: list[topics.Message]


@pytest.fixture(scope="module", params=[data.SAMPLE_ROWS, data.ALL_ROWS])
def sent(request: pytest.FixtureRequest, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    path = data.dataco(tmp_path_factory.mktemp("csv"), request.param)
    topic = kafka.new_topic(partitions=3)
    report = csv_to_kafka.run(files=path, topic=topic, bootstrap_servers=kafka.bootstrap)
    assert (report.rows_read, report.rows_written, report.rows_rejected) == (request.param, request.param, 0)
    header, expected = oracle.csv_rows(path)
    assert len(header) == 53
    assert any("á" in row for row in expected)
    return Sent(path, topic, header, expected, topics.messages(kafka, topic))


@pytest.fixture(params=["local", "s3", "gcs", "obs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, s3: S3, gcs: Gcs) -> Place:
    match request.param:
        case "s3":
            return s3_place(s3)
        case "gcs":
            return gcs_place(gcs)
        case "obs":
            return obs_place(s3)
        case _:
            return Place(str(tmp_path / "lake"))


def test_rows_in_are_rows_in_parquet(kafka: Kafka, sent: Sent, place: Place) -> None:
    where = {"topic": sent.topic, "bootstrap_servers": kafka.bootstrap, **place.settings}
    report = kafka_to_parquet.run(
        to=place.url, group_id=place.url.rsplit("/", 1)[-1] + sent.topic, until="end", **where
    )
    rows = sent.expected.total()
    assert (report.status, report.rows_read, report.rows_written, report.rows_rejected) == ("complete", rows, rows, 0)
    assert report.details["create_only"]
    oracle.assert_each_row_once(place, sent.header, sent.expected, sent.messages)
    verified = verify(place.url, **where)
    assert verified.ok, verified.problems[:5]
    assert verified.rows == rows


def a_lost_row(table: pa.Table) -> pa.Table:
    return table.slice(1)


def a_doubled_row(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def a_lost_accent(table: pa.Table) -> pa.Table:
    plain = pc.replace_substring(table["Order City"], "á", "a")
    return table.set_column(table.column_names.index("Order City"), "Order City", plain)


def a_null_for_nothing(table: pa.Table) -> pa.Table:
    at = table.column_names.index("Order Zipcode")
    return table.set_column(at, "Order Zipcode", pc.if_else(pc.equal(table[at], ""), None, table[at]))


@pytest.mark.parametrize("damage", [a_lost_row, a_doubled_row, a_lost_accent, a_null_for_nothing])
def test_the_oracle_notices(kafka: Kafka, tmp_path: Path, damage) -> None:
    csv, topic, place = data.dataco(tmp_path), kafka.new_topic(), Place(str(tmp_path / "lake"))
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    csv_to_kafka.run(files=csv, limit=500, **where)
    csv.write_bytes(b"".join(csv.read_bytes().splitlines(keepends=True)[:501]))
    kafka_to_parquet.run(to=place.url, group_id=topic, until="end", **where)
    known = (*oracle.csv_rows(csv), topics.messages(kafka, topic))
    oracle.assert_each_row_once(place, *known)
    [name] = place.names()
    pq.write_table(damage(pq.read_table(f"{place.url}/{name}", partitioning=None)), f"{place.url}/{name}")
    with pytest.raises(AssertionError, match=r"missing|too often"):
        oracle.assert_each_row_once(place, *known)


@pytest.fixture(scope="module")
def lake(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sample in many files of a local folder, in folders by day."""
    folder = tmp_path_factory.mktemp("lake")
    topic = kafka.new_topic(partitions=2)
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    csv_to_kafka.run(files=data.dataco(folder), **where)
    settings = {"to": folder, "group_id": topic, "until": "end", "flush_rows": 700, "partition_by": "date=%F"}
    kafka_to_parquet.run(**settings, **where)
    return f"{folder}/raw_streaming"


def test_pyarrow_reads_the_folder_as_one_table(lake: str) -> None:
    table = ds.dataset(lake, partitioning="hive").to_table()
    assert table.num_rows == data.SAMPLE_ROWS
    assert len(set(table["Order Item Id"].to_pylist())) == data.SAMPLE_ROWS
    assert "date" in table.column_names


def test_polars_reads_the_folder_as_one_table(lake: str) -> None:
    frame = pl.scan_parquet(f"{lake}/", hive_partitioning=True).collect()
    assert frame.height == data.SAMPLE_ROWS
    assert frame["Order Item Id"].n_unique() == data.SAMPLE_ROWS
    assert "date" in frame.columns


def test_duckdb_reads_the_folder_as_one_table(lake: str) -> None:
    with duckdb.connect() as connection:
        query = 'SELECT count(*), count(DISTINCT "Order Item Id"), min(date) IS NULL FROM read_parquet(?)'
        counts = connection.execute(query, [f"{lake}/**/*.parquet"]).fetchone()
    assert counts == (data.SAMPLE_ROWS, data.SAMPLE_ROWS, False)
