"""A CSV in the shape of the DataCo Smart Supply Chain data, made up from a seed: 53 columns, ISO-8859-1.

Every row is invented. It has what makes the original hard to read: letters beyond ASCII, dates without leading
zeros, floats that were once 32 bits wide, empty cells and quoted cells with commas.
"""

import csv
import io
import os
import random
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import quote_plus

from pipeline_core import sample_catalogue as catalogue

ROWS = 20_000
SEED = 2018
ENCODING = "iso-8859-1"

HEADER = (
    "Type", "Days for shipping (real)", "Days for shipment (scheduled)", "Benefit per order", "Sales per customer",
    "Delivery Status", "Late_delivery_risk", "Category Id", "Category Name", "Customer City", "Customer Country",
    "Customer Email", "Customer Fname", "Customer Id", "Customer Lname", "Customer Password", "Customer Segment",
    "Customer State", "Customer Street", "Customer Zipcode", "Department Id", "Department Name", "Latitude",
    "Longitude", "Market", "Order City", "Order Country", "Order Customer Id", "order date (DateOrders)", "Order Id",
    "Order Item Cardprod Id", "Order Item Discount", "Order Item Discount Rate", "Order Item Id",
    "Order Item Product Price", "Order Item Profit Ratio", "Order Item Quantity", "Sales", "Order Item Total",
    "Order Profit Per Order", "Order Region", "Order State", "Order Status", "Order Zipcode", "Product Card Id",
    "Product Category Id", "Product Description", "Product Image", "Product Name", "Product Price", "Product Status",
    "shipping date (DateOrders)", "Shipping Mode",
)  # fmt: skip

_MASK = "XXXXXXXXX"
_TYPES = ("DEBIT", "DEBIT", "TRANSFER", "PAYMENT", "CASH")
_SEGMENTS = ("Consumer", "Consumer", "Corporate", "Home Office")
_STATUSES = (
    "COMPLETE", "COMPLETE", "COMPLETE", "PENDING_PAYMENT", "PENDING_PAYMENT", "PENDING", "PROCESSING", "CLOSED",
    "ON_HOLD", "CANCELED", "SUSPECTED_FRAUD", "PAYMENT_REVIEW",
)  # fmt: skip
_MODES = (
    ("Standard Class", 4),
    ("Standard Class", 4),
    ("Standard Class", 4),
    ("Second Class", 2),
    ("First Class", 1),
    ("Same Day", 0),
)
_DISCOUNTS = (0.0, 0.01, 0.02, 0.04, 0.05, 0.07, 0.1, 0.12, 0.15, 0.18, 0.2, 0.25)
_EPOCH = datetime(2015, 1, 1, tzinfo=timezone.utc)
_MINUTES = 3 * 365 * 24 * 60
_CHUNK = 1000

_Item = TypeVar("_Item")


