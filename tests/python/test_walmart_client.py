"""Walmart's orders from Python: lazily, exactly, for those who block and for those who await."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.children import wait_until
from tests.python.support.fetches import EditedApi, searches
from tests.services.walmart_faults import Fault
from tests.services.walmart_orders import NODES, milliseconds, modified_ms, node_of, order, order_id, order_ids, orders

from pipeline_core import AsyncWalmartClient, WalmartClient, walmart_client
from pipeline_core.exceptions import AccessDeniedError, DataLossError, NotFoundError, PipelineError, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.services.walmart_api import WalmartApi
    from typing_extensions import Self

pytestmark = pytest.mark.usefixtures("no_settings")

NOW = datetime.now(timezone.utc).replace(microsecond=0)
START, END = NOW - timedelta(days=10), NOW - timedelta(days=1)
GIVEN = orders(900, START, days=9)
PROMPT_SECONDS = 5


class Awaited:
    """`AsyncWalmartClient` as if it blocked, so that both clients have the same tests."""

    def __init__(self, **settings: Any) -> None:
        self.client = AsyncWalmartClient(**settings)
        self.loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        self.loop.run_until_complete(self.client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run_until_complete(self.client.__aexit__(None, None, None))
        self.loop.close()

    def orders(self, *given: Any, **more: Any) -> Iterator[dict[str, Any]]:
        return self._each(self.client.orders(*given, **more))

    def _each(self, found: AsyncIterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(StopAsyncIteration):
            while True:
                yield self.loop.run_until_complete(found.__anext__())

    def order(self, number: str | int) -> dict[str, Any] | None:
        return self.loop.run_until_complete(self.client.order(number))

    def close(self) -> None:
        self.loop.run_until_complete(self.client.close())


CLIENTS = {"blocking": WalmartClient, "awaited": Awaited}


@pytest.fixture(params=CLIENTS)
def client(request):
    """Makes a client of an API."""
    with contextlib.ExitStack() as open_:
        made = CLIENTS[request.param]

        def make(api: WalmartApi, **settings: Any) -> WalmartClient | Awaited:
            return open_.enter_context(made(**{"base_url": api.url, "walmart_token": api.token, **settings}))

        yield make


def test_a_client_gives_each_order_of_a_range_once_and_unchanged(client, walmart_api) -> None:
    api = walmart_api(GIVEN)
    found = list(client(api).orders(START, END))
    assert len(found) == len(GIVEN)
    assert {order_id(one): one for one in found} == {
        order_id(one): json.loads(api.shelf.body(order_id(one)), parse_float=Decimal) for one in GIVEN
    }
    assert not api.violations


@pytest.mark.parametrize("node", NODES)
def test_a_client_gives_the_orders_of_one_type(client, walmart_api, node) -> None:
    api = walmart_api(GIVEN)
    found = list(client(api).orders(START, END, ship_node_type=node))
    assert order_ids(found) == {order_id(one) for one in GIVEN if node_of(one) == node} != set()
    assert {call.parameters["shipNodeType"] for call in searches(api)} == {node}


def test_a_client_asks_by_the_time_of_the_last_change(client, walmart_api) -> None:
    first, last = NOW - timedelta(days=6), NOW - timedelta(days=5)
    found = list(client(walmart_api(GIVEN)).orders(first, last, modified=True))
    expected = {order_id(one) for one in GIVEN if milliseconds(first) <= modified_ms(one) < milliseconds(last)}
    assert order_ids(found) == expected
    assert len(found) == len(expected) > 20


def test_the_end_of_a_range_is_not_part_of_it_and_its_beginning_is(client, walmart_api) -> None:
    begin, end = milliseconds(START), milliseconds(END)
    given = [order(number, at) for number, at in enumerate([begin - 1, begin, end - 1, end])]
    assert order_ids(list(client(walmart_api(given)).orders(START, END))) == order_ids(given[1:3])


@pytest.mark.parametrize("form", ["text", "date", "naive", "zone"])
def test_a_time_is_written_in_any_form_and_is_utc_unless_it_says_otherwise(client, walmart_api, form) -> None:
    day = START.date() + timedelta(days=3)
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    west = timezone(timedelta(hours=-8))
    forms = {
        "text": (f"{day}T00:00:00Z", f"{day}T04:00:00+02:00"),
        "date": (f"{day}", date(day.year, day.month, day.day) + timedelta(days=1)),
        "naive": (midnight.replace(tzinfo=None), midnight.replace(tzinfo=None) + timedelta(hours=2)),
        "zone": (midnight.astimezone(west), (midnight + timedelta(hours=2)).astimezone(west)),
    }
    first, last = forms[form]
    end = midnight + timedelta(days=1) if form == "date" else midnight + timedelta(hours=2)
    given = [
        order(n, at)
        for n, at in enumerate([midnight - timedelta(seconds=1), midnight, end - timedelta(seconds=1), end])
    ]
    assert order_ids(list(client(walmart_api(given)).orders(first, last))) == order_ids(given[1:3])


def test_a_client_asks_for_no_more_than_is_taken(client, walmart_api, monkeypatch) -> None:
    monkeypatch.setattr(walmart_client, "_WINDOW_ORDERS", 20)
    api = walmart_api(GIVEN)
    found = client(api).orders(START, END)
    assert api.requests == [], "Not before the first is taken"
    assert len({order_id(one) for one in islice(found, 1)}) == 1
    before = len(searches(api))
    assert len({order_id(one) for one in found}) == len(GIVEN) - 1
    assert before < len(searches(api)) / 2


def test_amounts_are_exact_decimals(client) -> None:
    amounts = ["0.1", "0.30000000000000004", "12345678901234567890.10", "-5.00", "1e-7"]
    document = f'{{"purchaseOrderId":"1","orderDate":{milliseconds(START)},"amounts":[{",".join(amounts)}],"count":3}}'
    page = f'{{"list":{{"meta":{{"totalCount":1,"nextCursor":null}},"elements":{{"order":[{document}]}}}}}}'
    single = f'{{"order":{document}}}'
    one = order(1, START)
    with EditedApi([one], edit=lambda body: (page if b'"list"' in body else single).encode()) as api:
        asking = client(api)
        [found] = asking.orders(START, END, ship_node_type=NODES[0])
        alone = asking.order(order_id(one))
    for given in (found, alone):
        assert given["amounts"] == [Decimal(amount) for amount in amounts]
        assert [str(amount) for amount in given["amounts"]] == [str(Decimal(amount)) for amount in amounts]
        assert given["count"] == 3
        assert type(given["count"]) is int


def test_a_client_gives_one_order_or_none(client, walmart_api) -> None:
    api = walmart_api(GIVEN)
    asking, wanted = client(api), GIVEN[7]
    assert order_id(asking.order(order_id(wanted))) == order_id(wanted)
    assert asking.order(int(order_id(wanted)))["orderDate"] == wanted["orderDate"]
    assert asking.order("1") is None
    assert [call.endpoint for call in api.requests] == ["token", "order", "order", "order"]
    with pytest.raises(NotFoundError):
        asking.order("no/such?order#é")
    assert api.requests[-1].path == "/v3/orders/no%2Fsuch%3Forder%23%C3%A9"


def test_a_range_without_orders_is_empty(client, walmart_api) -> None:
    assert list(client(walmart_api([])).orders(START, END)) == []


@pytest.mark.parametrize(
    ("begin", "end", "more", "said"),
    [
        (END, START, {}, "'end'"),
        (START, START, {}, "'end'"),
        ("soon", END, {}, "'start'"),
        (START, END, {"ship_node_type": "Any"}, "SellerFulfilled, WFSFulfilled, 3PLFulfilled"),
        (NOW - timedelta(days=181), END, {}, "180 days"),
    ],
    ids=["backwards", "empty", "no time", "no type", "too old"],
)
def test_a_range_that_is_none_is_refused_and_nothing_is_asked(client, walmart_api, begin, end, more, said) -> None:
    api = walmart_api(GIVEN)
    with pytest.raises(SettingsError) as caught:
        list(client(api).orders(begin, end, **more))
    assert said in caught.value.message
    assert caught.value.hint
    assert api.requests == []


def test_what_the_api_refuses_is_raised(client, walmart_api) -> None:
    api = walmart_api(GIVEN)
    with pytest.raises(AccessDeniedError):
        list(client(api, walmart_token="QTpC").orders(START, END))
    with pytest.raises(AccessDeniedError):
        client(api, walmart_token="QTpC").order(order_id(GIVEN[0]))
    api.script(Fault("skipped", times=None))
    with pytest.raises(DataLossError, match="promises"):
        next(iter(client(api).orders(START, END)))
    api.heal()
    assert len(list(client(api).orders(START, END))) == len(GIVEN)


def test_faults_of_the_api_are_not_seen(client, walmart_api) -> None:
    kinds = ("error", "throttled", "expired", "reset", "cut_body", "cut_json", "list_errors", "skipped")
    api = walmart_api(GIVEN, faults=[Fault(kind, on=number) for number, kind in enumerate(kinds, 1)])
    asking = client(api)
    assert len(order_ids(list(asking.orders(START, END)))) == len(GIVEN)
    api.script(*(Fault(kind, endpoint="order") for kind in kinds[:6]))
    assert order_id(asking.order(order_id(GIVEN[3]))) == order_id(GIVEN[3])


def test_a_closed_client_gives_nothing_more(client, walmart_api, monkeypatch) -> None:
    monkeypatch.setattr(walmart_client, "_WINDOW_ORDERS", 20)
    api = walmart_api(GIVEN)
    asking = client(api)
    going_on = asking.orders(START, END)
    next(going_on)
    asking.close()
    asking.close()
    with pytest.raises(SettingsError, match="is closed"):
        list(going_on)
    with pytest.raises(SettingsError, match="is closed"):
        list(asking.orders(START, END))
    with pytest.raises(SettingsError, match="is closed"):
        asking.order(order_id(GIVEN[0]))


def test_one_client_serves_several_at_once(walmart_api) -> None:
    api = walmart_api(GIVEN)
    found: list[int] = []
    with WalmartClient(base_url=api.url, client_id=api.client_id, client_secret=api.client_secret) as client:
        tasks = [threading.Thread(target=lambda: found.append(len(list(client.orders(START, END))))) for _ in range(4)]
        for task in tasks:
            task.start()
        for task in tasks:
            task.join()
    assert found == [len(GIVEN)] * 4


def test_closing_a_client_ends_what_another_thread_waits_for(walmart_api) -> None:
    api = walmart_api(GIVEN, faults=[Fault("slow", seconds=60, times=None)])
    raised: list[PipelineError] = []
    client = WalmartClient(base_url=api.url, walmart_token=api.token)

    def read() -> None:
        try:
            list(client.orders(START, END))
        except PipelineError as error:
            raised.append(error)

    task = threading.Thread(target=read)
    task.start()
    wait_until(lambda: searches(api), "It waits for an answer", PROMPT_SECONDS)
    begun = time.monotonic()
    client.close()
    task.join(60)
    assert time.monotonic() - begun < PROMPT_SECONDS
    assert len(raised) == 1


@pytest.mark.parametrize("call", ["orders", "order"])
def test_a_task_that_is_cancelled_ends_at_once_and_no_other_call(walmart_api, call) -> None:
    api = walmart_api(GIVEN, faults=[Fault("slow", seconds=60, endpoint=call)])

    async def main() -> int:
        async with AsyncWalmartClient(base_url=api.url, walmart_token=api.token) as client:

            async def ask() -> int:
                if call == "order":
                    return len([await client.order(order_id(GIVEN[0]))])
                return len([one async for one in client.orders(START, END)])

            slow = asyncio.create_task(ask())
            await asyncio.to_thread(wait_until, lambda: api.calls(call), "It waits for an answer", PROMPT_SECONDS)
            other = asyncio.create_task(ask())
            begun = time.monotonic()
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert time.monotonic() - begun < PROMPT_SECONDS
            return await other

    assert asyncio.run(main()) == (1 if call == "order" else len(GIVEN))


def test_an_awaited_client_leaves_the_event_loop_alone(walmart_api) -> None:
    api = walmart_api(GIVEN, seconds=0.1)

    async def main() -> tuple[int, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with AsyncWalmartClient(base_url=api.url, walmart_token=api.token) as client:
            count = len([one async for one in client.orders(START, END)])
        ticking.cancel()
        return count, ticks

    count, ticks = asyncio.run(main())
    assert count == len(GIVEN)
    assert len(api.requests) > 5
    # Were it held while the API takes its time, it would tick once a request.
    assert ticks > 3 * len(api.requests)


def test_both_clients_end_with_their_block(walmart_api) -> None:
    api = walmart_api(GIVEN)
    with WalmartClient(base_url=api.url, walmart_token=api.token) as client:
        assert client.order(order_id(GIVEN[0]))
    with pytest.raises(SettingsError, match="WalmartClient is closed"):
        client.order("1")

    async def main() -> None:
        async with AsyncWalmartClient(base_url=api.url, walmart_token=api.token) as client:
            assert await client.order(order_id(GIVEN[0]))
        with pytest.raises(SettingsError, match="AsyncWalmartClient is closed"):
            await client.order("1")

    asyncio.run(main())
