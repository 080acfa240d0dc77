"""What `kafka_to_parquet` writes: which rows in which file, under which name, with which columns, and when it ends."""

from __future__ import annotations

import base64
import io
import json
import random
import threading
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.python.support import data, oracle, topics
from tests.python.support.children import wait_until
from tests.python.support.places import Place

from pipeline_core import Stop, csv_to_kafka, kafka_to_parquet, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline_core.report import Report

ROWS = data.SAMPLE_ROWS


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.dataco(tmp_path_factory.mktemp("csv"))


@pytest.fixture(scope="module")
def orders(kafka, csv) -> str:
    """A topic of two partitions with the real rows."""
    topic = kafka.new_topic(partitions=2)
    csv_to_kafka.run(files=csv, topic=topic, bootstrap_servers=kafka.bootstrap)
    return topic


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(str(tmp_path / "lake"))


@pytest.fixture
def drain(kafka, place) -> Callable[..., Report]:
    """Write a topic into the test's place."""

    def draining(topic: str, **settings: object) -> Report:
        merged = {"until": "end", "to": place.url, "group_id": place.url, **settings}
        return kafka_to_parquet.run(topic=topic, bootstrap_servers=kafka.bootstrap, **merged)

    return draining


def whole(place: Place) -> pa.Table:
    return pa.concat_tables(oracle.tables(place).values(), promote_options="default")


def test_flush_rows_are_the_rows_of_a_file(drain, place, orders, csv, kafka) -> None:
    drain(orders, flush_rows=500)
    counts = Counter(table.num_rows for table in oracle.tables(place).values())
    rest = Counter({count: times for count, times in counts.items() if count != 500})
    assert rest.total() <= 2, "Only the last file of a partition may be smaller"
    assert all(count < 500 for count in rest)
    oracle.assert_each_row_once(place, *oracle.csv_rows(csv), topics.messages(kafka, orders))


def test_flush_bytes_are_about_the_size_of_a_file(drain, place, topic, kafka) -> None:
    noise = random.Random(1)
    topics.send(kafka, topic, (b'{"a":"%s"}' % noise.randbytes(500).hex().encode() for _ in range(20_000)))
    drain(topic, flush_bytes="5MB", compression="none")
    *sizes, last = [len(place.read(name)) for name in place.names()]
    assert len(sizes) >= 2
    assert all(4_000_000 < size < 11_000_000 for size in sizes)
    assert last < 11_000_000


def test_names_and_footers_say_what_is_in_a_file(drain, place, orders) -> None:
    drain(orders, flush_rows=1000)
    for name, table in oracle.tables(place).items():
        told = oracle.NAME.fullmatch(name)
        assert told
        stamp = datetime.strptime(told["stamp"], "%Y%m%d_%H%M%S").replace(tzinfo=timezone.utc)
        assert abs((datetime.now(timezone.utc) - stamp).total_seconds()) < 120
        offsets = table["offset"].to_pylist()
        assert (told["topic"], int(told["partition"])) == (orders, table["partition"][0].as_py())
        assert (int(told["first"]), int(told["last"])) == (min(offsets), max(offsets))
        footer = pq.read_metadata(io.BytesIO(place.read(name))).metadata
        assert footer[b"pipeline_core.first_offset"] == str(min(offsets)).encode()
        assert footer[b"pipeline_core.rows"] == str(table.num_rows).encode()


def test_the_five_metadata_columns_are_those_of_the_messages(drain, place, orders, kafka) -> None:
    drain(orders)
    table = whole(place).select(oracle.METADATA)
    time = pa.timestamp("ms", "UTC")
    assert table.schema.types == [pa.string(), pa.int32(), pa.int64(), time, pa.string()]
    epoch = [stamp.timestamp() * 1000 for stamp in table["time"].to_pylist()]
    found = zip(*(table[name].to_pylist() for name in ("topic", "partition", "offset", "key")), epoch, strict=True)
    sent = topics.messages(kafka, orders)
    wanted = [(orders, one.partition, one.offset, (one.key or b"").decode(), one.time) for one in sent]
    assert Counter(found) == Counter(wanted)


def test_metadata_columns_can_have_other_names(drain, place, topic, kafka) -> None:
    topics.send(kafka, topic, [b'{"topic":"mine","key":"too"}'], key=b"k")
    drain(topic, metadata_prefix="kafka_")
    [row] = pa.concat_tables(oracle.tables(place).values()).to_pylist()
    assert (row["topic"], row["key"], row["kafka_topic"], row["kafka_key"]) == ("mine", "too", topic, "k")


