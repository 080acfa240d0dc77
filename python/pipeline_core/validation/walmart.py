"""The rules of Walmart's orders, a row an order: what is nested is JSON text. An order may come again, changed."""

from typing import Any

import pandera.polars as pa
import polars as pl

from pipeline_core.validation.columns import beside, column, rule, whole

# 2010 and 2100 in milliseconds.
_TIME = whole(1_262_304_000_000, 4_102_444_800_000)
_KEY = "purchaseOrderId"


def schema() -> Any:  # noqa: ANN401 - pandera's
    """The rules of the columns."""
    return pa.DataFrameSchema(_COLUMNS)


def _has(name: str, *paths: str) -> Any:  # noqa: ANN401 - pandera's
    """JSON text in which these paths lead somewhere."""

    def condition(frame: pl.LazyFrame, key: str) -> pl.Expr:
        if frame.collect_schema()[key] != pl.String:
            return pl.lit(value=False)
        return pl.all_horizontal(pl.col(key).str.json_path_match(path).is_not_null() for path in paths)

    return rule(name, condition)


def _time_of_request(_: pl.LazyFrame, key: str) -> pl.Expr:
    return pl.col(key).cast(pl.String).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).is_not_null()


def _is_key(_: pl.LazyFrame, key: str) -> pl.Expr:
    return pl.col(key).cast(pl.String) == pl.col("key").cast(pl.String)


_LINE = "$.orderLine[0]"
_COLUMNS = {
    _KEY: column(whole(1), beside("the message's key", ["key"], _is_key)),
    "customerOrderId": column(whole(1)),
    "orderDate": column(_TIME),
    "shippingInfo": column(
        _has("JSON with a method and a postal address", "$.methodCode", "$.postalAddress"), may_be_empty=True
    ),
    "orderLines": column(
        _has("JSON with a line that has number, item, quantity", *(
            f"{_LINE}.{path}" for path in ("lineNumber", "item.sku", "orderLineQuantity.amount")
        ))
    ),
    "shipNode": column(_has("JSON with a type", "$.type"), may_be_empty=True),
    "request_time": column(rule("time as YYYY-MM-DD HH:MM:SS", _time_of_request)),
}  # fmt: skip
