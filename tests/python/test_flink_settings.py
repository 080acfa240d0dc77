"""What of the Flink jobs needs no Flink: their settings, the cells of their files, and what is said without PyFlink."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.python.support.children import Child

from pipeline_core import flink, parse_walmart_order, walmart_to_mysql
from pipeline_core.exceptions import NotFoundError, SettingsError
from pipeline_core.flink import settings
from pipeline_core.flink.cells import RefusedError, rows_of

COLUMNS = {"i": "int64", "f": "float64", "s": "string", "b": "boolean", "t": "timestamp"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
TYPES = {"i": int, "f": float, "s": str, "b": bool, "t": datetime}


def cells(**values: object) -> dict[str, object]:
    [row] = rows_of("json", COLUMNS)(json.dumps(values).encode())
    return dict(zip(COLUMNS, row, strict=True))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"i": 7}, {"i": 7}),
        ({"i": " -7 "}, {"i": -7}),
        ({"i": 2**63 - 1}, {"i": 2**63 - 1}),
        ({"f": 1}, {"f": 1.0}),
        ({"f": "1.5"}, {"f": 1.5}),
        ({"s": 1.5}, {"s": "1.5"}),
        ({"s": {"a": ["é"]}}, {"s": '{"a":["é"]}'}),
        ({"b": "True"}, {"b": True}),
        ({"t": "2026-11-22"}, {"t": datetime.fromisoformat("2026-11-22")}),
        ({"t": "2026-11-22T10:00:00Z"}, {"t": datetime.fromisoformat("2026-11-22T10:00:00")}),
        ({"t": "2026-11-22T10:00:00+02:00"}, {"t": datetime.fromisoformat("2026-11-22T08:00:00")}),
        ({"i": None, "more": 1}, {}),
    ],
)
def test_a_value_is_taken_as_its_column(value, expected) -> None:
    assert cells(**value) == {**dict.fromkeys(COLUMNS), **expected}


@pytest.mark.parametrize(
    "value",
    [{"i": 2**63}, {"i": "1.0"}, {"i": 1.0}, {"i": True}, {"f": "x"}, {"f": []}, {"b": 1}, {"b": "yes"}, {"t": 5}],
)
def test_what_is_not_as_its_column_is_refused_with_its_path(value) -> None:
    [name] = value
    with pytest.raises(RefusedError, match=rf"^\$\.{name}: It is no {COLUMNS[name]}$"):
        cells(**value)


@given(st.dictionaries(st.sampled_from([*COLUMNS, "more"]), JSON))
def test_any_object_gives_one_row_of_the_types_or_is_refused(document) -> None:
    try:
        row = cells(**document)
    except RefusedError as error:
        assert str(error).startswith("$.")
    else:
        assert {name: type(value) for name, value in row.items() if value is not None} == {
            name: TYPES[name] for name, value in row.items() if value is not None
        }


@given(st.binary())
def test_any_bytes_give_rows_or_are_refused(value) -> None:
    for parser in ("json", "pipeline_core:parse_walmart_order"):
        try:
            rows = rows_of(parser, {"purchaseOrderId": "int64"})(value)
        except RefusedError as error:
            assert str(error)
        else:
            assert all(len(row) == 1 for row in rows)


def test_a_tombstone_is_refused() -> None:
    with pytest.raises(RefusedError, match="no value"):
        rows_of("json", {"i": "int64"})(None)


def test_a_function_gives_as_many_rows_as_it_likes(monkeypatch) -> None:
    gives = {b"0": None, b"1": {"i": 1}, b"2": ({"i": 1}, {"s": Decimal("1.10")}), b"no": [1]}
    monkeypatch.setattr("tests.python.test_flink_settings.given_by_test", gives.__getitem__, raising=False)
    rows = rows_of("tests.python.test_flink_settings:given_by_test", {"i": "int64", "s": "string"})
    assert [rows(value) for value in (b"0", b"1", b"2")] == [[], [[1, None]], [[1, None], [None, "1.10"]]]
    with pytest.raises(RefusedError, match="int, which is no dict"):
        rows(b"no")
    with pytest.raises(RefusedError, match="KeyError: b'3'"):
        rows(b"3")


def test_a_time_with_a_zone_is_told_in_utc() -> None:
    there = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    [[cell]] = rows_of("json", {"t": "timestamp"})(json.dumps({"t": there.isoformat()}).encode())
    assert cell.replace(tzinfo=timezone.utc) == there


@pytest.mark.parametrize("parser", ["no_such_module:parse", "json:no_such_function"])
def test_a_parser_that_is_not_there_is_said(parser) -> None:
    with pytest.raises(NotFoundError, match="There is no parser"):
        rows_of(parser, {"i": "int64"})


@pytest.mark.parametrize(
    ("config", "arguments"),
    [(flink.WalmartConfig, settings.WalmartArguments), (flink.ParquetConfig, settings.ParquetArguments)],
)
def test_the_keywords_of_a_job_are_the_fields_of_its_settings(config, arguments) -> None:
    assert set(get_type_hints(arguments)) == {"config_file", *config.model_fields}


@pytest.mark.usefixtures("no_settings")
def test_the_contract_of_the_original_job_is_the_default() -> None:
    config = flink.walmart_job().config
    assert config.group_id == "flink-walmart-order-pipeline-jdbc"
    assert (config.batch_size, config.batch_interval_ms, config.max_retries) == (10, 1000, 3)
    assert (config.parallelism, config.checkpoint_seconds) == (1, 10)
    loader = walmart_to_mysql.Config()
    same = ("topic", "group_id", "database", "table", "truncate", "formatted_timezone", "source_file")
    assert {name: getattr(config, name) for name in same} == {name: getattr(loader, name) for name in same}


@pytest.mark.usefixtures("no_settings")
def test_columns_are_needed_and_named_with_their_types() -> None:
    with pytest.raises(SettingsError, match="columns"):
        flink.parquet_job(to="./lake")
    with pytest.raises(SettingsError, match=r"columns\.id|columns"):
        flink.parquet_job(to="./lake", columns={"id": "money"})
    with pytest.raises(SettingsError, match="offset would stand there twice"):
        flink.parquet_job(to="./lake", columns={"id": "int64", "offset": "int64"})
    with pytest.raises(SettingsError, match="parser"):
        flink.parquet_job(to="./lake", columns={"id": "int64"}, parser="my module")


def test_without_pyflink_it_is_said_what_to_install(tmp_path) -> None:
    with Child(tmp_path, "flink run walmart", log_format="json") as child:
        ended = child.wait()
    assert ended.code == 2
    assert ended.error["kind"] == "settings"
    assert "PyFlink is not installed in this Python" in ended.error["event"]
    assert "pipeline-core[flink]" in ended.error["hint"]


def test_our_parser_fits_a_job() -> None:
    document = b'{"purchaseOrderId":"1","orderLines":{"orderLine":[{"lineNumber":"1"},{"lineNumber":"2"}]}}'
    rows = rows_of("pipeline_core:parse_walmart_order", {"purchaseOrderId": "int64", "lineNumber": "int64"})
    assert rows(document) == [[1, line["lineNumber"]] for line in parse_walmart_order(document)]
