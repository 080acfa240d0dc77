"""Made-up Walmart orders in the API's own shape: the same number gives the same order, byte for byte."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

NODES = ("SellerFulfilled", "WFSFulfilled", "3PLFulfilled")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WORDS = ("Cup", "Lamp", "Steel", "Mount", "Blue", "Folding", "Café", "Tote", "Charger", "Glass", '6" Pipe', "Ñandú")
NAMES = ("Łukasz", "Maria", "O'Neil", "Zoë")
STATES = ("CA", "NY", "OH", "PR", "TX", "WA")


def milliseconds(instant: datetime) -> int:
    """Milliseconds since 1970."""
    return (instant - EPOCH) // timedelta(milliseconds=1)


def orders(
    count: int,
    start: datetime,
    days: float = 30,
    *,
    bursts: int = 0,
    burst_orders: int = 5_000,
    ties: float = 0.02,
    first: int = 1,
) -> list[dict[str, Any]]:
    """`count` orders of the `days` from `start`, by creation; their numbers begin at `first`.

    `bursts` times `burst_orders` of them are created within one minute; `ties` is the share of the others that have
    the millisecond of another.
    """
    chance = random.Random(f"{count}-{first}")
    begin, length = milliseconds(start), int(days * DAY_MS)
    created: list[int] = []
    for burst in range(bursts):
        minute = begin + length * (2 * burst + 1) // (2 * bursts)
        created += [minute + chance.randrange(MINUTE_MS) for _ in range(burst_orders)]
    while len(created) < count:
        has_twin = created and chance.random() < ties
        created.append(created[-1] if has_twin else begin + chance.randrange(length))
    return [order(first + at, instant) for at, instant in enumerate(sorted(created[:count]))]


def order(
    number: int,
    created: datetime | int,
    *,
    node: str | None = None,
    modified: datetime | int | None = None,
    lines: int | None = None,
) -> dict[str, Any]:
    """Order `number`, created and last changed at these instants or milliseconds; the number decides the rest."""
    chance = random.Random(number)
    node = node or chance.choices(NODES, (3, 6, 1))[0]
    lines = lines or chance.choices((1, 2, 3), (90, 8, 2))[0]
    created = created if isinstance(created, int) else milliseconds(created)
    modified = created + chance.randrange(2 * DAY_MS) if modified is None else modified
    modified = modified if isinstance(modified, int) else milliseconds(modified)
    shipped, promised = created + 18 * HOUR_MS, created + 6 * DAY_MS
    place = {"name": "EXAMPLE SHIP NODE", "id": str(57_000_000 + number % 9)} if node == "SellerFulfilled" else {}
    return {
        "purchaseOrderId": str(100_000_000_000_000 + number * 7_919),
        "customerOrderId": str(200_000_000_000_000 + number * 6_997),
        "customerEmailId": f"{chance.getrandbits(128):032X}@relay.walmart.com",
        "orderDate": created,
        "shippingInfo": {
            "phone": "0000000000",
            "estimatedDeliveryDate": promised,
            "estimatedShipDate": created + DAY_MS,
            "methodCode": "Value",
            "postalAddress": _address(chance),
            "carrierMethodName": None,
        },
        "orderLines": {"orderLine": [_line(chance, line, shipped, promised, modified) for line in range(1, lines + 1)]},
        "shipNode": {"type": node, **place},
    }


def order_id(document: dict[str, Any]) -> str:
    """What the order is known by."""
    return document["purchaseOrderId"]


def order_ids(documents: Sequence[dict[str, Any]]) -> set[str]:
    """What the orders are known by."""
    return {order_id(document) for document in documents}


def created_ms(document: dict[str, Any]) -> int:
    """When it was created, which `createdStartDate` asks for."""
    return int(document["orderDate"])


def modified_ms(document: dict[str, Any]) -> int:
    """When it was last changed, which `lastModifiedStartDate` asks for: the last status of its lines."""
    lines = document.get("orderLines", {}).get("orderLine", [])
    return max([created_ms(document), *(int(line["statusDate"]) for line in lines if line.get("statusDate"))])


def node_of(document: dict[str, Any]) -> str:
    """The kind of node that ships it."""
    return document.get("shipNode", {}).get("type") or NODES[0]


def _address(chance: random.Random) -> dict[str, Any]:
    return {
        "name": f"{chance.choice(NAMES)} Fixture",
        "address1": f"{chance.randrange(1, 9_999)} Mount St",
        "address2": f"Apt {chance.randrange(1, 99)}" if chance.random() < 0.15 else None,
        "city": "Testburg",
        "state": chance.choice(STATES),
        "postalCode": f"{chance.randrange(1_000, 99_999):05}",
        "country": "USA",
        "addressType": "RESIDENTIAL",
    }


def _line(chance: random.Random, number: int, shipped: int, promised: int, modified: int) -> dict[str, Any]:
    is_cancelled = chance.random() < 0.02
    quantity = {"unitOfMeasurement": "EACH", "amount": str(chance.choices((1, 2, 13), (90, 9, 1))[0])}
    cents = chance.randrange(99, 30_000)
    charges = [_charge("PRODUCT", "ItemPrice", cents, is_taxed=chance.random() < 0.92)]
    if chance.random() < 0.09:
        charges.append(_charge("SHIPPING", "Shipping", 599, is_taxed=False))
    refund = _refund(-chance.randrange(1, cents + 1)) if chance.random() < 0.07 else None
    return {
        "lineNumber": str(number),
        "item": {
            "productName": " ".join(chance.choices(WORDS, k=chance.randrange(4, 20))),
            "sku": f"{chance.randrange(10**6, 10**7)}_{number:02}",
            "condition": "New",
        },
        "shipWithWalmartCrossBorderEnrolled": False,
        "charges": {"charge": charges},
        "orderLineQuantity": quantity,
        "statusDate": modified,
        "orderLineStatuses": {
            "orderLineStatus": [
                {
                    "status": "Cancelled" if is_cancelled else "Shipped",
                    "subSellerId": None,
                    "statusQuantity": quantity,
                    "cancellationReason": None,
                    "trackingInfo": None if is_cancelled else _tracking(chance, shipped),
                    "returnCenterAddress": None,
                }
            ]
        },
        "refund": refund,
        "fulfillment": {
            "fulfillmentOption": "DELIVERY",
            "shipMethod": "VALUE",
            "storeId": None,
            "pickUpDateTime": promised,
            "pickUpBy": None,
            "shippingProgramType": None,
        },
    }


def _charge(kind: str, name: str, cents: int, *, is_taxed: bool) -> dict[str, Any]:
    tax = _dollars(cents * 75 // 1_000)
    return {
        "chargeType": kind,
        "chargeName": name,
        "chargeAmount": _dollars(cents),
        "tax": {"taxName": "Tax1", "taxAmount": tax} if is_taxed else None,
        "taxAndOtherFees": {"taxAndOtherFeesName": "Tax1", "taxAndOtherFeesAmount": tax} if is_taxed else None,
    }


def _refund(cents: int) -> dict[str, Any]:
    charge = _charge("PRODUCT", "Promotion", cents, is_taxed=False)
    charges = {"refundCharge": [{"refundReason": "Others", "charge": charge}]}
    return {"refundId": None, "refundComments": None, "refundCharges": charges}


def _tracking(chance: random.Random, shipped: int) -> dict[str, Any]:
    number = str(chance.randrange(10**21, 10**22))
    return {
        "shipDateTime": shipped,
        "carrierName": {"otherCarrier": None, "carrier": "DHL"},
        "methodCode": "Value",
        "carrierMethodCode": chance.choice((None, 67)),
        "trackingNumber": number,
        "trackingURL": f"https://www.example.com/tracking?tracking_id={number}",
    }


def _dollars(cents: int) -> dict[str, Any]:
    return {"currency": "USD", "amount": cents / 100}