def test_keys_that_are_no_text_are_kept_as_base64(drain, place, topic, kafka) -> None:
    topics.send(kafka, topic, [b'{"a":"1"}'], key=b"\xff\x00\xfe")
    drain(topic, key_encoding="base64")
    assert [base64.b64decode(key) for key in whole(place)["key"].to_pylist()] == [b"\xff\x00\xfe"]


@pytest.mark.parametrize(("compression", "codec"), [("zstd", "ZSTD"), ("snappy", "SNAPPY"), ("none", "UNCOMPRESSED")])
def test_files_are_compressed_as_asked(drain, place, orders, compression, codec) -> None:
    drain(orders, compression=compression)
    for name in place.names():
        assert pq.read_metadata(io.BytesIO(place.read(name))).row_group(0).column(0).compression == codec


def test_json_is_an_array_of_the_rows(drain, place, orders, csv) -> None:
    drain(orders, format="json", flush_rows=1000)
    names = place.names()
    assert all(name.endswith(".json") for name in names)
    texts = [place.read(name).decode() for name in names]
    assert all(text.startswith('[\n  {\n    "Type": ') for text in texts)
    assert any("á" in text for text in texts)
    found = [row for text in texts for row in json.loads(text)]
    assert all(list(row) == [*data.header(csv), *oracle.METADATA] for row in found)
    assert {type(row["offset"]) for row in found} == {int}
    cells = Counter(tuple(row[name] for name in data.header(csv)) for row in found)
    assert cells == Counter(tuple(row.values()) for row in data.rows(csv))


@pytest.mark.parametrize("levels", ["date=%F", "Market", ["date=%F", "Market", "Order Status"]])
def test_rows_go_to_the_folder_of_their_day_or_column(drain, place, orders, csv, kafka, levels) -> None:
    drain(orders, partition_by=levels, flush_rows=1500)
    named = [levels] if isinstance(levels, str) else levels
    sent = topics.messages(kafka, orders)
    days = {datetime.fromtimestamp(message.time / 1000, timezone.utc).strftime("%F") for message in sent}
    for name in place.names():
        folders = dict(part.split("=", 1) for part in name.split("/")[1:-1])
        assert list(folders) == [level.split("=")[0] for level in named]
        assert folders.get("date") in {None, *days}
    oracle.assert_each_row_once(place, *oracle.csv_rows(csv), sent)


def test_a_value_that_no_folder_can_be_named_after_is_escaped(drain, place, topic, kafka) -> None:
    values = ["a/b", "../up", "c=d", "50%", "", "é x", ".."]
    topics.send(kafka, topic, [json.dumps({"v": value, "n": value}).encode() for value in values] + [b'{"n":"none"}'])
    drain(topic, partition_by="v")
    assert all(name.startswith("raw_streaming/v=") for name in place.names())
    found = {row["n"]: row["v"] for row in whole(place).to_pylist()}
    assert found == {**{value: value or None for value in values}, "none": None}
    report = verify(place.url, topic=topic, bootstrap_servers=kafka.bootstrap)
    assert report.ok, report.problems


def test_a_new_column_starts_a_new_file_and_old_columns_keep_their_order(drain, place, topic, kafka) -> None:
    old, new = [b'{"b":"1","a":"2"}'] * 9000, [b'{"c":"3","a":"4","b":"5"}'] * 10
    topics.send(kafka, topic, [*old, *new, *old[:10]])
    drain(topic)
    topics.send(kafka, topic, [b'{"a":"6"}', b'{"d":"7"}'])
    drain(topic)
    found = oracle.tables(place).values()
    columns = [table.column_names[:-5] for table in found]
    assert columns[0] == ["b", "a"]
    assert columns[1] == ["b", "a", "c"]
    assert columns[-1] == ["b", "a", "c", "d"]
    assert [table.num_rows for table in found][:2] == [9000, 20]
    assert whole(place).num_rows == 9022


