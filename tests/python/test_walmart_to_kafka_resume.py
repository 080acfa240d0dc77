"""A run of `walmart_to_kafka` that was interrupted is gone on with; one that ended is not; of two the later counts."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.children import side_by_side, wait_until
from tests.python.support.fetches import Fetch, fetching, instant, searches
from tests.services.walmart_faults import Fault
from tests.services.walmart_orders import created_ms, milliseconds, modified_ms, order, orders

from pipeline_core import Stop
from pipeline_core.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.services.walmart_faults import Call

NOW = datetime.now(timezone.utc).replace(microsecond=0)
HALFWAY = NOW - timedelta(hours=20)
MADE = orders(900, NOW - timedelta(hours=40), days=1.6, bursts=1, burst_orders=200)
# Nothing changes while the tests run, however late they begin.
QUIET = range(milliseconds(NOW), milliseconds(NOW + timedelta(hours=4)))
GIVEN = [one for one in MADE if modified_ms(one) not in QUIET]
DATES = {"start_date": f"{NOW - timedelta(days=3):%Y%m%d}", "end_date": f"{NOW + timedelta(days=2):%Y%m%d}"}
SPANS = {"hours": {"hours": 41}, "dates": DATES, "modified": {"hours": 41, "modified": True}}
INTERRUPTIONS = [
    *(("killed", span) for span in SPANS),
    ("stopped", "dates"),
    ("stopped", "modified"),
    ("failed", "hours"),
]


def interrupt(fetch: Fetch, how: str, **span: Any) -> None:
    """End a run in the middle."""
    if how == "killed":
        fetch.kill("after_commit:2", **span)
    elif how == "stopped":
        stop = Stop()
        fetch.api.script(Fault("slow", seconds=2, times=None, when=lambda call: _begins(call) > HALFWAY))
        report = fetch.run(stop=stop, on_progress=lambda stats: stats.rows_written and stop.set(), **span)
        fetch.api.heal()
        assert (report.status, report.reason) == ("stopped", "stop requested")
        assert report.details["complete_up_to"] < f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    else:
        fetch.api.script(Fault("error", status=400, times=None, when=lambda call: _begins(call) > HALFWAY))
        with pytest.raises(SettingsError, match="complete up to"):
            fetch.run(**span)
        fetch.api.heal()


def _begins(call: Call) -> datetime:
    found = call.parameters
    return instant(found.get("createdStartDate") or found["lastModifiedStartDate"])


def asked_since(fetch: Fetch, calls_before: int) -> list[datetime]:
    """Where the searches begin that came after so many."""
    return [_begins(call) for call in searches(fetch.api)[calls_before:]]


def known(given: list[dict[str, Any]], *, modified: bool) -> list[dict[str, Any]]:
    """The orders that a search until now gives."""
    time = modified_ms if modified else created_ms
    return [one for one in given if time(one) < milliseconds(NOW)]


def gone_on_with(fetch: Fetch, span: str, how: str) -> None:
    """An interrupted run is gone on with by the same call."""
    settings = SPANS[span]
    expected = known(GIVEN, modified="modified" in settings)
    interrupt(fetch, how, **settings)
    before, calls = len(fetch.messages()), len(searches(fetch.api))
    assert 0 < before < len(expected)
    report = fetch.run(**settings)
    assert report.status == "complete"
    assert before + report.rows_written == len(expected)
    resumed = instant(report.details["resumed_from"])
    assert min(asked_since(fetch, calls)) == resumed, "What is complete is not asked for again"
    fetch.assert_exact(expected)
    fetch.assert_behaved()


def orders_since(fetch: Fetch) -> None:
    """Orders that came since the interruption arrive with the rest."""
    fetch.kill("after_commit:2", hours=41)
    new = order(9_999, datetime.now(timezone.utc) - timedelta(seconds=2))
    fetch.api.put(new)
    fetch.run(hours=41)
    fetch.assert_exact([*GIVEN, new])


def other_work(fetch: Fetch) -> None:
    """Another range, type, topic or account is another run."""
    interrupt(fetch, "killed", hours=41)
    for other in (
        {"hours": 42},
        DATES,
        {"hours": 41, "ship_node_type": "WFSFulfilled"},
        {"hours": 41, "modified": True},
        {"hours": 41, "account_tag": "second"},
        {"hours": 41, "topic": fetch.kafka.new_topic()},
    ):
        assert fetch.run(**other, window_orders=2_000).details["resumed_from"] is None, other
    assert fetch.run(hours=41).details["resumed_from"], "Nobody else has taken it"


def restarted(fetch: Fetch) -> None:
    """Restarted, the interrupted run is forgotten."""
    fetch.kill("after_commit:2", hours=41)
    before = len(fetch.messages())
    report = fetch.run(hours=41, restart=True)
    assert (report.details["resumed_from"], report.rows_written) == (None, len(GIVEN))
    assert sum(fetch.times_sent().values()) == before + len(GIVEN)


def made_anew(fetch: Fetch, span: str) -> None:
    """A run that ended is made anew by the same call."""
    for times in (1, 2):
        report = fetch.run(window_orders=1_000, **SPANS[span])
        assert (report.details["resumed_from"], report.rows_written) == (None, len(GIVEN))
        assert set(fetch.times_sent().values()) == {times}


def fenced(fetch: Fetch) -> None:
    """A second run of the same work ends the first."""
    fetch.api.seconds = 0.05
    with fetch.worker(concurrency=1, window_orders=60, **DATES) as first:
        first.wait_for("sent a window")
        report = fetch.run(**DATES)
        ended = first.wait(60)
    assert (ended.code, ended.error["kind"]) == (1, "conflict"), ended.err[-2000:]
    assert ended.error["hint"]
    assert report.details["resumed_from"]
    fetch.assert_exact(GIVEN)


def woken(fetch: Fetch) -> None:
    """A frozen run that wakes up sends nothing more."""
    with fetch.worker(fault="before_commit:3:stop", **DATES) as zombie:
        zombie.wait_until_frozen()
        report = fetch.run(**DATES)
        assert report.status == "complete"
        zombie.wake()
        ended = zombie.wait(60)
    assert (ended.code, ended.error["kind"]) == (1, "conflict"), ended.err[-2000:]
    fetch.assert_exact(GIVEN)


def terminated(fetch: Fetch) -> None:
    """SIGTERM ends a run after a whole window."""
    fetch.api.seconds = 0.05
    with fetch.worker(**DATES) as child:
        wait_until(fetch.messages, "There is something", 20)
        child.send(signal.SIGTERM)
        ended = child.wait(20)
    assert ended.code == 143, ended.err[-2000:]
    assert 0 < len(fetch.messages()) < len(GIVEN)
    fetch.api.seconds = 0
    fetch.run(**DATES)
    fetch.assert_exact(GIVEN)


CASES: dict[str, Callable[[Fetch], None]] = {
    "a second run": fenced,
    "other runs between": other_work,
    **{f"{how}, by {span}": partial(gone_on_with, span=span, how=how) for how, span in INTERRUPTIONS},
    "new orders between": orders_since,
    "restarted": restarted,
    "finished, by hours": partial(made_anew, span="hours"),
    "finished, by dates": partial(made_anew, span="dates"),
    "frozen": woken,
    "terminated": terminated,
}


@pytest.fixture(scope="module")
def resumed(kafka, tmp_path_factory) -> Iterator[dict[str, Future[None]]]:
    """How each case went."""
    folder = tmp_path_factory.mktemp("resume")

    def scenario(case: str) -> None:
        with fetching(kafka, folder, GIVEN, {"window_orders": 150}) as fetch:
            CASES[case](fetch)
            fetch.assert_behaved()

    yield from side_by_side(scenario, CASES)


@pytest.mark.parametrize("case", CASES)
def test_walmart_to_kafka_goes_on_with_what_was_interrupted_and_with_nothing_else(resumed, case) -> None:
    resumed[case].result()
