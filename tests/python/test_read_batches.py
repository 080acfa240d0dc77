"""A topic as Arrow batches, taken without a copy by those who speak Arrow."""

from __future__ import annotations

import pytest

from pipeline_core import EmbeddedKafka, csv_to_kafka, read_batches, sample_data
from pipeline_core.exceptions import NotFoundError

ROWS = 3000


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    csv = tmp_path_factory.mktemp("csv") / "orders.csv"
    sample_data.write(csv, ROWS)
    with EmbeddedKafka() as kafka:
        kafka.create_topic("orders", partitions=3)
        settings = {"topic": "orders", "bootstrap_servers": kafka.bootstrap_servers}
        csv_to_kafka.run(files=csv, **settings)
        yield settings


def test_batches_hold_every_row_once(where):
    batches = list(read_batches(**where, batch_rows=500))
    assert sum(batch.num_rows for batch in batches) == ROWS
    assert all(0 < batch.num_rows <= 500 for batch in batches)
    assert {"Order Item Id", "topic", "partition", "offset", "time", "key"} <= set(batches[0].column_names)


def test_metadata_can_be_left_out(where):
    (batch, *_) = read_batches(**where, metadata=False)
    assert batch.column_names == list(sample_data.HEADER)


def test_pyarrow_takes_the_stream(where):
    pa = pytest.importorskip("pyarrow")
    table = pa.RecordBatchReader.from_stream(read_batches(**where)).read_all()
    assert table.num_rows == ROWS
    assert len(set(table["Order Item Id"].to_pylist())) == ROWS
    assert pa.record_batch(next(read_batches(**where))).num_rows > 0


def test_polars_takes_the_stream(where):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(read_batches(**where))
    assert frame["Order Item Id"].n_unique() == ROWS


def test_duckdb_takes_the_stream(where):
    connection = pytest.importorskip("duckdb").connect()
    connection.register("orders", read_batches(**where))
    assert connection.sql('SELECT count(DISTINCT "Order Item Id") FROM orders').fetchall() == [(ROWS,)]


def test_typed_columns_are_numbers(where):
    pa = pytest.importorskip("pyarrow")
    table = pa.RecordBatchReader.from_stream(read_batches(**where, column_types={"Order Item Id": "int64"})).read_all()
    assert table.schema.field("Order Item Id").type == pa.int64()


def test_a_number_of_rows_ends_it(where):
    assert sum(batch.num_rows for batch in read_batches(**where, until="100rows", batch_rows=10)) == 100


def test_a_closed_reader_ends(where):
    reader = read_batches(**where, batch_rows=10)
    next(reader)
    reader.close()
    assert next(reader, None) is None


def test_a_missing_topic_is_named(where):
    with pytest.raises(NotFoundError, match="nowhere"):
        list(read_batches(**{**where, "topic": "nowhere"}))
