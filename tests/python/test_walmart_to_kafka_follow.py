"""`walmart_to_kafka` that follows: what is new, late or changed arrives once, over runs that are killed."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.children import Child, side_by_side, wait_until
from tests.python.support.fetches import Fetch, fetching, order_of, searches
from tests.services.walmart_orders import NODES, milliseconds, order, order_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

FOLLOWED = {"follow": True, "poll_seconds": 0.2, "hours": 1}
OLD = timedelta(minutes=20)

Orders = list[dict[str, Any]]


def now() -> datetime:
    return datetime.now(timezone.utc)


def at(number: int, age: timedelta, **more: Any) -> dict[str, Any]:
    """An order that was created, and last changed, so long ago."""
    created = now() - age
    return order(number, created, modified=created, **more)


def changed(given: dict[str, Any], word: str, modified: datetime | None = None) -> dict[str, Any]:
    """The order with something new in it."""
    document = json.loads(json.dumps(given))
    document["word"] = word
    for line in document["orderLines"]["orderLine"] if modified else []:
        line["statusDate"] = milliseconds(modified or now())
    return document


def base() -> list[dict[str, Any]]:
    """Orders of all types of the last 20 minutes."""
    return [at(number, OLD - timedelta(seconds=5 * number), node=NODES[number % 3]) for number in range(200)]


@contextmanager
def following(fetch: Fetch, **changed: Any) -> Iterator[Child]:
    """One that runs meanwhile, and is ended by SIGTERM."""
    with fetch.worker(**changed) as child:
        yield child
        child.send(signal.SIGTERM)
        ended = child.wait(60)
        assert ended.code == 143, ended.err[-3000:]


def polls(fetch: Fetch) -> int:
    return len(searches(fetch.api))


def wait_for_polls(fetch: Fetch, more: int = 2) -> None:
    """Wait until all types were asked for, so many times, from now on."""
    before = polls(fetch)
    wait_until(lambda: polls(fetch) >= before + 3 * (more + 1), "It polls")


def wait_for_orders(fetch: Fetch, count: int) -> None:
    """Wait until so many messages are on the topic."""
    wait_until(lambda: len(fetch.messages()) >= count, f"There are {count} messages")


def new_late_and_changed(fetch: Fetch, base: Orders, *, modified: bool = False) -> None:
    """What is new or late arrives once; what changed arrives again; what is as it was does not."""
    with following(fetch, modified=modified):
        wait_for_orders(fetch, len(base))
        new, late = at(1_000, timedelta(seconds=1)), at(1_001, timedelta(minutes=9))
        other = changed(base[-1], "other", now() if modified else None)
        fetch.api.put(new, late, other)
        wait_for_orders(fetch, len(base) + 3)
        fetch.api.put(other)
        wait_for_polls(fetch, 3)
    times = fetch.times_sent()
    assert {key for key, count in times.items() if count != 1} == {order_id(other)}
    assert times[order_id(other)] == 2
    assert times.keys() == {order_id(given) for given in [*base, new, late]}
    sent = [order_of(message) for message in fetch.messages() if (message.key or b"").decode() == order_id(other)]
    assert fetch.api.shelf.body(order_id(other)) in sent
    fetch.assert_behaved()


def a_stream(fetch: Fetch, base: Orders) -> None:
    """Orders that come all the time arrive once each."""
    done = threading.Event()
    put: list[dict[str, Any]] = []

    def sell() -> None:
        while len(put) < 3_000 and not done.wait(0.005):
            put.append(at(10_000 + len(put), timedelta(), node=NODES[len(put) % 3]))
            fetch.api.put(put[-1])

    with following(fetch, poll_seconds=0.05, overlap_seconds=30, window_orders=100):
        wait_for_orders(fetch, len(base))
        seller = threading.Thread(target=sell)
        seller.start()
        wait_until(lambda: len(put) > 200, "Some are sold")
        wait_for_polls(fetch, 30)
        done.set()
        seller.join()
        wait_for_orders(fetch, len(base) + len(put))
        wait_for_polls(fetch)
    fetch.assert_exact([*base, *put])


def kills(fetch: Fetch, base: Orders) -> None:
    """Killed and started again it leaves no gap and sends nothing twice."""
    given = list(base)
    for number, place in enumerate(["after_commit:1", "before_commit:2", "after_commit:2"]):
        with fetch.worker(fault=f"{place}:kill", window_orders=50) as child:
            if number:
                # Else it may have nothing to send, and the fault is never met.
                given.append(at(2_000 + number, timedelta(seconds=3)))
                fetch.api.put(given[-1])
            wait_until(lambda child=child, given=given: not child.is_running or is_fed(fetch, given), place)
            child.wait_until_killed()
        missed = at(1_000 + number, timedelta(minutes=5 + number))
        fetch.api.put(missed)
        given.append(missed)
    with following(fetch, window_orders=50):
        wait_for_orders(fetch, len(given))
        wait_for_polls(fetch)
    fetch.assert_exact(given)
    fetch.assert_behaved()


def is_fed(fetch: Fetch, given: list[dict[str, Any]]) -> bool:
    """Gives the one that runs another order; never true."""
    given.append(at(5_000 + len(given), timedelta(seconds=2)))
    fetch.api.put(given[-1])
    return False


def resumption(fetch: Fetch, base: Orders) -> None:
    """It goes on where the last one came to; the hours are where the first one begins."""
    first = fetch.run(until="1rows", window_orders=50)
    assert first.details["resumed_from"] is None
    before = len(fetch.messages())
    assert before < len(base)
    again = fetch.run(until=f"{len(base) - before}rows", overlap_seconds=0.001, hours=1)
    assert again.details["resumed_from"] == first.details["complete_up_to"]
    assert before + again.rows_written == len(base)
    fetch.assert_exact(base)


def ends(fetch: Fetch, base: Orders) -> None:
    """It ends when its time is over or its rows are sent."""
    begun = time.monotonic()
    report = fetch.run(until="8s")
    assert 8 <= time.monotonic() - begun < 30
    assert (report.status, report.rows_written) == ("complete", len(base))
    fetch.api.put(*(more := [at(3_000 + number, timedelta(seconds=2)) for number in range(5)]))
    report = fetch.run(until="5rows")
    assert (report.status, report.rows_written) == ("complete", 5)
    fetch.assert_exact([*base, *more])


def restart(fetch: Fetch, base: Orders) -> None:
    """Restarted it begins anew."""
    fetch.run(until="200rows")
    report = fetch.run(until="200rows", restart=True)
    assert (report.details["resumed_from"], report.rows_written) == (None, len(base))
    assert set(fetch.times_sent().values()) == {2}


CASES: dict[str, Callable[[Fetch, Orders], None]] = {
    "killed and started again": kills,
    "new, late and changed orders": new_late_and_changed,
    "new, late and changed orders by their change": partial(new_late_and_changed, modified=True),
    "orders all the time": a_stream,
    "its ends": ends,
    "begun again": resumption,
    "restarted": restart,
}


@pytest.fixture(scope="module")
def followed(kafka, tmp_path_factory) -> Iterator[dict[str, Future[None]]]:
    """How each case went."""
    folder = tmp_path_factory.mktemp("follow")

    def scenario(case: str) -> None:
        given = base()
        with fetching(kafka, folder, given, FOLLOWED) as fetch:
            CASES[case](fetch, given)

    yield from side_by_side(scenario, CASES)


@pytest.mark.parametrize("case", CASES)
def test_walmart_to_kafka_that_follows_leaves_nothing_out_and_sends_nothing_twice(followed, case) -> None:
    followed[case].result()
