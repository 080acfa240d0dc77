"""Orders as they stand on the topic: the shared sample where it is at hand, else made up; and newer snapshots."""

from __future__ import annotations

import gzip
import json
import random
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.python.support.data import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE = SHARED / "walmart_orders.jsonl.gz"
SAMPLE_ORDERS = 2012
FIRST_ID = 900_000_000_000_000
FIRST_DAY = 1_756_684_800_000
DAY = 86_400_000
NAMES = ("Łukasz Ñandú", "Priya Ōbrien", "山田 花子", "Eli Specimen", "Zoë 😀")


@cache
def sample() -> tuple[bytes, ...]:
    """As many orders as the shared sample has, one line of JSON each."""
    if SAMPLE.is_file():
        found = tuple(gzip.decompress(SAMPLE.read_bytes()).splitlines())
    else:
        found = tuple(made(number) for number in range(SAMPLE_ORDERS))
    assert len(found) == SAMPLE_ORDERS
    return found


@cache
def made(number: int) -> bytes:
    """An order of our own, always the same. One in ten has two lines of one sku, one in six a second charge."""
    dice = random.Random(number)
    begun = FIRST_DAY + dice.randrange(60 * DAY)
    lines = [_line(dice, place, begun) for place in range(1, 1 + dice.choice([1, 1, 1, 1, 2, 3]))]
    if number % 10 == 0:
        lines.append({**_line(dice, len(lines) + 1, begun), "item": lines[0]["item"]})
    node = {"type": "SellerFulfilled", "name": "NODE B", "id": f"{dice.randrange(10**11):011}"}
    order = {
        "purchaseOrderId": str(FIRST_ID + number),
        "customerOrderId": str(dice.randrange(10**14, 10**15)),
        "customerEmailId": f"{dice.randrange(16**32):032X}@relay.example.com",
        "orderDate": begun,
        "shippingInfo": {
            "phone": f"{dice.randrange(10**10):010}",
            "estimatedDeliveryDate": begun + 6 * DAY + 443,
            "estimatedShipDate": begun + DAY + 443,
            "methodCode": dice.choice(["Value", "Standard", "Express"]),
            "postalAddress": {
                "name": dice.choice(NAMES),
                "address1": f"{dice.randrange(9999)} Mount St",
                "address2": dice.choice([None, None, "Apt 11"]),
                "city": "Testburg",
                "state": "OH",
                "postalCode": f"{dice.randrange(10**5):05}",
                "country": "USA",
                "addressType": "RESIDENTIAL",
            },
            "carrierMethodName": None,
        },
        "orderLines": {"orderLine": lines},
        "shipNode": node if number % 5 == 0 else {"type": "WFSFulfilled"},
        "request_time": "2025-11-13 20:42:03",
    }
    return compact(order)


def _line(dice: random.Random, number: int, begun: int) -> dict[str, Any]:
    quantity = {"unitOfMeasurement": "EACH", "amount": str(dice.choice([1, 1, 1, 2, 13]))}
    charges = [_charge(dice, "PRODUCT", "ItemPrice")]
    if dice.random() < 1 / 6:
        charges.append({**_charge(dice, "SHIPPING", "Shipping"), "tax": None, "taxAndOtherFees": None})
    statuses = [_status(dice, dice.choice(["Delivered", "Shipped"]), quantity, begun)]
    if dice.random() < 1 / 10:
        statuses.append(_status(dice, "Cancelled", quantity, begun))
    back = {"refundReason": "Others", "charge": _charge(dice, "PRODUCT", "Promotion", sign=-1)}
    refund = {"refundId": None, "refundComments": "späť", "refundCharges": {"refundCharge": [back, back]}}
    return {
        "lineNumber": str(number),
        "item": {
            "productName": f"Case {dice.randrange(99)} Tote",
            "sku": f"{dice.randrange(10**7):07}_02",
            "condition": "New",
        },
        "charges": {"charge": charges},
        "orderLineQuantity": quantity,
        "statusDate": begun + 3 * DAY,
        "orderLineStatuses": {"orderLineStatus": statuses},
        "refund": refund if dice.random() < 1 / 8 else None,
        "intentToCancel": "TRUE",
        "fulfillment": {
            "fulfillmentOption": "DELIVERY",
            "shipMethod": "VALUE",
            "storeId": None,
            "pickUpDateTime": begun + 6 * DAY,
            "pickUpBy": None,
            "shippingProgramType": dice.choice([None, "TWO_DAY"]),
        },
    }


def _charge(dice: random.Random, kind: str, name: str, sign: int = 1) -> dict[str, Any]:
    def money(most: int) -> dict[str, Any]:
        return {"currency": "USD", "amount": sign * dice.randrange(most) / 100}

    tax = money(900)
    return {
        "chargeType": kind,
        "chargeName": name,
        "chargeAmount": money(9000),
        "tax": {"taxName": "Tax1", "taxAmount": tax},
        "taxAndOtherFees": {"taxAndOtherFeesName": "Tax1", "taxAndOtherFeesAmount": tax},
    }


def _status(dice: random.Random, status: str, quantity: dict[str, Any], begun: int) -> dict[str, Any]:
    tracking = {
        "shipDateTime": begun + DAY + 7,
        "carrierName": dice.choice(
            [{"otherCarrier": None, "carrier": "DHL"}, {"otherCarrier": "LMD", "carrier": None}]
        ),
        "methodCode": "Value",
        "carrierMethodCode": dice.choice([None, 14214]),
        "trackingNumber": str(dice.randrange(10**25)),
        "trackingURL": dice.choice([None, "https://www.example.com/tracking?id=25&b=%2F"]),
    }
    return {
        "status": status,
        "subSellerId": None,
        "statusQuantity": quantity,
        "cancellationReason": "CUSTOMER_REQUESTED" if status == "Cancelled" else None,
        "trackingInfo": tracking,
        "returnCenterAddress": None,
    }


def compact(order: object) -> bytes:
    """JSON without blanks, letters as they are."""
    return json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode()


def edited(order: bytes, edit: Callable[[dict[str, Any]], object]) -> bytes:
    """The order with something changed in it."""
    document = json.loads(order)
    edit(document)
    return compact(document)


def lines(order: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of an order."""
    return order["orderLines"]["orderLine"]


def newer(order: bytes, *, days: int = 1, status: str = "Returned") -> bytes:
    """A later snapshot: of another status, and dearer by a cent. Days below 0 make it an older one."""

    def edit(document: dict[str, Any]) -> None:
        for line in lines(document):
            line["statusDate"] += days * DAY
            line["orderLineStatuses"]["orderLineStatus"][0]["status"] = status
            price = line["charges"]["charge"][0]["chargeAmount"]
            price["amount"] = round(price["amount"] + 0.01, 2)

    return edited(order, edit)


def id_of(order: bytes) -> int:
    """The order's number."""
    return int(json.loads(order)["purchaseOrderId"])
