"""What an order gives in the four tables, told from the contract's table alone: each column's path and type."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# The contract's table: name, MySQL type, where the value stands. `line`, `charge`, `status`, `track` are its prefixes.
ORDER = """
purchaseOrderId                  BIGINT         order.purchaseOrderId
customerOrderId                  BIGINT         order.customerOrderId
customerEmailId                  VARCHAR(100)   order.customerEmailId
orderDate                        BIGINT         order.orderDate
orderDate_formatted              TIMESTAMP      order.orderDate
shipNode_type                    VARCHAR(50)    order.shipNode.type
shipNode_name                    VARCHAR(100)   order.shipNode.name
shipNode_id                      VARCHAR(50)    order.shipNode.id
source_file                      VARCHAR(100)   given.source_file
phone                            VARCHAR(20)    order.shippingInfo.phone
estimatedDeliveryDate            BIGINT         order.shippingInfo.estimatedDeliveryDate
estimatedDeliveryDate_formatted  TIMESTAMP      order.shippingInfo.estimatedDeliveryDate
estimatedShipDate                BIGINT         order.shippingInfo.estimatedShipDate
estimatedShipDate_formatted      TIMESTAMP      order.shippingInfo.estimatedShipDate
methodCode                       VARCHAR(50)    order.shippingInfo.methodCode
recipient_name                   VARCHAR(100)   order.shippingInfo.postalAddress.name
address1                         VARCHAR(200)   order.shippingInfo.postalAddress.address1
address2                         VARCHAR(200)   order.shippingInfo.postalAddress.address2
city                             VARCHAR(100)   order.shippingInfo.postalAddress.city
state                            VARCHAR(50)    order.shippingInfo.postalAddress.state
postalCode                       VARCHAR(20)    order.shippingInfo.postalAddress.postalCode
country                          VARCHAR(10)    order.shippingInfo.postalAddress.country
addressType                      VARCHAR(20)    order.shippingInfo.postalAddress.addressType
lineNumber                       INT            line.lineNumber
sku                              VARCHAR(50)    line.item.sku
productName                      TEXT           line.item.productName
product_condition                VARCHAR(50)    line.item.condition
quantity                         INT            line.orderLineQuantity.amount
unitOfMeasurement                VARCHAR(20)    line.orderLineQuantity.unitOfMeasurement
statusDate                       BIGINT         line.statusDate
statusDate_formatted             TIMESTAMP      line.statusDate
fulfillmentOption                VARCHAR(50)    line.fulfillment.fulfillmentOption
shipMethod                       VARCHAR(50)    line.fulfillment.shipMethod
storeId                          VARCHAR(50)    line.fulfillment.storeId
shippingProgramType              VARCHAR(50)    line.fulfillment.shippingProgramType
chargeType                       VARCHAR(50)    charge.chargeType
chargeName                       VARCHAR(100)   charge.chargeName
chargeAmount                     DECIMAL(10,2)  charge.chargeAmount.amount
currency                         VARCHAR(10)    charge.chargeAmount.currency
taxAmount                        DECIMAL(10,2)  charge.tax.taxAmount.amount
taxName                          VARCHAR(50)    charge.tax.taxName
orderLineStatus                  VARCHAR(50)    status.status
statusQuantity                   INT            status.statusQuantity.amount
cancellationReason               VARCHAR(200)   status.cancellationReason
shipDateTime                     BIGINT         track.shipDateTime
shipDateTime_formatted           TIMESTAMP      track.shipDateTime
carrierName                      VARCHAR(100)   track.carrierName.carrier|otherCarrier
carrierMethodCode                VARCHAR(50)    track.carrierMethodCode
trackingNumber                   VARCHAR(100)   track.trackingNumber
trackingURL                      VARCHAR(500)   track.trackingURL
request_time                     DATETIME       order.request_time
load_time                        DATETIME       given.load_time
"""
CHARGE = """
purchaseOrderId                  BIGINT         order.purchaseOrderId
lineNumber                       INT            line.lineNumber
chargeNumber                     INT            given.number
chargeType                       VARCHAR(50)    charge.chargeType
chargeName                       VARCHAR(100)   charge.chargeName
chargeAmount                     DECIMAL(10,2)  charge.chargeAmount.amount
currency                         VARCHAR(10)    charge.chargeAmount.currency
taxName                          VARCHAR(50)    charge.tax.taxName
taxAmount                        DECIMAL(10,2)  charge.tax.taxAmount.amount
taxAndOtherFeesName              VARCHAR(50)    charge.taxAndOtherFees.taxAndOtherFeesName
taxAndOtherFeesAmount            DECIMAL(10,2)  charge.taxAndOtherFees.taxAndOtherFeesAmount.amount
"""
STATUS = """
purchaseOrderId                  BIGINT         order.purchaseOrderId
lineNumber                       INT            line.lineNumber
statusNumber                     INT            given.number
status                           VARCHAR(50)    status.status
statusQuantity                   INT            status.statusQuantity.amount
unitOfMeasurement                VARCHAR(20)    status.statusQuantity.unitOfMeasurement
cancellationReason               VARCHAR(200)   status.cancellationReason
subSellerId                      VARCHAR(50)    status.subSellerId
shipDateTime                     BIGINT         track.shipDateTime
shipDateTime_formatted           TIMESTAMP      track.shipDateTime
carrierName                      VARCHAR(100)   track.carrierName.carrier|otherCarrier
carrierMethodCode                VARCHAR(50)    track.carrierMethodCode
methodCode                       VARCHAR(50)    track.methodCode
trackingNumber                   VARCHAR(100)   track.trackingNumber
trackingURL                      VARCHAR(500)   track.trackingURL
"""
REFUND = """
purchaseOrderId                  BIGINT         order.purchaseOrderId
lineNumber                       INT            line.lineNumber
refundNumber                     INT            given.number
refundId                         VARCHAR(50)    refund.refundId
refundComments                   VARCHAR(500)   refund.refundComments
refundReason                     VARCHAR(100)   refunded.refundReason
chargeType                       VARCHAR(50)    charge.chargeType
chargeName                       VARCHAR(100)   charge.chargeName
chargeAmount                     DECIMAL(10,2)  charge.chargeAmount.amount
currency                         VARCHAR(10)    charge.chargeAmount.currency
taxName                          VARCHAR(50)    charge.tax.taxName
taxAmount                        DECIMAL(10,2)  charge.tax.taxAmount.amount
"""

Row = dict[str, Any]
EARLIEST, LATEST = datetime(1970, 1, 1, 0, 0, 1), datetime(2038, 1, 19, 3, 14, 7)  # noqa: DTZ001 - as columns have them
CENT = Decimal("0.01")
TOO_MUCH = 10**8
TEXT_BYTES = 65_535
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# Beyond these a number is out of the range of every column, or exact zero to the last digit that a column has.
HUGE, TINY = 400, -400


@dataclass(frozen=True)
class Column:
    """A column and where its value stands: a thing that the contract names, and fields below it."""

    name: str
    type: str
    thing: str
    path: tuple[str, ...]

    @property
    def length(self) -> int | None:
        """The most characters of a VARCHAR."""
        found = re.fullmatch(r"VARCHAR\((\d+)\)", self.type)
        return int(found[1]) if found else None


def _columns(table: str) -> tuple[Column, ...]:
    found: list[Column] = []
    for line in table.strip().splitlines():
        name, kind, place = line.split()
        thing, *path = place.split(".")
        found.append(Column(name, kind, thing, tuple(path)))
    return tuple(found)


TABLES = {"order": _columns(ORDER), "charge": _columns(CHARGE), "status": _columns(STATUS), "refund": _columns(REFUND)}
KEYS = {
    "order": ("purchaseOrderId", "lineNumber"),
    "charge": ("purchaseOrderId", "lineNumber", "chargeNumber"),
    "status": ("purchaseOrderId", "lineNumber", "statusNumber"),
    "refund": ("purchaseOrderId", "lineNumber", "refundNumber"),
}


class Number(str):
    """A number of JSON, as it is written."""

    __slots__ = ()


class RefusedError(Exception):
    """An order that gives no rows, and the path for which it does not."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True)
