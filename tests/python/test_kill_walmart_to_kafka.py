"""A month of orders with bursts: each arrives once, however often `walmart-to-kafka` is killed on the way."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.children import seeded, side_by_side
from tests.python.support.fetches import Fetch, murmur2
from tests.services.walmart_api import WalmartApi
from tests.services.walmart_orders import created_ms, orders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

ORDERS = 50_000
DAYS = 30
BURSTS, BURST = 3, 5_000
PLACES = ("after_window", "before_commit", "after_commit")
# Which of its windows a run is killed at; counted anew by each run.
COUNTS = (1, 2, 3, 5)
TIMES = 8

Given = tuple[WalmartApi, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def month() -> Iterator[Given]:
    """The API, and its orders of the last 30 days."""
    start = datetime.now(timezone.utc) - timedelta(days=DAYS)
    given = orders(ORDERS, start, DAYS - 0.01, bursts=BURSTS, burst_orders=BURST)
    minutes = Counter(created_ms(order) // 60_000 for order in given)
    assert sum(sorted(minutes.values())[-2 * BURSTS :]) >= BURSTS * BURST, "a burst is in two minutes of the clock"
    with WalmartApi(given) as api:
        yield api, given


@pytest.fixture(scope="module")
def sent(kafka, month, tmp_path_factory) -> Iterator[dict[str, Future[Fetch]]]:
    """The month on a topic, fetched at once, and on two others, by runs of which 20 were killed."""
    now = datetime.now(timezone.utc)
    # The last day is still to come, so that midnight does not matter.
    dates = {"start_date": f"{now - timedelta(days=DAYS + 2):%Y%m%d}", "end_date": f"{now + timedelta(days=2):%Y%m%d}"}

    def scenario(case: str) -> Fetch:
        fetch = Fetch(kafka, month[0], tmp_path_factory.mktemp("month"), dates)
        CASES[case](fetch)
        return fetch

    yield from side_by_side(scenario, CASES)


def at_once(fetch: Fetch) -> None:
    """One run that nothing happens to."""
    report = fetch.run(window_orders=4_000)
    assert (report.status, report.rows_read, report.rows_written) == ("complete", ORDERS, ORDERS)
    assert report.details["pages_repeated"] == 0


def killed(fetch: Fetch, hand: int) -> None:
    """Runs that are killed at a step of a window, or some time after they began or sent one; half of the moments."""
    moments = [*(f"{place}:{count}" for count in COUNTS for place in PLACES), *range(TIMES)]
    assert len(moments) == 20
    dice = seeded("moments")
    chosen = moments[hand::2]
    dice.shuffle(chosen)
    for moment in chosen:
        if isinstance(moment, str):
            fetch.kill(moment)
            continue
        with fetch.worker() as child:
            if moment % 4 < 2:
                child.wait_for("sent a window")
            time.sleep(dice.uniform(0, 0.5))
            assert child.is_running, child.said[-3000:]
    resume(fetch)


def resume(fetch: Fetch) -> None:
    """The run that goes to the end."""
    report = fetch.work().report
    assert report["status"] == "complete"
    assert report["details"]["resumed_from"]
    assert 0 < report["rows_written"] < ORDERS, "What was sent before is not sent again"


CASES = {
    "killed at ten moments": partial(killed, hand=0),
    "killed at ten others": partial(killed, hand=1),
    "at once": at_once,
}


@pytest.mark.parametrize(("key", "hashed"), [(b"21", -973932308), (b"foobar", -790332482), (b"abc", 479470107)])
def test_the_oracle_of_places_hashes_as_java_does(key, hashed) -> None:
    assert murmur2(key) == hashed % 2**32


@pytest.mark.parametrize("case", CASES)
def test_walmart_to_kafka_sends_a_month_with_bursts_once(sent, month, case) -> None:
    fetch = sent[case].result()
    fetch.assert_exact(month[1])
    fetch.assert_behaved()
    assert fetch.api.most_at_once > 1
