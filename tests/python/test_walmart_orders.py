"""Orders as rows: each of the 52 columns, and every charge, status and refund, as the contract's table says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.python.support import order_mutations, orders
from tests.python.support.loads import assert_same_rows
from tests.python.support.order_columns import TABLES, RefusedError, Rules, loads, sums

from pipeline_core import parse_walmart_order, parse_walmart_orders
from pipeline_core.exceptions import RejectedError, SettingsError

ARROW = {
    "BIGINT": pa.int64(),
    "INT": pa.int32(),
    "DECIMAL(10,2)": pa.decimal128(10, 2),
    "TEXT": pa.string(),
}
POLARS = {"BIGINT": pl.Int64, "INT": pl.Int32, "DECIMAL(10,2)": pl.Decimal(10, 2), "TEXT": pl.String}
SEVERAL = [*orders.sample()[:30], *map(orders.made, range(30))]
ZONE = "America/Los_Angeles"


def rows(documents, table="order", **options):
    found = parse_walmart_orders(documents, table=table, **options)
    assert found.errors == []
    listed = found.to_pylist()
    assert len(found) == len(listed)
    return listed


def outcome(document: bytes, table: str) -> object:
    """The rows of an order, or the path for which it is refused."""
    found = parse_walmart_orders(document, table=table, errors="collect")
    if not found.errors:
        return found.to_pylist()
    [refused] = found.errors
    assert found.to_pylist() == []
    assert refused.reason
    return plain(refused.path)


def plain(path: str) -> str:
    """A path without the indices of first elements: one object may stand for an array of one."""
    return path.replace("[0]", "")


def expected_outcome(document: bytes, table: str) -> object:
    try:
        return Rules().tables(document)[table]
    except RefusedError as refused:
        return plain(refused.path)


@pytest.mark.parametrize("table", TABLES)
def test_every_order_gives_the_rows_of_the_contract(table) -> None:
    expected = Rules().all_tables(orders.sample())[table]
    assert len(expected) > 100
    assert_same_rows(table, rows(list(orders.sample()), table), expected)


@pytest.mark.parametrize("table", TABLES)
def test_orders_of_our_own_give_the_rows_of_the_contract(table) -> None:
    given = [orders.made(number) for number in range(500)]
    assert_same_rows(table, rows(given, table), Rules().all_tables(given)[table])


def test_the_sums_of_money_are_those_of_the_json_to_the_cent() -> None:
    charges: Counter[str] = Counter()
    for order in orders.sample():
        for line in orders.lines(json.loads(order, parse_float=Decimal)):
            for charge in line["charges"]["charge"]:
                charges[charge["chargeType"]] += charge["chargeAmount"]["amount"]
    assert sums(rows(list(orders.sample()), "charge"), "chargeType", "chargeAmount") == charges


def test_the_columns_stand_in_the_order_of_the_contract() -> None:
    for table, columns in TABLES.items():
        found = parse_walmart_orders(orders.made(1), table=table)
        assert found.column_names == [column.name for column in columns]
        assert all(list(row) == found.column_names for row in found.to_pylist())
    assert len(TABLES["order"]) == 52


def a_page(given: list[bytes]) -> bytes:
    listed = b",".join(given)
    meta = b'{"totalCount":3,"limit":200,"nextCursor":"?limit=200&x=%2F"}'
    return b'{"list":{"meta":' + meta + b',"elements":{"order":[' + listed + b"]}}}"


THREE = [orders.made(number) for number in (10, 11, 12)]
SHAPES = {
    "bytes": lambda: THREE,
    "str": lambda: [order.decode() for order in THREE],
    "dicts": lambda: [json.loads(order, parse_float=Decimal) for order in THREE],
    "dicts of floats": lambda: [json.loads(order) for order in THREE],
    "an array": lambda: b"[" + b",".join(THREE) + b"]",
    "an array as text": lambda: "[" + ", ".join(order.decode() for order in THREE) + "]",
    "an array in a list": lambda: [[json.loads(order) for order in THREE]],
    "a page": lambda: a_page(THREE),
    "a page as a dict": lambda: json.loads(a_page(THREE), parse_float=Decimal),
    "an array and an order": lambda: [b"[" + THREE[0] + b"," + THREE[1] + b"]", THREE[2].decode()],
    "a page and an order": lambda: [a_page(THREE[:2]), json.loads(THREE[2])],
    "empty ones between them": lambda: [b"[]", THREE[0], a_page([]), a_page(THREE[1:]), []],
    "a tuple": lambda: tuple(THREE),
    "an iterator": lambda: iter(THREE),
    "memory": lambda: [memoryview(THREE[0]), bytearray(THREE[1]), THREE[2]],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_documents_may_have_any_of_these_shapes(shape) -> None:
    for table in TABLES:
        assert_same_rows(table, rows(SHAPES[shape](), table), Rules().all_tables(THREE)[table])


def test_no_document_gives_no_row() -> None:
    for nothing in ([], b"[]", a_page([]), [a_page([]), "[]"]):
        found = parse_walmart_orders(nothing)
        assert (len(found), found.to_pylist(), found.errors) == (0, [], [])
        assert pa.table(found).num_columns == 52


def priced(text: str, of: bytes = THREE[0]) -> bytes:
    """An order whose first charge has this amount, as it stands."""
    order = orders.edited(of, lambda order: _charge(order)["chargeAmount"].update(amount="@"))
    return order.replace(b'"@"', text.encode(), 1)


def _charge(order):
    return orders.lines(order)[0]["charges"]["charge"][0]


MONEY = {
    "0.1": "0.10",
    "0.30": "0.30",
    "1.10000000": "1.10",
    "99999999.99": "99999999.99",
    "-99999999.99": "-99999999.99",
    "16777217.01": "16777217.01",
    "90071992.55": "90071992.55",
    "7": "7.00",
    "0": "0.00",
    "-0.0": "0.00",
    "1e2": "100.00",
    "1.5E+1": "15.00",
    "1250e-2": "12.50",
    '"24.99"': "24.99",
    '"0.1"': "0.10",
    '"-3"': "-3.00",
}


@pytest.mark.parametrize("text", MONEY)
def test_money_arrives_digit_for_digit(text) -> None:
    for table in ("order", "charge"):
        assert rows(priced(text), table)[0]["chargeAmount"] == Decimal(MONEY[text])
        assert str(rows(priced(text), table)[0]["chargeAmount"]) == MONEY[text]


def test_a_tenth_and_two_tenths_are_three_tenths() -> None:
    found = [rows(priced(text))[0]["chargeAmount"] for text in ("0.1", "0.2")]
    assert (sum(found), str(sum(found))) == (Decimal("0.3"), "0.30")


def test_money_of_a_dict_may_be_decimal_and_stays_so() -> None:
    order = json.loads(THREE[0], parse_float=Decimal)
    _charge(order)["chargeAmount"]["amount"] = Decimal("16777217.01")
    assert rows(order)[0]["chargeAmount"] == Decimal("16777217.01")


def test_what_does_not_fit_is_refused_or_cut_on_request() -> None:
    cases = {
        priced("0.125"): ("chargeAmount", Decimal("0.13")),
        priced("-0.125"): ("chargeAmount", Decimal("-0.13")),
        priced("0.30000000000000004"): ("chargeAmount", Decimal("0.30")),
        priced('"2.999"'): ("chargeAmount", Decimal("3.00")),
        orders.edited(THREE[0], lambda order: order["shippingInfo"].update(phone="7" * 21)): ("phone", "7" * 20),
        orders.edited(THREE[0], lambda order: order["shippingInfo"].update(methodCode="ü" * 51)): (
            "methodCode",
            "ü" * 50,
        ),
        orders.edited(THREE[0], lambda order: order["shipNode"].update(type="😀" * 51)): ("shipNode_type", "😀" * 50),
    }
    for document, (column, cut) in cases.items():
        path = expected_outcome(document, "order")
        assert isinstance(path, str)
        assert outcome(document, "order") == path
        found = rows(document, truncate=True)
        assert found[0][column] == cut
        assert_same_rows("order", found, Rules(truncate=True).tables(document)["order"])


def test_text_of_just_the_length_of_its_column_is_taken() -> None:
    for column in TABLES["order"]:
        if not column.length or column.thing != "order" or column.path[0] == "purchaseOrderId":
            continue
        for length, fits in ((column.length, True), (column.length + 1, False)):
            for letter in "xé😀":
                document = loads(THREE[0])
                place = document
                for name in column.path[:-1]:
                    place = place[name]
                place[column.path[-1]] = letter * length
                found = outcome(orders.compact(document), "order")
                wanted = "$." + ".".join(column.path)
                assert (found[0][column.name] == letter * length) if fits else (found == wanted), column


@pytest.mark.parametrize("zone", ["UTC", ZONE, "Asia/Kolkata", "Australia/Lord_Howe"])
def test_formatted_columns_are_of_the_stated_zone(zone) -> None:
    days = [orders.FIRST_DAY + day * orders.DAY // 4 for day in range(4 * 366)]
    given = [
        orders.edited(orders.made(number), lambda order, day=day: order.update(orderDate=day))
        for number, day in enumerate(days)
    ]
    expected = Rules(formatted_timezone=zone).all_tables(given)
    assert len({row["orderDate_formatted"] for row in expected["order"]}) > 1000
    for table in ("order", "status"):
        assert_same_rows(table, rows(given, table, formatted_timezone=zone), expected[table])


@pytest.mark.parametrize(
    ("milliseconds", "formatted"),
    [
        (1000, "1970-01-01 00:00:01"),
        (999, None),
        (0, None),
        (-1000, None),
        (1_759_590_717_999, "2025-10-04 15:11:57"),
        (2_147_483_647_999, "2038-01-19 03:14:07"),
        (2_147_483_648_000, None),
        (2**63 - 1, None),
        (-(2**63), None),
    ],
)
def test_an_instant_that_no_timestamp_holds_is_null_and_its_number_stays(milliseconds, formatted) -> None:
    [row, *_] = rows(orders.edited(THREE[0], lambda order: order.update(orderDate=milliseconds)))
    assert row["orderDate"] == milliseconds
    assert (str(row["orderDate_formatted"]) if row["orderDate_formatted"] else None) == formatted


def test_the_name_of_a_source_may_be_given() -> None:
    found = rows(THREE, source_file="orders-2025.json")
    assert_same_rows("order", found, Rules(source_file="orders-2025.json").all_tables(THREE)["order"])


def test_fields_that_no_column_holds_are_kept_on_request() -> None:
    marks = [f"mark-{number}" for number in range(4)]

    def edit(order):
        order["x-top"] = {"deep": [marks[0], {"a": 1}]}
        orders.lines(order)[0]["x-line"] = marks[1]
        _charge(order)["x-charge"] = marks[2]
        order["shippingInfo"]["x-shipping"] = marks[3]

    document = orders.edited(orders.made(1), edit)
    found = parse_walmart_orders(document, raw=True)
    assert found.column_names == [*(column.name for column in TABLES["order"]), "raw"]
    kept = [json.loads(row["raw"]) for row in found.to_pylist() if row["raw"] is not None]
    text = json.dumps(kept)
    assert all(mark in text for mark in marks), text
    assert json.loads(document)["customerEmailId"] not in text, "A column holds it"
    assert "raw" not in parse_walmart_orders(document).column_names


@pytest.mark.parametrize("table", TABLES)
def test_arrow_readers_get_the_types_of_the_columns(table) -> None:
    found = parse_walmart_orders(SEVERAL, table=table)
    arrow, frame = pa.table(found), pl.DataFrame(found)
    for column in TABLES[table]:
        kind = "TEXT" if column.length else column.type
        if kind in ARROW:
            assert arrow.schema.field(column.name).type == ARROW[kind], column.name
            assert frame.schema[column.name] == POLARS[kind], column.name
        else:
            stamp = arrow.schema.field(column.name).type
            assert pa.types.is_timestamp(stamp), column.name
            assert stamp.tz is None, column.name
            assert isinstance(frame.schema[column.name], pl.Datetime), column.name
    expected = Rules().all_tables(SEVERAL)[table]
    assert_same_rows(table, arrow.to_pylist(), expected)
    assert_same_rows(table, frame.to_dicts(), expected)
    assert pa.record_batch(found).to_pylist() == arrow.to_pylist(), "An array as well as a stream"


def test_rows_need_no_pyarrow() -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pipeline_core import parse_walmart_orders\n"
        "found = parse_walmart_orders(sys.stdin.buffer.read()).to_pylist()\n"
        "print(repr(found[0]['chargeAmount']), len(found[0]), repr(found[0]['request_time']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=priced("7"), capture_output=True, timeout=60, check=True
    )
    assert done.stdout.decode().split(") ", 1)[0] == "Decimal('7.00'"
    assert " 52 datetime.datetime(2025, 11, 13, 20, 42, 3)" in done.stdout.decode()


def test_one_order_gives_a_dict_for_each_of_its_lines() -> None:
    for order in SEVERAL:
        for document in (order, order.decode(), json.loads(order)):
            found = parse_walmart_order(document)
            assert all(list(row) == [column.name for column in TABLES["order"]] for row in found)
            assert_same_rows("order", found, Rules().tables(order)["order"])
    assert parse_walmart_order(orders.edited(THREE[0], lambda order: order.update(orderLines=None))) == []
    with pytest.raises(RejectedError, match=r"\$\.purchaseOrderId"):
        parse_walmart_order(orders.edited(THREE[0], lambda order: order.update(purchaseOrderId="x")))


def test_a_refused_order_says_which_where_and_why_and_the_others_are_there() -> None:
    bad = priced('"much"')
    given = [THREE[1], b"[" + THREE[2] + b"," + bad + b"]", b"{"]
    found = parse_walmart_orders(given, errors="collect")
    assert_same_rows("order", found.to_pylist(), Rules().all_tables(THREE[1:])["order"])
    [order, whole] = found.errors
    path = "$.orderLines.orderLine[0].charges.charge[0].chargeAmount.amount"
    assert (order.document, order.path, json.loads(order.order)) == (1, path, json.loads(bad))
    assert (whole.document, whole.order) == (2, "{")
    assert order.reason
    assert whole.reason
    with pytest.raises(RejectedError) as failed:
        parse_walmart_orders(given)
    assert path in str(failed.value)
    assert failed.value.hint


@pytest.mark.parametrize(
    "wrong", [{"table": "lines"}, {"errors": "ignore"}, {"formatted_timezone": "Mars/Base"}], ids=str
)
def test_a_wrong_option_is_said(wrong) -> None:
    with pytest.raises(SettingsError):
        parse_walmart_orders(THREE[0], **wrong)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(SEVERAL))
def test_an_order_that_is_spelt_otherwise_gives_the_same_rows(data, order) -> None:
    document = data.draw(order_mutations.respelt(order))
    for table, expected in Rules().tables(order).items():
        if expected or table == "order":
            assert_same_rows(table, rows(document, table), expected)
        else:
            assert rows(document, table) == []


@settings(max_examples=300)
@given(st.data(), st.sampled_from(SEVERAL))
def test_nulls_anywhere_give_the_rows_of_the_rules_or_the_path_of_a_key(data, order) -> None:
    document = data.draw(order_mutations.holed(order))
    for table in TABLES:
        assert outcome(document, table) == expected_outcome(document, table)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(SEVERAL))
def test_anything_anywhere_gives_rows_or_a_path_and_leaves_its_neighbours_alone(data, order) -> None:
    document = data.draw(order_mutations.broken(order))
    neighbour = orders.made(99)
    found = parse_walmart_orders(b"[" + document + b"," + neighbour + b"]", errors="collect")
    good = Rules().tables(neighbour)["order"]
    assert found.to_pylist()[-len(good) :] == good
    for refused in found.errors:
        assert refused.path.startswith("$")
        assert loads(refused.order) == loads(document)


@settings(max_examples=500)
@given(st.binary(max_size=200) | st.text(max_size=100) | st.sampled_from(SEVERAL[:5]), st.data())
def test_any_bytes_give_rows_or_are_refused(document, data) -> None:
    if len(document) > 200:
        begin, length = data.draw(st.integers(0, len(document))), data.draw(st.integers(0, 40))
        document = document[:begin] + data.draw(st.binary(max_size=20)) + document[begin + length :]
    for table in TABLES:
        found = parse_walmart_orders(document, table=table, errors="collect", raw=True, truncate=True)
        assert len(found.to_pylist()) == len(found)
        assert all(refused.path.startswith("$") and refused.reason for refused in found.errors)
