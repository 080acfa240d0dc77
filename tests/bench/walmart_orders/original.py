"""The original's way: json, then a dict of 52 values a line; numbers tried, text cut, times through text, floats."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.bench.task import ParseTask, perform
from tests.bench.walmart_orders.batches import counted, parsed

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = "%Y-%m-%d %H:%M:%S"


def work(task: ParseTask, loads: Callable[[bytes], dict[str, Any]] = json.loads) -> dict[str, Any]:
    """Parse all orders."""
    return parsed(task, lambda batch: [row for document in batch for row in rows_of(loads(document))], counted)


def rows_of(order: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a line."""
    lines = order.get("orderLines", {}).get("orderLine", [])
    return [row_of(order, line) for line in ([lines] if isinstance(lines, dict) else lines)]


def row_of(order: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
    """The row of a line."""
    node, shipping = order.get("shipNode", {}), order.get("shippingInfo", {})
    address, item = shipping.get("postalAddress", {}), line.get("item", {})
    quantity, fulfillment = line.get("orderLineQuantity", {}), line.get("fulfillment", {})
    charges = line.get("charges", {}).get("charge", [])
    charge = charges[0] if charges else {}
    amount, tax = charge.get("chargeAmount") or {}, charge.get("tax") or {}
    statuses = line.get("orderLineStatuses", {}).get("orderLineStatus", [])
    status = statuses[0] if statuses else {}
    tracking = status.get("trackingInfo") or {}
    carrier = tracking.get("carrierName") or {}
    return {
        "purchaseOrderId": integer(order.get("purchaseOrderId")),
        "customerOrderId": integer(order.get("customerOrderId")),
        "customerEmailId": cut(order.get("customerEmailId"), 100),
        "orderDate": order.get("orderDate"),
        "orderDate_formatted": moment(order.get("orderDate")),
        "shipNode_type": cut(node.get("type"), 50),
        "shipNode_name": cut(node.get("name"), 100),
        "shipNode_id": cut(node.get("id"), 50),
        "source_file": "kafka_stream",
        "phone": cut(shipping.get("phone"), 20),
        "estimatedDeliveryDate": shipping.get("estimatedDeliveryDate"),
        "estimatedDeliveryDate_formatted": moment(shipping.get("estimatedDeliveryDate")),
        "estimatedShipDate": shipping.get("estimatedShipDate"),
        "estimatedShipDate_formatted": moment(shipping.get("estimatedShipDate")),
        "methodCode": cut(shipping.get("methodCode"), 50),
        "recipient_name": cut(address.get("name"), 100),
        "address1": cut(address.get("address1"), 200),
        "address2": cut(address.get("address2"), 200),
        "city": cut(address.get("city"), 100),
        "state": cut(address.get("state"), 50),
        "postalCode": cut(address.get("postalCode"), 20),
        "country": cut(address.get("country"), 10),
        "addressType": cut(address.get("addressType"), 20),
        "lineNumber": integer(line.get("lineNumber")),
        "sku": cut(item.get("sku"), 50),
        "productName": item.get("productName"),
        "product_condition": cut(item.get("condition"), 50),
        "quantity": integer(quantity.get("amount")),
        "unitOfMeasurement": cut(quantity.get("unitOfMeasurement"), 20),
        "statusDate": line.get("statusDate"),
        "statusDate_formatted": moment(line.get("statusDate")),
        "fulfillmentOption": cut(fulfillment.get("fulfillmentOption"), 50),
        "shipMethod": cut(fulfillment.get("shipMethod"), 50),
        "storeId": cut(fulfillment.get("storeId"), 50),
        "shippingProgramType": cut(fulfillment.get("shippingProgramType"), 50),
        "chargeType": cut(charge.get("chargeType"), 50),
        "chargeName": cut(charge.get("chargeName"), 100),
        "chargeAmount": decimal(amount.get("amount")),
        "currency": cut(amount.get("currency"), 10),
        "taxAmount": decimal((tax.get("taxAmount") or {}).get("amount")),
        "taxName": cut(tax.get("taxName"), 50),
        "orderLineStatus": cut(status.get("status"), 50),
        "statusQuantity": integer(status.get("statusQuantity", {}).get("amount")),
        "cancellationReason": cut(status.get("cancellationReason"), 200),
        "shipDateTime": tracking.get("shipDateTime"),
        "shipDateTime_formatted": moment(tracking.get("shipDateTime")),
        "carrierName": cut(carrier.get("carrier") or carrier.get("otherCarrier"), 100),
        "carrierMethodCode": cut(tracking.get("carrierMethodCode"), 50),
        "trackingNumber": cut(tracking.get("trackingNumber"), 100),
        "trackingURL": cut(tracking.get("trackingURL"), 500),
        "request_time": reread(order.get("request_time")),
        "load_time": None,
    }


def integer(value: Any) -> int | None:
    """A number, or what reads as one."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def decimal(value: Any) -> float | None:
    """An amount."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def cut(value: Any, most: int) -> str | None:
    """Text that fits its column."""
    return None if value is None else str(value)[:most]


def moment(milliseconds: int | None) -> datetime | None:
    """Local time, by way of its text."""
    if not milliseconds:
        return None
    return reread(datetime.fromtimestamp(milliseconds / 1000).strftime(FORMAT))  # noqa: DTZ006 - as the original


def reread(text: str | None) -> datetime | None:
    """The time that a text says."""
    try:
        return datetime.strptime(text, FORMAT) if text else None  # noqa: DTZ007 - as the original
    except ValueError:
        return None


if __name__ == "__main__":
    perform(ParseTask, work)