class Thing:
    """Something in an order, and its path."""

    value: Any
    path: str

    def field(self, name: str) -> Thing:
        """A field of an object; nothing of what is null."""
        if self.value is not None and not isinstance(self.value, dict):
            raise RefusedError(self.path)
        return Thing((self.value or {}).get(name), f"{self.path}.{name}")

    def list(self, name: str) -> list[Thing]:
        """What `{name: [...]}` holds; the array may stand without the object around it."""
        return (self if isinstance(self.value, list) else self.field(name)).items()

    def items(self) -> list[Thing]:
        """The elements of an array; one object counts as one of them, null as none."""
        if self.value is None:
            return []
        if isinstance(self.value, list):
            return [Thing(item, f"{self.path}[{place}]") for place, item in enumerate(self.value)]
        return [self]


def loads(document: bytes | str) -> Any:
    """JSON with its numbers as they are written; the last of several equal keys counts."""

    def no_number(name: str) -> None:
        raise ValueError(name)

    text = document.decode() if isinstance(document, bytes) else document
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=no_number)


@dataclass(frozen=True)
class Rules:
    """How a load converts: the settings that change rows."""

    formatted_timezone: str = "UTC"
    truncate: bool = False
    source_file: str = "kafka_stream"

    def tables(self, order: bytes | str | Mapping[str, Any]) -> dict[str, list[Row]]:
        """The rows of one order in each table; raises where the order is refused."""
        top = Thing(loads(order) if isinstance(order, (bytes, str)) else order, "$")
        number = top.field("purchaseOrderId")
        if not isinstance(top.value, dict) or whole(number, 64) is None:
            raise RefusedError(number.path)
        found: dict[str, list[Row]] = {name: [] for name in TABLES}
        numbers: set[int] = set()
        for line in top.field("orderLines").list("orderLine"):
            for name, rows in self._line(top, line):
                found[name] += rows
            own = found["order"][-1]["lineNumber"]
            if own in numbers:
                raise RefusedError(line.field("lineNumber").path)
            numbers.add(own)
        return found

    def all_tables(self, orders: Iterable[bytes | str]) -> dict[str, list[Row]]:
        """The rows of many orders in each table."""
        found: dict[str, list[Row]] = {name: [] for name in TABLES}
        for order in orders:
            for name, rows in self.tables(order).items():
                found[name] += rows
        return found

    def _line(self, top: Thing, line: Thing) -> Iterator[tuple[str, list[Row]]]:
        nothing = Thing(None, "")
        both = {"order": top, "line": line}
        charges = line.field("charges").list("charge")
        statuses = line.field("orderLineStatuses").list("orderLineStatus")
        first = [*statuses, nothing][0]
        of_first = {"charge": [*charges, nothing][0], "status": first, "track": first.field("trackingInfo")}
        yield "order", [self._row("order", both | of_first)]
        yield "charge", [self._row("charge", both | {"charge": it}, number) for number, it in enumerate(charges, 1)]
        yield (
            "status",
            [
                self._row("status", both | {"status": it, "track": it.field("trackingInfo")}, number)
                for number, it in enumerate(statuses, 1)
            ],
        )
        refunds: list[dict[str, Thing]] = []
        for refund in line.field("refund").items():
            given_back = refund.field("refundCharges").list("refundCharge") or [nothing]
            refunds += [{"refund": refund, "refunded": it, "charge": it.field("charge")} for it in given_back]
        yield "refund", [self._row("refund", both | it, number) for number, it in enumerate(refunds, 1)]

    def _row(self, table: str, things: dict[str, Thing], number: int | None = None) -> Row:
        given = {"number": number, "source_file": self.source_file, "load_time": None}
        row: Row = {}
        for column in TABLES[table]:
            if column.thing == "given":
                row[column.name] = given[column.path[0]]
                continue
            thing = things[column.thing]
            *above, last = column.path
            for name in above:
                thing = thing.field(name)
            first, _, other = last.partition("|")
            value = thing.field(first)
            row[column.name] = self._cell(column, value if value.value or not other else thing.field(other))
            if column.name in {"purchaseOrderId", "lineNumber"} and row[column.name] is None:
                raise RefusedError(value.path)
        return row

    def _cell(self, column: Column, thing: Thing) -> object:
        match column.type:
            case "BIGINT":
                return whole(thing, 64)
            case "INT":
                return whole(thing, 32)
            case "TIMESTAMP":
                return self._formatted(whole(thing, 64))
            case "DATETIME":
                return _moment(thing.value)
            case "DECIMAL(10,2)":
                return amount(thing, truncate=self.truncate)
            case _:
                return text(thing, column.length, truncate=self.truncate)

    def _formatted(self, milliseconds: int | None) -> datetime | None:
        if not milliseconds or not 0 < milliseconds < 2**42:
            return None
        moment = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
        local = moment.astimezone(ZoneInfo(self.formatted_timezone)).replace(tzinfo=None)
        return local if EARLIEST <= local <= LATEST else None


