"""Malformed orders: each is a dead letter with the path that failed, or rows by a stated rule; none stops a job."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import orders
from tests.python.support.loads import Load
from tests.python.support.order_columns import Rules

from pipeline_core import parse_walmart_orders
from pipeline_core.exceptions import RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable

ID = 777_000_000_000_000
LINE = "$.orderLines.orderLine[0]"
CHARGE = f"{LINE}.charges.charge[0]"
STATUS = f"{LINE}.orderLineStatuses.orderLineStatus[0]"
TWO_LINES, TWO_CHARGES = 3, 2

Order = dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """The order, or the whole message, is refused at this path; `$` stands for any."""

    path: str = "$"


@dataclass(frozen=True)
class Rows:
    """The order gives its rows; the first row of a table has these values."""

    rule: str
    table: str = "order"
    count: int | None = None
    values: dict[str, object] | None = None


def rows(rule: str, table: str = "order", count: int | None = None, **values: object) -> Rows:
    return Rows(rule, table, count, values)


def base() -> Order:
    """A plain order: one line, two charges, one status, no refund."""
    order = json.loads(orders.made(2))
    [first, *_] = orders.lines(order)
    shipping = {**first["charges"]["charge"][0], "chargeType": "SHIPPING", "chargeName": "Shipping"}
    first["charges"]["charge"] = [first["charges"]["charge"][0], shipping]
    first["orderLineStatuses"]["orderLineStatus"] = first["orderLineStatuses"]["orderLineStatus"][:1]
    first["refund"] = None
    order["orderLines"]["orderLine"] = [first]
    # Whole again, so that no two fields are one object.
    return json.loads(orders.compact(order))


def changed(edit: Callable[[Order, Order], object]) -> bytes:
    """The order, changed by what `edit` does to it and its line."""
    order = base()
    edit(order, orders.lines(order)[0])
    return orders.compact(order)


def charge(line: Order) -> Order:
    return line["charges"]["charge"][0]


def status(line: Order) -> Order:
    return line["orderLineStatuses"]["orderLineStatus"][0]


def amount(text: str) -> bytes:
    return changed(lambda _, line: charge(line)["chargeAmount"].update(amount="@")).replace(b'"@"', text.encode(), 1)


def replaced(old: bytes, new: bytes) -> bytes:
    """The order with some of its bytes replaced."""
    whole = orders.compact(base())
    assert old in whole
    return whole.replace(old, new, 1)


def twice(line: Order, **other: object) -> Callable[[Order, Order], object]:
    return lambda order, own: order["orderLines"].update(orderLine=[own, {**own, **line, **other}])


WHOLE = orders.compact(base())
NO_JSON: dict[str, tuple[bytes, Refused | Rows]] = {
    "no JSON": (b"hello", Refused()),
    "nothing": (b"", Refused()),
    "blanks": (b" \n\t ", Refused()),
    "cut off in the middle": (WHOLE[: len(WHOLE) // 2], Refused()),
    "the last bracket missing": (WHOLE[:-1], Refused()),
    "more after its end": (WHOLE + b"}", Refused()),
    "two orders on two lines": (WHOLE + b"\n" + WHOLE, Refused()),
    "an error page": (b"<ns4:errors><ns4:error/></ns4:errors>", Refused()),
    "a string": (b'"order"', Refused()),
    "a number": (b"17", Refused()),
    "null": (b"null", Refused()),
    "no UTF-8": (replaced(b'"OH"', b'"O\xe1"'), Refused()),
    "UTF-16": (WHOLE.decode().encode("utf-16"), Refused()),
    "half a letter": (replaced(b'"OH"', b'"\\ud83d"'), Refused()),
    "a line break in a string": (replaced(b'"OH"', b'"O\nH"'), Refused()),
    "NaN": (amount("NaN"), Refused()),
    "a number with a leading zero": (amount("007"), Refused()),
    "a comma too many": (replaced(b'"state":"OH",', b'"state":"OH",,'), Refused()),
    "single quotes": (b"{'purchaseOrderId':'1'}", Refused()),
    "100,000 brackets": (b'{"x":' + b"[" * 100_000, Refused()),
    "an empty object": (b"{}", Refused("$.purchaseOrderId")),
    "the API's error": (b'{"errors":{"error":[{"code":"UNAUTHORIZED"}]}}', Refused("$.purchaseOrderId")),
}
KEYS: dict[str, tuple[bytes, Refused | Rows]] = {
    "no number of the order": (changed(lambda order, _: order.pop("purchaseOrderId")), Refused("$.purchaseOrderId")),
    "the order's number is null": (
        changed(lambda order, _: order.update(purchaseOrderId=None)),
        Refused("$.purchaseOrderId"),
    ),
    "the order's number is a word": (
        changed(lambda order, _: order.update(purchaseOrderId="PO-1")),
        Refused("$.purchaseOrderId"),
    ),
    "the order's number is text with a point": (
        changed(lambda order, _: order.update(purchaseOrderId="1.0")),
        Refused("$.purchaseOrderId"),
    ),
    "the order's number is beyond 64 bits": (
        changed(lambda order, _: order.update(purchaseOrderId="9223372036854775808")),
        Refused("$.purchaseOrderId"),
    ),
    "no number of the line": (changed(lambda _, line: line.pop("lineNumber")), Refused(f"{LINE}.lineNumber")),
    "the line's number is a word": (
        changed(lambda _, line: line.update(lineNumber="first")),
        Refused(f"{LINE}.lineNumber"),
    ),
    "the line's number is beyond 32 bits": (
        changed(lambda _, line: line.update(lineNumber="2147483648")),
        Refused(f"{LINE}.lineNumber"),
    ),
    "two lines of one number": (changed(twice({}, statusDate=1)), Refused("$.orderLines.orderLine[1].lineNumber")),
    "the lines are text": (changed(lambda order, _: order.update(orderLines="none")), Refused("$.orderLines")),
    "a line is a number": (
        changed(lambda order, line: order["orderLines"].update(orderLine=[line, 5])),
        Refused("$.orderLines.orderLine[1]"),
    ),
}
VALUES: dict[str, tuple[bytes, Refused | Rows]] = {
    "an object where text is due": (
        changed(lambda order, _: order["shippingInfo"].update(phone={"home": "1"})),
        Refused("$.shippingInfo.phone"),
    ),
    "an array where text is due": (
        changed(lambda _, line: line["item"].update(sku=["A", "B"])),
        Refused(f"{LINE}.item.sku"),
    ),
    "text where an object is due": (
        changed(lambda order, _: order.update(shippingInfo="by ship")),
        Refused("$.shippingInfo"),
    ),
    "text longer than its column": (
        changed(lambda _, line: line["item"].update(sku="x" * 51)),
        Refused(f"{LINE}.item.sku"),
    ),
    "a name longer than TEXT": (
        changed(lambda _, line: line["item"].update(productName="é" * 32_768)),
        Refused(f"{LINE}.item.productName"),
    ),
    "a quantity beyond 32 bits": (
        changed(lambda _, line: line["orderLineQuantity"].update(amount=2**31)),
        Refused(f"{LINE}.orderLineQuantity.amount"),
    ),
    "a date beyond 64 bits": (changed(lambda order, _: order.update(orderDate=2**63)), Refused("$.orderDate")),
    "a date of 400 digits": (replaced(b'"orderDate":', b'"orderDate":1e400,"x":'), Refused("$.orderDate")),
    "an amount that is a word": (amount('"free"'), Refused(f"{CHARGE}.chargeAmount.amount")),
    "an amount with a comma": (amount('"1,99"'), Refused(f"{CHARGE}.chargeAmount.amount")),
    "an empty amount": (amount('""'), Refused(f"{CHARGE}.chargeAmount.amount")),
    "an amount that is true": (amount("true"), Refused(f"{CHARGE}.chargeAmount.amount")),
    "an amount of three decimals": (amount("1.999"), Refused(f"{CHARGE}.chargeAmount.amount")),
    "an amount that a float made": (amount("0.30000000000000004"), Refused(f"{CHARGE}.chargeAmount.amount")),
    "an amount of nine digits": (amount("100000000"), Refused(f"{CHARGE}.chargeAmount.amount")),
    "an amount without end": (amount("1e999999999"), Refused(f"{CHARGE}.chargeAmount.amount")),
    "a bad tax of the second charge": (
        changed(lambda _, line: line["charges"]["charge"][1]["tax"]["taxAmount"].update(amount="x")),
        Refused(f"{LINE}.charges.charge[1].tax.taxAmount.amount"),
    ),
    "a bad refund": (
        changed(
            lambda _, line: line.update(refund={"refundCharges": {"refundCharge": {"charge": {"chargeName": []}}}})
        ),
        Refused(f"{LINE}.refund.refundCharges.refundCharge[0].charge.chargeName"),
    ),
    "a bad tracking number of the status": (
        changed(lambda _, line: status(line)["trackingInfo"].update(trackingNumber={})),
        Refused(f"{STATUS}.trackingInfo.trackingNumber"),
    ),
}
RULES: dict[str, tuple[bytes, Refused | Rows]] = {
    "no lines": (
        changed(lambda order, _: order.pop("orderLines")),
        rows("an order without lines gives no rows and is not refused", count=0),
    ),
    "the lines are null": (
        changed(lambda order, _: order.update(orderLines={"orderLine": None})),
        rows("null counts as empty", count=0),
    ),
    "one line instead of an array": (
        changed(lambda order, line: order["orderLines"].update(orderLine=line)),
        rows("one object counts as an array of one", count=1, lineNumber=1),
    ),
    "one charge instead of an array": (
        changed(lambda _, line: line["charges"].update(charge=charge(line))),
        rows("one object counts as an array of one", "charge", 1, chargeNumber=1, chargeType="PRODUCT"),
    ),
    "one status instead of an array": (
        changed(lambda _, line: line["orderLineStatuses"].update(orderLineStatus=status(line))),
        rows("one object counts as an array of one", "status", 1, statusNumber=1),
    ),
    "one refunded charge instead of an array": (
        changed(lambda _, line: line.update(refund={"refundCharges": {"refundCharge": {"charge": charge(line)}}})),
        rows("one object counts as an array of one", "refund", 1, refundNumber=1, chargeType="PRODUCT"),
    ),
    "a refund without charges": (
        changed(lambda _, line: line.update(refund={"refundId": "R1", "refundCharges": None})),
        rows("it is one row without a charge", "refund", 1, refundNumber=1, refundId="R1", chargeAmount=None),
    ),
    "no charges": (
        changed(lambda _, line: line.update(charges=None)),
        rows("the columns of the first charge are NULL", count=1, chargeType=None, chargeAmount=None, taxAmount=None),
    ),
    "no tax": (
        changed(lambda _, line: charge(line).update(tax=None)),
        rows("the columns of a null object are NULL", count=1, chargeType="PRODUCT", taxAmount=None, taxName=None),
    ),
    "null where objects are": (
        changed(
            lambda order, line: (
                order.update(shippingInfo=None, shipNode=None),
                line.update(item=None, orderLineQuantity=None, fulfillment=None, orderLineStatuses=None),
            )
        ),
        rows(
            "the columns of a null object are NULL", count=1, city=None, sku=None, quantity=None, orderLineStatus=None
        ),
    ),
    "words where numbers are due": (
        changed(
            lambda order, line: (
                order.update(customerOrderId="none", orderDate="today"),
                line["orderLineQuantity"].update(amount="1.0"),
            )
        ),
        rows("what is no whole number is NULL", customerOrderId=None, orderDate=None, quantity=None),
    ),
    "an object where a number is due": (
        changed(lambda order, _: order.update(orderDate={"ms": 1})),
        rows("what is no whole number is NULL", orderDate=None, orderDate_formatted=None),
    ),
    "numbers with fractions": (
        changed(
            lambda order, line: (
                order.update(orderDate=1_759_590_717_443.9),
                line["orderLineQuantity"].update(amount=-1.9),
            )
        ),
        rows("a fraction is cut towards zero", orderDate=1_759_590_717_443, quantity=-1),
    ),
    "numbers as text with blanks": (
        changed(
            lambda order, line: (
                order.update(orderDate=" 1759590717443 "),
                line["orderLineQuantity"].update(amount="+2"),
            )
        ),
        rows("text of a whole number is one", orderDate=1_759_590_717_443, quantity=2),
    ),
    "numbers and booleans where text is due": (
        changed(
            lambda order, line: (
                order["shippingInfo"].update(phone=1.50, methodCode=True),
                line["item"].update(sku=0),
            )
        ),
        rows("text is the JSON of a number or a boolean", phone="1.5", methodCode="true", sku="0"),
    ),
    "an amount as text": (amount('"12.30"'), rows("money may be text", chargeAmount=Decimal("12.30"))),
    "a key twice": (
        replaced(b'"state":"OH"', b'"state":"OH","state":"CA"'),
        rows("the last of equal keys wins", state="CA"),
    ),
    "an object twice": (
        replaced(b'"carrierName":{', b'"carrierName":{"carrier":"first"},"carrierName":{"x":0,'),
        rows("the last of equal keys wins", carrierName=Rules().tables(WHOLE)["order"][0]["carrierName"]),
    ),
    "the lines twice": (
        replaced(b'{"orderLine":[', b'{"orderLine":[{"lineNumber":"8"}],"orderLine":['),
        rows("the last of equal keys wins", count=1, lineNumber=1),
    ),
    "no carrier but another": (
        changed(
            lambda _, line: status(line)["trackingInfo"].update(carrierName={"carrier": "", "otherCarrier": "LMD"})
        ),
        rows("an empty carrier gives way to the other", carrierName="LMD"),
    ),
    "a time of the request in another form": (
        changed(lambda order, _: order.update(request_time="2025-11-13T20:42:03Z")),
        rows("it is NULL", request_time=None),
    ),
    "a day that is none": (
        changed(lambda order, _: order.update(request_time="2025-02-30 00:00:00")),
        rows("it is NULL", request_time=None),
    ),
    "unknown fields of 1 MB": (
        changed(lambda order, _: order.update(x={"y": ["z" * 1_000_000]})),
        rows("they are passed over", count=1, lineNumber=1),
    ),
    "letters and escapes": (
        replaced(b'"OH"', b'"\\u00e9\\ud83d\\ude00\\n\\"\\/"'),
        rows("escapes are the letters that they name", state='é😀\n"/'),
    ),
}


def numbered(document: bytes, number: int) -> bytes:
    """The document with an order number of its own, if it has ours."""
    return document.replace(str(orders.FIRST_ID + 2).encode(), str(ID + number).encode(), 1)


ALL = {
    name: (numbered(document, number), wanted)
    for number, (name, (document, wanted)) in enumerate((NO_JSON | KEYS | VALUES | RULES).items())
}


def plain(path: str) -> str:
    """A path without the indices of first elements: one object may stand for an array of one."""
    return path.replace("[0]", "")


def assert_path(wanted: Refused, path: str, name: str) -> None:
    assert path.startswith("$"), name
    assert wanted.path == "$" or plain(path) == plain(wanted.path), name


def test_there_are_enough_of_them() -> None:
    assert len(ALL) >= 60
    assert len({document for document, _ in ALL.values()}) == len(ALL)
    kinds = Counter(type(wanted) for _, wanted in ALL.values())
    assert min(kinds.values()) >= 20, kinds


@pytest.mark.parametrize("name", ALL)
def test_a_malformed_order_is_refused_at_a_path_or_gives_rows_by_a_rule(name) -> None:
    document, wanted = ALL[name]
    if isinstance(wanted, Refused):
        found = parse_walmart_orders(document, errors="collect")
        [refused] = found.errors
        assert len(found) == 0
        assert refused.reason
        assert_path(wanted, refused.path, name)
        with pytest.raises(RejectedError) as failed:
            parse_walmart_orders(document)
        assert refused.path in str(failed.value)
        return
    found = parse_walmart_orders(document, table=wanted.table).to_pylist()
    assert found == Rules().tables(document)[wanted.table], "The check says so, too"
    assert len(found) == (len(found) if wanted.count is None else wanted.count), wanted.rule
    for column, value in (wanted.values or {}).items():
        assert (found[0][column], type(found[0][column])) == (value, type(value)), wanted.rule


@pytest.fixture(scope="module")
def loaded(kafka, mariadb, tmp_path_factory) -> tuple[Load, list[tuple[bytes | None, bytes]]]:
    """All of them on one topic, a good order before each, loaded in one run."""
    load = Load(kafka, mariadb, tmp_path_factory.mktemp("bad"))
    load.init()
    sent: list[tuple[bytes | None, bytes]] = []
    for number, (name, (document, _)) in enumerate(ALL.items()):
        sent += [(b"good", orders.made(number)), (name.encode(), document)]
    load.send(*sent, (b"good", orders.made(len(ALL))))
    report = load.run(max_rejected_share=1, batch_size=40)
    refused = [wanted for _, wanted in ALL.values() if isinstance(wanted, Refused)]
    assert (report.status, report.rows_read) == ("complete", 2 * len(ALL) + 1)
    assert (report.rows_rejected, report.details["dead_letters"]) == (len(refused), len(refused))
    return load, sent


def test_walmart_to_mysql_goes_on_after_each_malformed_order(loaded) -> None:
    load, _ = loaded
    taken = [document for document, wanted in ALL.values() if isinstance(wanted, Rows)]
    load.assert_exact([*(orders.made(number) for number in range(len(ALL) + 1)), *taken])


def test_each_refused_order_is_one_dead_letter_with_its_bytes_its_origin_and_the_path(loaded) -> None:
    load, _ = loaded
    wanted = [
        (at, name, document, outcome)
        for at, (name, (document, outcome)) in enumerate(ALL.items())
        if isinstance(outcome, Refused)
    ]
    letters = sorted(load.letters(), key=lambda letter: int(letter.headers["__connect.errors.offset"]))
    assert len(letters) == len(wanted)
    for letter, (at, name, document, outcome) in zip(letters, wanted, strict=True):
        assert (letter.key, letter.value) == (name.encode(), document), name
        origin = [letter.headers[f"__connect.errors.{word}"] for word in ("topic", "partition", "offset")]
        assert origin == [load.topic, "0", str(2 * at + 1)], name
        reason = letter.headers["__connect.errors.exception.message"]
        assert plain(outcome.path) in plain(reason), name
