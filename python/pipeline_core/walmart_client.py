"""Walmart's orders from Python, without Kafka: a client that blocks, and one to await."""

import json
import os
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from types import TracebackType
from typing import Any, get_args

from typing_extensions import Self, Unpack

from pipeline_core import _core, engine, units
from pipeline_core.config import WalmartArguments, WalmartSettings
from pipeline_core.exceptions import SettingsError
from pipeline_core.fields import ShipNodeType


class Arguments(WalmartArguments, total=False):
    """Keyword arguments of the clients: the fields of `WalmartSettings`, and a settings file."""

    config_file: str | os.PathLike[str]


Order = dict[str, Any]
"""An order as the API sent it; amounts are Decimal."""

Moment = str | date | datetime
"""A time; RFC 3339 text, a datetime, or a date for its midnight. What names no zone is UTC."""

_WINDOW_ORDERS = 1000
_CONCURRENCY = 4
_TYPES: tuple[ShipNodeType, ...] = get_args(ShipNodeType)


class _Client:
    """What both clients are: settings, and the calls that are going on."""

    def __init__(self, config: WalmartSettings | None = None, **settings: Unpack[Arguments]) -> None:
        config = engine.configured(WalmartSettings, config, settings)
        self._settings = json.dumps(json.loads(config.document())["walmart"])
        self._running: set[_core.Stop] = set()
        self._is_closed = False
        self._single: _core.OrderReader | None = None

    def _close(self) -> None:
        self._is_closed = True
        for stop in list(self._running):
            stop.set()

    @contextmanager
    def _call(self) -> Generator[_core.Stop]:
        """A stop token for one call: a call that is broken off ends no other."""
        self._refuse_if_closed()
        stop = _core.Stop()
        self._running.add(stop)
        try:
            yield stop
        finally:
            self._running.discard(stop)
        self._refuse_if_closed()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            message = f"This {type(self).__name__} is closed"
            raise SettingsError(message, "Make a new one.")

    def _reader(
        self, start: Moment, end: Moment, ship_node_type: ShipNodeType | None, *, modified: bool
    ) -> _core.OrderReader:
        self._refuse_if_closed()
        first, last = _time("start", start), _time("end", end)
        if last <= first:
            message = f"Setting 'end' is {_text(last)}, not after 'start' {_text(first)}"
            raise SettingsError(message, "Give a range of time; the end is not part of it.")
        if ship_node_type is not None and ship_node_type not in _TYPES:
            message = f"Setting 'ship_node_type': It must be one of {', '.join(_TYPES)}, not {ship_node_type!r}"
            raise SettingsError(message, "Leave it out for all three.")
        request = {
            "start": _text(first),
            "end": _text(last),
            "ship_node_types": [ship_node_type] if ship_node_type else list(_TYPES),
            "modified": modified,
            "window_orders": _WINDOW_ORDERS,
            "concurrency": _CONCURRENCY,
        }
        return _core.OrderReader(self._settings, json.dumps(request))

    def _order(self, purchase_order_id: str | int) -> engine.Native:
        """The call for one order; an empty text is none."""
        if self._single is None:
            # A reader has a range, which a single order does not need.
            now = datetime.now(timezone.utc)
            self._single = self._reader(now - timedelta(hours=1), now, None, modified=False)
        reader, number = self._single, str(purchase_order_id)
        return lambda _document, stop, beat: reader.order(number, stop, beat) or ""