def whole(thing: Thing, bits: int) -> int | None:
    """A number, cut towards zero, or the text of a whole number; anything else is nothing."""
    value = thing.value
    if isinstance(value, Number):
        exact = Decimal(value)
        if exact and exact.adjusted() > HUGE:
            raise RefusedError(thing.path)
        found = int(exact) if exact.adjusted() > TINY else 0
    elif isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value, re.ASCII):
        found = int(value)
    else:
        return None
    if not -(2 ** (bits - 1)) <= found < 2 ** (bits - 1):
        raise RefusedError(thing.path)
    return found


def text(thing: Thing, length: int | None, *, truncate: bool) -> str | None:
    """Text as it is, numbers and booleans as JSON writes them."""
    value = thing.value
    if value is None:
        return None
    if isinstance(value, (dict, list)):
        raise RefusedError(thing.path)
    found = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    fits = len(found) <= length if length else len(found.encode()) <= TEXT_BYTES
    if fits:
        return found
    if not truncate:
        raise RefusedError(thing.path)
    return found[:length] if length else found.encode()[:TEXT_BYTES].decode(errors="ignore")


def amount(thing: Thing, *, truncate: bool) -> Decimal | None:
    """An amount of money as it is written, to the cent."""
    value = thing.value
    if value is None:
        return None
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        raise RefusedError(thing.path)
    exact = Decimal(value)
    if exact and exact.adjusted() >= len(str(TOO_MUCH)) - 1:
        raise RefusedError(thing.path)
    rounded = exact.quantize(CENT, ROUND_HALF_UP)
    if (rounded != exact and not truncate) or abs(rounded) >= TOO_MUCH:
        raise RefusedError(thing.path)
    return rounded or Decimal("0.00")


