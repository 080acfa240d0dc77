"""What Walmart's API does that its documents do not say: nothing is lost, doubled or asked for in vain."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.children import side_by_side
from tests.python.support.fetches import Fetch, searches, statuses
from tests.services.walmart_api import WalmartApi
from tests.services.walmart_faults import Fault, RateLimit
from tests.services.walmart_orders import HOUR_MS, NODES, milliseconds, order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.services.walmart_faults import Call

    from pipeline_core.report import Report

NOW = datetime.now(timezone.utc).replace(microsecond=0)
BEGIN = milliseconds(NOW) - 3 * HOUR_MS
NODE = NODES[0]
PAGES = 3
TIMEOUT, SLOW = 2, 30
PAUSE = 2

Order = dict[str, Any]


def made(count: int, *, apart_ms: int = 1_000, begin: int = BEGIN, node: str | None = NODE, first: int = 1) -> list:
    """Orders of one type, one after the other; every `apart_ms` or all of one millisecond."""
    times = (begin + number * apart_ms for number in range(count))
    return [order(first + number, time, node=node, modified=time) for number, time in enumerate(times)]


FEW = made(450)
TIES = made(700, apart_ms=0)
MIXED = made(300, node=None)


def nothing(_api: WalmartApi, _report: Report) -> None:
    """What all cases are checked for is enough."""


@dataclass
class Quirk:
    """What the API does, and how a fetch of one type, one request at a time, takes it."""

    orders: list[Order] = field(default_factory=lambda: FEW)
    faults: Callable[[], list[Fault]] = list
    api: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    # The status of each call for orders; none: they are not looked at.
    answers: list[int] | None = None
    tokens: int | None = 1
    check: Callable[[WalmartApi, Report], object] = nothing
    # The settings that make every request comparable.
    ALONE = {"ship_node_type": NODE, "concurrency": 1, "window_orders": 10_000}


def again_at(place: int) -> Callable[[WalmartApi, Report], None]:
    """The call at this place is made again at once, with the same query, and none else twice."""

    def check(api: WalmartApi, report: Report) -> None:
        queries = [call.query for call in searches(api)]
        assert queries[place] == queries[place - 1]
        assert len(set(queries)) == PAGES
        assert report.details["pages_repeated"] == 0

    return check


def waited(seconds: float) -> Callable[[WalmartApi, Report], None]:
    """After the refusal of the second call nobody asks until it is time, and not much longer."""

    def check(api: WalmartApi, report: Report) -> None:
        again_at(2)(api, report)
        refused, following = searches(api)[1:3]
        assert refused.status == 429
        assert seconds <= following.time - refused.time < seconds + 3

    return check


def repeated(api: WalmartApi, report: Report) -> None:
    """All pages were read again, from the first on."""
    calls = searches(api)
    at = [number for number, call in enumerate(calls) if not call.has_cursor]
    assert len(at) == 2
    assert calls[at[1]].query == calls[0].query
    assert len(calls) - at[1] == PAGES
    assert report.details["pages_repeated"] == at[1]


def cursors(api: WalmartApi, _report: Report) -> None:
    """Every page but the first was asked for by a cursor that came back as it was given."""
    assert [call.has_cursor for call in searches(api)] == [False, True, True]
    assert all("%2B" in call.query and "+" in call.query for call in searches(api)[1:]), "A cursor that shows it"


def continued(api: WalmartApi, _report: Report) -> None:
    """A token ends after two calls: the call it is refused for is made again with the next one."""
    calls = searches(api)
    for at, call in enumerate(calls):
        if call.status == 401:
            assert calls[at + 1].query == call.query
            assert calls[at + 1].token != call.token
    good = [call.query for call in calls if call.status == 200]
    assert len(set(good)) == len(good) == 5


def shared(api: WalmartApi, _report: Report) -> None:
    """Many calls at once, one token after the other: nobody asks for one that another has asked for."""
    assert api.most_at_once > 4
    good = [call.token for call in searches(api) if call.status in {200, 404}]
    assert len(api.calls("token")) == len(set(good)) == -(-len(good) // 9) > 3


def renewed(api: WalmartApi, _report: Report) -> None:
    """A token is renewed before it ends."""
    calls = searches(api)
    assert calls[-1].time - calls[0].time > 2, "Longer than a token lives"
    assert 401 not in {call.status for call in calls}
    assert 2 <= len(api.calls("token")) <= 6


def unprovoked(api: WalmartApi, _report: Report) -> None:
    """The bucket was emptied and waited for, and never asked for more than it held."""
    calls = searches(api)
    assert len(calls) > 20
    assert [call.status for call in calls if call.status == 429] == []


def within_the_cap(api: WalmartApi, report: Report) -> None:
    """The API never had to leave out what it counted."""
    assert report.details["windows"] > 1
    places = [int(call.parameters["poIndex"]) for call in searches(api) if call.has_cursor]
    assert max(places) < 10_000


def seen_twice(_api: WalmartApi, report: Report) -> None:
    """An order that came on two pages is counted, and was sent once."""
    assert (report.details["duplicates"], report.details["pages_repeated"]) == (2, 0)


def spaced(api: WalmartApi, _report: Report) -> None:
    """Calls keep the distance that the setting asks for."""
    times = [call.time for call in api.requests]
    assert times[-1] - times[0] >= 0.9 * (len(times) - 1) / 4


def plain(number: int) -> Order:
    """An order with no more in it than it takes, of one of 9,000 milliseconds."""
    return {"purchaseOrderId": str(10**14 + number), "orderDate": BEGIN + number % 9_000, "shipNode": {"type": NODE}}


def one(kind: str, on: int, **more: Any) -> Callable[[], list[Fault]]:
    return lambda: [Fault(kind, on=on, **more)]


def is_later(call: Call) -> bool:
    """Whether it asks for a page behind the first."""
    return call.has_cursor


TRANSIENT: dict[str, tuple[dict[str, Any], int]] = {
    "an error in the nested shape": ({"kind": "error", "status": 500}, 500),
    "an error in the flat shape": ({"kind": "error", "status": 502, "shape": "flat"}, 502),
    "an error as XML": ({"kind": "error", "status": 500, "shape": "xml"}, 500),
    "503 without a body": ({"kind": "error", "status": 503, "shape": "empty"}, 503),
    "a reset": ({"kind": "reset"}, 0),
    "a body cut off by the end of the connection": ({"kind": "cut_body"}, 200),
    "a body cut off within its length": ({"kind": "cut_json"}, 200),
    "an answer after the timeout": ({"kind": "slow", "seconds": SLOW}, 0),
    "list.errors in an empty 200": ({"kind": "list_errors"}, 200),
    "list.errors in a 200 with half of the orders": ({"kind": "part_and_errors"}, 200),
}
QUIRKS: dict[str, Quirk] = {
    f"{name}, page {on}": Quirk(
        faults=one(on=on, **fault),
        settings={"request_timeout_seconds": TIMEOUT},
        answers=[200] * (on - 1) + [status] + [200] * (PAGES - on + 1),
        check=again_at(on),
    )
    for number, (name, (fault, status)) in enumerate(TRANSIENT.items())
    for on in ((1, 3) if fault["kind"] in {"cut_json", "list_errors"} else (1 + number % 2 * 2,))
}
QUIRKS |= {
    f"429 that says {says}": Quirk(
        faults=one("throttled", 2, says=says, seconds=PAUSE), answers=[200, 429, 200, 200], check=waited(seconds)
    )
    for says, seconds in (("retry_after", PAUSE), ("epoch_ms", PAUSE), ("iso", PAUSE), ("nothing", 1))
}
QUIRKS |= {
    f"a token call that meets {name}": Quirk(
        faults=one(on=1, endpoint="token", **TRANSIENT[name][0]),
        settings={"request_timeout_seconds": TIMEOUT},
        answers=[200] * PAGES,
        tokens=2,
    )
    for name in TRANSIENT
    if TRANSIENT[name][0].get("shape") in {None, "empty"} and "list.errors" not in name
}
QUIRKS |= {
    "a token call that is throttled": Quirk(
        faults=one("throttled", 1, endpoint="token", seconds=1), answers=[200] * PAGES, tokens=2
    ),
    "a cursor that must be sent raw": Quirk(answers=[200] * PAGES, check=cursors),
    "an empty cursor at the end": Quirk(api={"last_cursor": "empty"}, answers=[200] * PAGES),
    "no cursor at the end": Quirk(api={"last_cursor": "absent"}, answers=[200] * PAGES),
    "an order alone where an array is due": Quirk(made(201), api={"lone_object": True}, answers=[200, 200]),
    "elements that are the array": Quirk(api={"bare_elements": True}, answers=[200] * PAGES),
    "elements that are the order": Quirk(made(1), api={"bare_elements": True, "lone_object": True}, answers=[200]),
    "nothing, as 404": Quirk([], answers=[404]),
    "nothing, as an empty list": Quirk([], api={"empty": "list"}, answers=[200]),
    "types without an order, either way": Quirk(
        made(9), api={"empty": "mixed"}, settings={"ship_node_type": None}, answers=None
    ),
    "a token that ends untold": Quirk(
        made(1_000), api={"token_calls": 2}, answers=[200, 200, 401, 200, 200, 401, 200], tokens=3, check=continued
    ),
    "tokens that end while many use them": Quirk(
        MIXED,
        api={"token_calls": 9, "seconds": 0.03},
        settings={"ship_node_type": None, "concurrency": 16, "window_orders": 20},
        tokens=None,
        check=shared,
    ),
    "a token that ends as is told": Quirk(
        api={"token_seconds": 2, "seconds": 0.15},
        settings={"window_orders": 60},
        tokens=None,
        check=renewed,
    ),
    "a bucket that is soon empty": Quirk(
        api={"rate": RateLimit(5, 20)}, settings={"window_orders": 30}, check=unprovoked
    ),
    "a bucket that is soon empty, for many at once": Quirk(
        MIXED,
        api={"rate": RateLimit(5, 20)},
        settings={"ship_node_type": None, "window_orders": 30, "concurrency": 4},
        check=unprovoked,
    ),
    "a rate that is asked for": Quirk(
        settings={"window_orders": 120, "max_requests_per_second": 4, "concurrency": 4}, check=spaced
    ),
    "a page that comes again": Quirk(faults=one("page_one_again", 1), check=repeated),
    "an order that comes on two pages": Quirk(
        faults=lambda: [Fault("shown_twice", when=is_later, times=2)], check=seen_twice
    ),
    "an order that stays out": Quirk(faults=one("skipped", 2), check=repeated),
    "an order in the place of another": Quirk(faults=one("swapped", 2), check=repeated),
    "orders of one millisecond": Quirk(TIES, settings={"window_orders": 100}),
    "orders of one millisecond, each type": Quirk(
        made(700, apart_ms=0, node=None), settings={"window_orders": 100, "ship_node_type": None}
    ),
    "orders at the borders of windows": Quirk(made(40), settings={"window_orders": 1, "concurrency": 16}),
    "orders of neighbouring milliseconds": Quirk(made(60, apart_ms=1), settings={"window_orders": 2, "concurrency": 8}),
    "more orders than one search gives": Quirk(list(map(plain, range(12_000))), check=within_the_cap),
}


@pytest.fixture(scope="module")
def fetched(kafka, tmp_path_factory) -> Iterator[dict[str, Future[tuple[Fetch, Report]]]]:
    """The fetch of each case and its report."""

    folder = tmp_path_factory.mktemp("quirks")

    def scenario(name: str) -> tuple[Fetch, Report]:
        quirk = QUIRKS[name]
        with WalmartApi(quirk.orders, faults=quirk.faults(), **quirk.api) as api:
            fetch = Fetch(kafka, api, folder, {"hours": 4, **Quirk.ALONE, **quirk.settings})
            return fetch, fetch.run()

    yield from side_by_side(scenario, QUIRKS)


@pytest.mark.parametrize("name", QUIRKS)
def test_walmart_to_kafka_takes_the_api_as_it_is(fetched, name) -> None:
    quirk = QUIRKS[name]
    fetch, report = fetched[name].result()
    given = len(quirk.orders)
    assert (report.status, report.rows_read, report.rows_written) == ("complete", given, given)
    fetch.assert_exact(quirk.orders)
    fetch.assert_behaved()
    assert report.details["requests"] == len(fetch.api.requests)
    if quirk.answers is not None:
        assert statuses(fetch.api) == quirk.answers
    if quirk.tokens is not None:
        assert len(fetch.api.calls("token")) == quirk.tokens
    quirk.check(fetch.api, report)