class WalmartClient(_Client):
    """Orders of one account, for a `with`. Calls block; `AsyncWalmartClient` has the same to await.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`,
            or `config/config.yml` of the working folder where no file is named.
        **settings: Fields of `WalmartSettings` by name, e.g. `account_tag="eForCity", walmart_token="…"`.

    Raises:
        SettingsError: A setting is wrong.

    Example:
        >>> from pipeline_core import WalmartClient
        >>> with WalmartClient(account_tag="eForCity") as client:  # doctest: +SKIP
        ...     for order in client.orders("2025-11-11", "2025-11-12"):
        ...         print(order["purchaseOrderId"])
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def orders(
        self, start: Moment, end: Moment, *, ship_node_type: ShipNodeType | None = None, modified: bool = False
    ) -> Iterator[Order]:
        """The orders of a range of time, each once, a window of it at a time.

        Args:
            start: Time of the first order; RFC 3339 text, a datetime or a date; what names no zone is UTC.
            end: Time that is no longer part of the range.
            ship_node_type: Who ships; all three without it.
            modified: Ask by the time of the last change, not of the order.

        Raises:
            SettingsError: A time is none, the range is empty or too old for the API, or the client is closed.
            AccessDeniedError: The API refused the credentials.
            UnavailableError: The API did not answer.
            DataLossError: The API did not give all orders that it counts.
        """
        return self._windows(self._reader(start, end, ship_node_type, modified=modified))

    def order(self, purchase_order_id: str | int) -> Order | None:
        """One order, or None if there is no such order.

        Raises:
            PipelineError: The API refused the credentials or did not answer, or the client is closed.
        """
        with self._call() as stop:
            text = engine.run(self._order(purchase_order_id), "", stop=stop)
        return _read(text) if text else None

    def close(self) -> None:
        """End it; what is going on in another thread stops."""
        self._close()

    def _windows(self, reader: _core.OrderReader) -> Iterator[Order]:
        while True:
            with self._call() as stop:
                text = engine.run(_next(reader), "", stop=stop)
            if not text:
                return
            yield from _read(text)


class AsyncWalmartClient(_Client):
    """Orders of one account, for an `async with`; as `WalmartClient`, without blocking the event loop.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`,
            or `config/config.yml` of the working folder where no file is named.
        **settings: Fields of `WalmartSettings` by name, e.g. `account_tag="eForCity", walmart_token="…"`.

    Raises:
        SettingsError: A setting is wrong.

    Example:
        >>> async with AsyncWalmartClient() as client:  # doctest: +SKIP
        ...     async for order in client.orders("2025-11-11", "2025-11-12"):
        ...         print(order["purchaseOrderId"])
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def orders(
        self, start: Moment, end: Moment, *, ship_node_type: ShipNodeType | None = None, modified: bool = False
    ) -> AsyncIterator[Order]:
        """The orders of a range of time, each once, a window of it at a time; see `WalmartClient.orders`."""
        return self._windows(self._reader(start, end, ship_node_type, modified=modified))

    async def order(self, purchase_order_id: str | int) -> Order | None:
        """One order, or None if there is no such order; see `WalmartClient.order`."""
        with self._call() as stop:
            text = await engine.arun(self._order(purchase_order_id), "", stop=stop)
        return _read(text) if text else None

    async def close(self) -> None:
        """End it; what is going on in other tasks stops."""
        self._close()

    async def _windows(self, reader: _core.OrderReader) -> AsyncIterator[Order]:
        while True:
            with self._call() as stop:
                text = await engine.arun(_next(reader), "", stop=stop)
            if not text:
                return
            for order in _read(text):
                yield order


def _next(reader: _core.OrderReader) -> engine.Native:
    """The call for the next window; an empty text is the end."""
    return lambda _document, stop, beat: reader.next(stop, beat) or ""


def _read(text: str) -> Any:  # noqa: ANN401 - an order, or a list of them
    return json.loads(text, parse_float=Decimal)


def _time(name: str, value: Moment) -> datetime:
    """A time in UTC."""
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    try:
        return datetime.fromisoformat(str(units.since(value)).replace("Z", "+00:00"))
    except ValueError:
        message = f"Setting {name!r}: Write a time such as 2025-11-11T12:00:00Z or a date, not {value!r}"
        raise SettingsError(message, "What names no zone is taken as UTC.") from None


def _text(moment: datetime) -> str:
    """RFC 3339, as settings have it."""
    return moment.isoformat().replace("+00:00", "Z")