def _moment(value: object) -> datetime | None:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value, re.ASCII):
        try:
            return datetime.strptime(value, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the column has no zone
        except ValueError:
            return None
    return None


def version(order: bytes | str) -> tuple[int, datetime]:
    """What says which of two snapshots is newer, before their offsets do."""
    top = Thing(loads(order), "$")
    dates = [whole(line.field("statusDate"), 64) or 0 for line in top.field("orderLines").list("orderLine")]
    return max(dates, default=0), _moment(top.field("request_time").value) or datetime.min  # noqa: DTZ901


def newest(orders: Iterable[bytes]) -> list[bytes]:
    """Of snapshots in the order of their offsets, the newest of each order."""
    found: dict[int | None, tuple[tuple[int, datetime], bytes]] = {}
    for order in orders:
        key, given = whole(Thing(loads(order), "$").field("purchaseOrderId"), 64), version(order)
        if key not in found or given >= found[key][0]:
            found[key] = given, order
    return [order for _, order in found.values()]


def sums(rows: Iterable[Row], by: str, column: str) -> dict[str, Decimal]:
    """The sum of an amount by a text."""
    found: dict[str, Decimal] = {}
    for row in rows:
        if row[column] is not None:
            found[row[by]] = found.get(row[by], Decimal(0)) + row[column]
    return found
