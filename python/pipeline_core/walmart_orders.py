"""Walmart's order JSON as rows: an Arrow table of lines, charges, statuses or refunds, or a list of dicts."""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, cast

from typing_extensions import CapsuleType

from pipeline_core import _core, units
from pipeline_core.exceptions import RejectedError, SettingsError

Document = bytes | bytearray | memoryview | str | Mapping[str, Any] | list[Any]
"""One order, an array of orders or a page of the API: JSON text, or what it reads as."""

Table = Literal["order", "charge", "status", "refund"]

_TABLES = ("order", "charge", "status", "refund")


@dataclass(frozen=True)
class RefusedOrder:
    """An order that could not be parsed.

    Attributes:
        document: Which of the documents it was in, counted from 0.
        path: JSONPath of what failed.
        reason: What is wrong there.
        order: The order's JSON text.
    """

    document: int
    path: str
    reason: str
    order: str = field(repr=False)


class WalmartOrders:
    """Rows of orders, taken without a copy by `pyarrow.table`, `polars.DataFrame`, DuckDB and other Arrow readers.

    Attributes:
        errors: The orders that were refused; their rows are missing.
    """

    def __init__(self, batch: _core.RecordBatch, errors: list[RefusedOrder]) -> None:
        self._batch = batch
        self.errors = errors

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in the order of the table."""
        return self._batch.column_names

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dicts of int, str, Decimal, datetime without a zone, and None."""
        return self._batch.to_pylist()

    def __len__(self) -> int:
        return self._batch.num_rows

    def __repr__(self) -> str:
        refused = f", refused orders: {len(self.errors):,}" if self.errors else ""
        return f"<WalmartOrders of {len(self):,} rows and {len(self.column_names)} columns{refused}>"

    def __arrow_c_array__(self, requested_schema: CapsuleType | None = None) -> tuple[CapsuleType, CapsuleType]:
        """The rows as one Arrow array."""
        return self._batch.__arrow_c_array__(requested_schema)

    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType:
        """The rows as an Arrow stream."""
        return self._batch.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> CapsuleType:
        """The columns and their types."""
        return self._batch.__arrow_c_schema__()


def parse_walmart_orders(  # noqa: PLR0913 - the options are those of the pipeline
    documents: Document | Iterable[Document],
    *,
    table: Table = "order",
    formatted_timezone: str = "UTC",
    truncate: bool = False,
    raw: bool = False,
    source_file: str = "kafka_stream",
    errors: Literal["raise", "collect"] = "raise",
) -> WalmartOrders:
    """Parse orders into the rows of a table that `walmart_to_mysql` writes.

    Amounts are decimal, digit for digit as in the JSON text; give that text, or what `json.loads` reads with
    `parse_float=Decimal`.

    Args:
        documents: JSON text, bytes or dicts, or a list of them; each is an order, an array of orders or a page of the
            API.
        table: `"order"` for a row a line, in the 52 columns of the original; `"charge"`, `"status"` or `"refund"`.
        formatted_timezone: Time zone of the columns `…_formatted`.
        truncate: Cut text and round amounts that do not fit their column; otherwise such orders are refused.
        raw: Add a column `raw`: JSON of what no column holds.
        source_file: What the column `source_file` gets.
        errors: `"raise"` at the first order that is refused, or `"collect"` them in `.errors`.

    Raises:
        RejectedError: An order cannot be parsed; with the path that failed.
        SettingsError: An option is wrong.
        TypeError: A document is none.

    Example:
        >>> import pipeline_core
        >>> orders = pipeline_core.parse_walmart_orders(page, table="charge")  # doctest: +SKIP
        >>> sum(charge["chargeAmount"] for charge in orders.to_pylist())  # doctest: +SKIP
        Decimal('1735.37')
    """
    if table not in _TABLES:
        message = f"Setting 'table': It must be one of {', '.join(_TABLES)}, not {table!r}"
        raise SettingsError(message, "For the order lines, leave it out.")
    if errors not in {"raise", "collect"}:
        message = f"Setting 'errors': It must be raise or collect, not {errors!r}"
        raise SettingsError(message, "Leave it out to raise at the first order that is refused.")
    options = {
        "formatted_timezone": _zone(formatted_timezone),
        "truncate": truncate,
        "raw": raw,
        "source_file": source_file,
    }
    texts = [_json_text(document) for document in _listed(documents)]
    batch, refused = _core.parse_walmart_orders(texts, table, json.dumps(options))
    found = [RefusedOrder(*order) for order in refused]
    if found and errors == "raise":
        first = found[0]
        message = f"An order of document {first.document} cannot be parsed at {first.path}: {first.reason}"
        raise RejectedError(message, 'errors="collect" parses the other orders and lists those that are refused.')
    return WalmartOrders(batch, found)


def parse_walmart_order(
    document: Document,
    *,
    formatted_timezone: str = "UTC",
    truncate: bool = False,
    source_file: str = "kafka_stream",
) -> list[dict[str, Any]]:
    """Parse an order into one dict a line, of the 52 columns of `ods.walmart_order` in their order.

    `load_time` is None: the database fills it in. For many orders, `parse_walmart_orders` is much faster.

    Args:
        document: The order, as JSON text, bytes or a dict.
        formatted_timezone: Time zone of the columns `…_formatted`.
        truncate: Cut text and round amounts that do not fit their column; otherwise the order is refused.
        source_file: What the column `source_file` gets.

    Raises:
        RejectedError: The order cannot be parsed; with the path that failed.

    Example:
        >>> from pipeline_core import parse_walmart_order
        >>> [line["sku"] for line in parse_walmart_order(order)]  # doctest: +SKIP
        ['A-1', 'A-2']
    """
    rows = parse_walmart_orders(
        [document], formatted_timezone=formatted_timezone, truncate=truncate, source_file=source_file
    )
    return rows.to_pylist()


def _zone(name: str) -> object:
    try:
        return units.zone(name)
    except ValueError as error:
        message = f"Setting 'formatted_timezone': {error}, not {name!r}"
        raise SettingsError(message, "Leave it out for UTC.") from None


def _listed(documents: Document | Iterable[Document]) -> Iterable[Document]:
    if isinstance(documents, (bytes, bytearray, memoryview, str, Mapping)):
        return [cast("Document", documents)]
    return documents


def _json_text(document: Document) -> bytes | str:
    if isinstance(document, (bytes, str)):
        return document
    if isinstance(document, (bytearray, memoryview)):
        return bytes(document)
    if not isinstance(document, (Mapping, list)):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may not check
        message = f"An order is JSON text, bytes or a dict, not {type(document).__name__}"
        raise TypeError(message)
    return _dumped(document)


def _dumped(value: Mapping[str, Any] | list[Any]) -> str:
    """JSON text with decimals as numbers, digit for digit, which `json` cannot write."""
    mark = f"{secrets.token_hex(8)}:"
    has_decimals = False

    def plain(part: object) -> object:
        nonlocal has_decimals
        if isinstance(part, Decimal) and part.is_finite():
            has_decimals = True
            return f"{mark}{part}"
        if isinstance(part, Mapping):
            return dict(cast("Mapping[str, Any]", part))
        message = f"An order holds a {type(part).__name__}, which is no JSON"
        raise TypeError(message)

    text = json.dumps(value, default=plain, ensure_ascii=False)
    if not has_decimals:
        return text
    first, *others = text.split(f'"{mark}')
    return first + "".join(other.replace('"', "", 1) for other in others)
