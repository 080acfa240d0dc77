"""The rules of the supply chain's orders: 53 columns of the DataCo data set, a row an order item."""

from datetime import datetime
from typing import Any

import pandera.polars as pa
import polars as pl

from pipeline_core.sample_data import HEADER
from pipeline_core.validation.columns import beside, column, date, dates, number, numbers, one_of, text, whole

ITEM = "Order Item Id"
ORDERED, SHIPPED = "order date (DateOrders)", "shipping date (DateOrders)"

# Amounts went through 32 bits, and their parts were rounded one by one.
_CENTS = 0.05
_BEGIN = datetime(2000, 1, 1)  # noqa: DTZ001 - the data have no zone
_LATE = "Late delivery"


def schema() -> Any:  # noqa: ANN401 - pandera's
    """The rules of the columns; `Order Item Id` is unique over all files."""
    return pa.DataFrameSchema({name: _COLUMNS.get(name) or column(text()) for name in HEADER}, unique=[ITEM])


def _amount(*names: str) -> Any:  # noqa: ANN401 - pandera's
    """An amount that follows from others: price times quantity, or sales less discount."""
    first, second = names
    is_total = first == "Sales"

    def condition(frame: pl.LazyFrame, key: str) -> pl.Expr:
        one, other = numbers(frame, first), numbers(frame, second)
        return (numbers(frame, key) - (one - other if is_total else one * other)).abs() <= _CENTS

    return beside(f"{first} {'less' if is_total else 'times'} {second}", names, condition)


_ID = column(whole(0))
_MONEY = column(number(0))
_COLUMNS = {
    "Type": column(one_of("CASH", "DEBIT", "PAYMENT", "TRANSFER")),
    "Days for shipping (real)": column(whole(0, 30)),
    "Days for shipment (scheduled)": column(whole(0, 30)),
    "Benefit per order": column(number()),
    "Sales per customer": _MONEY,
    "Delivery Status": column(one_of("Advance shipping", _LATE, "Shipping canceled", "Shipping on time")),
    "Late_delivery_risk": column(
        whole(0, 1),
        beside(
            f"1 where Delivery Status is {_LATE}",
            ["Delivery Status"],
            lambda frame, key: (numbers(frame, key) == 1) == (pl.col("Delivery Status") == _LATE),
        ),
    ),
    "Category Id": _ID,
    "Customer Id": _ID,
    "Customer Lname": column(text(), may_be_empty=True),
    "Customer Segment": column(one_of("Consumer", "Corporate", "Home Office")),
    "Customer Zipcode": column(may_be_empty=True),
    "Department Id": _ID,
    "Latitude": column(number(-90, 90)),
    "Longitude": column(number(-180, 180)),
    "Market": column(one_of("Africa", "Europe", "LATAM", "Pacific Asia", "USCA")),
    "Order Customer Id": _ID,
    ORDERED: column(date(_BEGIN)),
    "Order Id": _ID,
    "Order Item Cardprod Id": _ID,
    "Order Item Discount": _MONEY,
    "Order Item Discount Rate": column(number(0, 1)),
    ITEM: _ID,
    "Order Item Product Price": _MONEY,
    "Order Item Profit Ratio": column(number(high=1)),
    "Order Item Quantity": column(whole(1)),
    "Sales": column(number(0), _amount("Order Item Product Price", "Order Item Quantity")),
    "Order Item Total": column(number(0), _amount("Sales", "Order Item Discount")),
    "Order Profit Per Order": column(number()),
    "Order Status": column(
        one_of(
            "CANCELED", "CLOSED", "COMPLETE", "ON_HOLD", "PAYMENT_REVIEW", "PENDING", "PENDING_PAYMENT", "PROCESSING",
            "SUSPECTED_FRAUD",
        )
    ),
    "Order Zipcode": column(may_be_empty=True),
    "Product Card Id": _ID,
    "Product Category Id": _ID,
    "Product Description": column(may_be_empty=True),
    "Product Price": _MONEY,
    "Product Status": column(whole(0, 1)),
    SHIPPED: column(
        date(_BEGIN),
        beside(
            f"not before {ORDERED}", [ORDERED], lambda frame, key: dates(frame, key) >= dates(frame, ORDERED)
        ),
    ),
    "Shipping Mode": column(one_of("First Class", "Same Day", "Second Class", "Standard Class")),
}  # fmt: skip