class _Dice:
    """Choices that every Python version makes alike: `random.random()` is the only draw with that promise."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed).random  # noqa: S311 - not for secrets

    def below(self, end: int) -> int:
        return int(self._draw() * end)

    def between(self, low: float, high: float) -> float:
        return low + self._draw() * (high - low)

    def pick(self, items: Sequence[_Item]) -> _Item:
        return items[int(self._draw() * len(items))]


def write(target: str | os.PathLike[str] | IO[bytes], rows: int = ROWS, seed: int = SEED) -> int:
    """Write the header and `rows` rows; the same bytes for the same count and seed.

    Args:
        target: A path, whose folder is made when missing, or an open binary file.
        rows: How many rows, without the header.
        seed: Which of the possible data sets.

    Returns:
        Bytes written.

    Raises:
        OSError: The file could not be written.
    """
    if isinstance(target, (str, os.PathLike)):
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            return write(file, rows, seed)
    return sum(target.write(chunk) for chunk in _encoded(rows, seed))


def generate(rows: int = ROWS, seed: int = SEED) -> Iterator[list[str]]:
    """The rows as lists of 53 cells, without the header."""
    dice = _Dice(seed)
    customers = [_customer(dice, number) for number in range(1, max(2, rows // 5))]
    order, left = 0, 0
    shared: dict[str, str] = {}
    for item in range(1, rows + 1):
        if left == 0:
            order, left = order + 1, 1 + dice.below(4)
            shared = {**dice.pick(customers), **_order(dice, order)}
        left -= 1
        row = {**shared, **_item(dice, item)}
        yield [row[name] for name in HEADER]


def _encoded(rows: int, seed: int) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    for number, row in enumerate(generate(rows, seed), start=1):
        writer.writerow(row)
        if number % _CHUNK == 0:
            yield buffer.getvalue().encode(ENCODING)
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode(ENCODING)


def _customer(dice: _Dice, number: int) -> dict[str, str]:
    town = dice.pick(catalogue.TOWNS)
    street = (
        f"{dice.pick(catalogue.STREET_FIRST)} {dice.pick(catalogue.STREET_SECOND)} {dice.pick(catalogue.STREET_THIRD)}"
    )
    return {
        "Customer City": town.name,
        "Customer Country": town.country,
        "Customer Email": _MASK,
        "Customer Fname": dice.pick(catalogue.FIRST_NAMES),
        "Customer Id": str(number),
        "Customer Lname": dice.pick(catalogue.LAST_NAMES) if dice.below(100) else "",
        "Customer Password": _MASK,
        "Customer Segment": dice.pick(_SEGMENTS),
        "Customer State": town.state,
        "Customer Street": f"{1 + dice.below(9899)} {street.format(1 + dice.below(60))}",
        "Customer Zipcode": town.zipcode,
        "Latitude": _number(town.latitude + dice.between(-0.2, 0.2)),
        "Longitude": _number(town.longitude + dice.between(-0.2, 0.2)),
        "Order Customer Id": str(number),
    }


def _order(dice: _Dice, order: int) -> dict[str, str]:
    place = dice.pick(catalogue.PLACES)
    status = dice.pick(_STATUSES)
    mode, scheduled = dice.pick(_MODES)
    real = dice.below(2) if scheduled == 0 else dice.below(5) + (2 if scheduled > 1 else 1)
    ordered = _EPOCH + timedelta(minutes=dice.below(_MINUTES))
    if status in {"CANCELED", "SUSPECTED_FRAUD"}:
        delivery = "Shipping canceled"
    elif real == scheduled:
        delivery = "Shipping on time"
    else:
        delivery = "Late delivery" if real > scheduled else "Advance shipping"
    return {
        "Type": dice.pick(_TYPES),
        "Days for shipping (real)": str(real),
        "Days for shipment (scheduled)": str(scheduled),
        "Delivery Status": delivery,
        "Late_delivery_risk": str(int(delivery == "Late delivery")),
        "Market": place.market,
        "Order City": place.city,
        "Order Country": place.country,
        "order date (DateOrders)": _date(ordered),
        "Order Id": str(order),
        "Order Region": place.region,
        "Order State": place.state,
        "Order Status": status,
        "Order Zipcode": place.zipcode,
        "shipping date (DateOrders)": _date(ordered + timedelta(days=real)),
        "Shipping Mode": mode,
    }


def _item(dice: _Dice, item: int) -> dict[str, str]:
    product = dice.pick(catalogue.PRODUCTS)
    quantity = 1 + dice.below(5)
    rate = dice.pick(_DISCOUNTS)
    sales = round(product.price * quantity, 2)
    discount = round(sales * rate, 2)
    total = round(sales - discount, 2)
    ratio = round(dice.between(-0.6, 0.5), 2)
    card, category, price, profit = (
        str(product.card),
        str(product.category),
        _number(product.price),
        _number(total * ratio),
    )
    return {
        "Benefit per order": profit,
        "Sales per customer": _number(total),
        "Category Id": category,
        "Category Name": product.category_name,
        "Department Id": str(product.department),
        "Department Name": product.department_name,
        "Order Item Cardprod Id": card,
        "Order Item Discount": _number(discount),
        "Order Item Discount Rate": _number(rate),
        "Order Item Id": str(item),
        "Order Item Product Price": price,
        "Order Item Profit Ratio": _number(ratio),
        "Order Item Quantity": str(quantity),
        "Sales": _number(sales),
        "Order Item Total": _number(total),
        "Order Profit Per Order": profit,
        "Product Card Id": card,
        "Product Category Id": category,
        "Product Description": "",
        "Product Image": f"http://images.example.com/{quote_plus(product.name)}",
        "Product Name": product.name,
        "Product Price": price,
        "Product Status": "0",
    }


def _date(moment: datetime) -> str:
    """`1/31/2018 22:56`: no leading zeros but in the minutes."""
    return f"{moment.month}/{moment.day}/{moment.year} {moment.hour}:{moment.minute:02}"


@lru_cache(maxsize=4096)
def _number(value: float) -> str:
    """A number as text after a stay in 32 bits, `175.9900055` for 175.99, as the original's are."""
    narrow: float = struct.unpack("f", struct.pack("f", value + 0.0))[0]  # + 0.0 takes the sign off a zero
    text = f"{narrow:.9f}" if abs(narrow) < 1 else f"{narrow:.10g}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if "." in text else f"{text}.0"