def typed(cell: str, kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return cell
    if not cell:
        return None
    if pa.types.is_timestamp(kind):
        return datetime.strptime(cell, "%m/%d/%Y %H:%M").replace(tzinfo=timezone.utc)
    return int(cell) if pa.types.is_int64(kind) else float(cell)


def test_typed_both_ways_keeps_every_value(drain, place, csv, topic, kafka) -> None:
    csv_to_kafka.run(files=csv, topic=topic, typed=True, bootstrap_servers=kafka.bootstrap)
    drain(topic, typed=True)
    table = whole(place)
    kinds = {name: table.schema.field(name).type for name in data.header(csv)}
    assert kinds["Order Item Id"] == pa.int64()
    assert kinds["Sales"] == pa.float64()
    assert kinds["order date (DateOrders)"] == pa.timestamp("us", "UTC")
    assert kinds["Order City"] == pa.string()
    wanted = [{name: typed(cell, kinds[name]) for name, cell in row.items()} for row in data.rows(csv)]
    found = sorted(table.select(data.header(csv)).to_pylist(), key=lambda row: row["Order Item Id"])
    assert found == sorted(wanted, key=lambda row: row["Order Item Id"])


def test_a_column_of_times_can_name_folders(drain, place, topic, kafka) -> None:
    topics.send(kafka, topic, [b'{"day":"2026-11-21T00:00:00Z","n":"1"}', b'{"day":"2026-11-22T00:00:00Z","n":"2"}'])
    drain(topic, column_types={"day": "timestamp"}, partition_by="day")
    assert len({name.split("/")[1] for name in place.names()}) == 2
    assert all(name.startswith("raw_streaming/day=2026-11-2") for name in place.names())


def test_numbers_are_text_when_nothing_is_typed(drain, place, topic, kafka) -> None:
    topics.send(kafka, topic, [b'{"i":12345678901234567890,"f":1.50,"b":true,"n":null,"o":{"x":[1, 2]},"t":"x"}'])
    drain(topic)
    [row] = whole(place).drop_columns(oracle.METADATA).to_pylist()
    assert row == {"i": "12345678901234567890", "f": "1.50", "b": "true", "n": None, "o": '{"x":[1, 2]}', "t": "x"}


def test_a_column_has_the_type_that_the_setting_says(drain, place, orders) -> None:
    drain(orders, column_types={"Order Item Id": "int64", "Sales": "float64", "order date (DateOrders)": "timestamp"})
    schema = whole(place).schema
    assert schema.field("Order Item Id").type == pa.int64()
    assert schema.field("Sales").type == pa.float64()
    assert schema.field("order date (DateOrders)").type == pa.timestamp("us", "UTC")
    assert schema.field("Type").type == pa.string()


def test_a_number_of_rows_ends_it_and_the_next_run_goes_on(drain, place, orders, csv, kafka) -> None:
    first = drain(orders, until="1234rows")
    assert (first.status, first.rows_written) == ("complete", 1234)
    assert drain(orders).rows_written == ROWS - 1234
    oracle.assert_each_row_once(place, *oracle.csv_rows(csv), topics.messages(kafka, orders))


def test_a_duration_ends_it_with_all_that_was_read_written(drain, orders) -> None:
    report = drain(orders, until="5s")
    assert (report.status, report.rows_written) == ("complete", ROWS)
    assert 5 <= report.seconds < 20


def test_the_end_is_what_the_topic_held_and_a_second_run_writes_only_what_is_new(drain, place, topic, kafka) -> None:
    assert drain(topic).rows_written == 0
    topics.send(kafka, topic, [b'{"a":"1"}', b'{"a":"2"}'])
    assert drain(topic).rows_written == 2
    assert drain(topic).rows_written == 0
    topics.send(kafka, topic, [b'{"a":"3"}'])
    assert drain(topic).rows_written == 1
    assert sorted(whole(place)["a"].to_pylist()) == ["1", "2", "3"]


def test_a_new_group_may_start_at_the_end(drain, orders) -> None:
    assert drain(orders, auto_offset_reset="latest").rows_read == 0


@pytest.mark.parametrize("trigger", ["flush_seconds", "idle_seconds"])
def test_age_and_idle_time_end_a_file_while_it_runs(drain, place, orders, trigger) -> None:
    stop, reports = Stop(), []
    settings = {"flush_seconds": 3600, trigger: 0.5, "until": "stopped", "stop": stop}
    runner = threading.Thread(target=lambda: reports.append(drain(orders, **settings)))
    runner.start()
    try:
        wait_until(lambda: sum(table.num_rows for table in visible(place)) == ROWS, "all rows are in files", 30)
    finally:
        stop.set()
        runner.join()
    assert [(report.status, report.rows_written) for report in reports] == [("stopped", ROWS)]


def visible(place: Place) -> list[pa.Table]:
    return list(oracle.tables(place).values()) if place.names() else []
