"""What Walmart's API will not give whole is said loudly, with the time that all is complete up to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import topics
from tests.python.support.children import run, side_by_side
from tests.python.support.fetches import COMMAND, EditedApi, Fetch, fetching, instant, searches
from tests.services.walmart_faults import Fault
from tests.services.walmart_orders import HOUR_MS, NODES, created_ms, milliseconds, order, order_id

from pipeline_core.exceptions import AccessDeniedError, DataLossError, NotFoundError, PipelineError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.services.walmart_api import WalmartApi
    from tests.services.walmart_faults import Call

NOW = datetime.now(timezone.utc).replace(microsecond=0)
BEGIN = milliseconds(NOW) - 3 * HOUR_MS
# From here on the API is of no use.
BREAK = BEGIN + 2 * HOUR_MS
EARLY = [order(number, BEGIN + number * 1_000, node=NODES[0]) for number in range(200)]
LATE = [order(number, BREAK + number * 1_000, node=NODES[0]) for number in range(200, 650)]
ODD = order_id(LATE[300])
ALONE = {"hours": 4, "ship_node_type": NODES[0], "concurrency": 1, "window_orders": 460}
COMPLETE = re.compile(r"complete up to (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)")


def asks_late(call: Call) -> bool:
    """Whether the search is about late orders and nothing else."""
    return milliseconds(instant(call.parameters["createdStartDate"])) > BEGIN + HOUR_MS // 2


def asks_late_pages(call: Call) -> bool:
    """The same, of a page that is not the first."""
    return asks_late(call) and call.has_cursor


def without(field_name: str) -> Callable[[bytes], bytes]:
    """Takes a field from one of the late orders."""
    return lambda body: body.replace(b'"purchaseOrderId":"%b"' % ODD.encode(), field_name.encode())


def uncounted(body: bytes) -> bytes:
    """A page of late orders that does not say how many there are."""
    return re.sub(rb'"totalCount": ?\d+,', b"", body) if order_id(LATE[0]).encode() in body else body


@dataclass
class Case:
    """What goes on going wrong, and the words for it."""

    said: str
    fault: str = ""
    when: Callable[[Call], bool] = asks_late_pages
    edit: Callable[[bytes], bytes] | None = None


FOR_EVER = {
    "list.errors in an empty 200": Case("Some orders could not be read", "list_errors", asks_late),
    "list.errors in a 200 with half of the orders": Case("Some orders could not be read", "part_and_errors", asks_late),
    "a page that comes again": Case("the same page again", "page_one_again"),
    "an order that stays out": Case("promises 450 orders and gives 44", "skipped"),
    "an order in the place of another": Case("promises 450 orders and gives 44", "swapped"),
    "an order without a number": Case("no purchaseOrderId", edit=without('"purchaseOrder":"1"')),
    "an order whose number is null": Case("no purchaseOrderId", edit=without('"purchaseOrderId":null')),
    "an order whose number is empty": Case("no purchaseOrderId", edit=without('"purchaseOrderId":""')),
    "no count": Case("does not say how many", edit=uncounted),
}


@dataclass
class Failed:
    """A fetch that failed, and how."""

    fetch: Fetch
    error: PipelineError
    sent: list[topics.Message]
    again: dict[str, Any] = field(default_factory=dict[str, Any])


@pytest.fixture(scope="module")
def failed(kafka, tmp_path_factory) -> Iterator[dict[str, Future[Failed]]]:
    """The failure of each case, and the report of the run after the API was healed."""
    folder = tmp_path_factory.mktemp("failed")

    def scenario(name: str) -> Failed:
        case = FOR_EVER[name]
        faults = [Fault(case.fault, times=None, when=case.when)] if case.fault else []
        with EditedApi([*EARLY, *LATE], edit=case.edit or bytes, faults=faults) as api:
            fetch = Fetch(kafka, api, folder, ALONE)
            with pytest.raises(DataLossError) as caught:
                fetch.run()
            failed = Failed(fetch, caught.value, fetch.messages())
            api.heal()
            api.edit = bytes
            failed.again = fetch.run().details
            return failed

    yield from side_by_side(scenario, FOR_EVER)


def test_more_orders_of_one_millisecond_than_the_api_gives_are_said_and_nothing_is_sent(
    kafka, walmart_api, tmp_path
) -> None:
    bare = {"orderDate": BEGIN, "shipNode": {"type": NODES[0]}}
    fetch = Fetch(
        kafka, walmart_api([{**bare, "purchaseOrderId": str(10**14 + at)} for at in range(10_001)]), tmp_path, ALONE
    )
    with pytest.raises(DataLossError, match=r"10001 orders.* 10000.*complete up to"):
        fetch.run()
    assert fetch.messages() == []
    assert not [call for call in searches(fetch.api) if call.has_cursor], "Nothing of it is read in vain"


REFUSALS = [(status, shape) for status in (400, 403) for shape in ("nested", "flat", "xml", "empty")]


@pytest.fixture(scope="module")
def refused(kafka, tmp_path_factory, failed) -> Iterator[dict[tuple[int, str], Future[tuple[Fetch, PipelineError]]]]:
    """The error of a fetch whose searches are refused; those that fail more slowly have been begun."""
    assert failed
    folder = tmp_path_factory.mktemp("refused")

    def scenario(case: tuple[int, str]) -> tuple[Fetch, PipelineError]:
        faults = [Fault("error", status=case[0], shape=case[1], times=None)]
        with fetching(kafka, folder, EARLY, ALONE, faults=faults) as fetch:
            with pytest.raises(PipelineError) as caught:
                fetch.run()
            return fetch, caught.value

    yield from side_by_side(scenario, REFUSALS)


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_a_request_that_is_refused_is_not_made_again_and_the_words_are_told(refused, case) -> None:
    fetch, error = refused[case].result()
    assert type(error) is {400: SettingsError, 403: AccessDeniedError}[case[0]]
    assert ("Scripted by a test" in error.message) == (case[1] != "empty")
    assert str(case[0]) in error.message
    assert "complete up to" in error.message
    assert len(fetch.api.requests) == 2
    assert fetch.messages() == []


@pytest.mark.parametrize("status", [400, 401])
def test_credentials_that_are_refused_end_a_run_at_once(kafka, walmart_api, tmp_path, status) -> None:
    api = walmart_api(EARLY, client_secret="another")
    if status == 401:
        api.script(Fault("error", status=401, endpoint="token", times=None))
    fetch = Fetch(kafka, api, tmp_path, ALONE | {"walmart_token": "Y2xpZW50OmNsaWVudC1zZWNyZXQ=", "account_tag": "b"})
    with pytest.raises(AccessDeniedError, match="account b") as caught:
        fetch.run()
    assert "WALMART_TOKEN" in (caught.value.hint or "")
    assert [(call.endpoint, call.status) for call in api.requests] == [("token", status)]


def test_a_token_that_is_refused_again_and_again_ends_a_run(kafka, walmart_api, tmp_path) -> None:
    api = walmart_api(EARLY, faults=[Fault("expired", times=None)])
    with pytest.raises(AccessDeniedError, match="each new token"):
        Fetch(kafka, api, tmp_path, ALONE).run()
    assert len(api.requests) < 40


def test_another_address_is_not_taken_for_an_api_without_orders(kafka, walmart_api, tmp_path) -> None:
    api = walmart_api(EARLY, faults=[Fault("error", status=404, shape="xml", times=None)])
    with pytest.raises(NotFoundError, match="no orders at"):
        Fetch(kafka, api, tmp_path, ALONE).run()
    with pytest.raises(SettingsError, match="no tokens at"):
        Fetch(kafka, api, tmp_path, ALONE | {"base_url": f"{api.url}/nope"}).run()


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("how", ["hours", "dates"])
def test_what_is_older_than_the_api_gives_is_refused_and_nothing_is_asked(
    kafka, walmart_api, tmp_path, how, modified
) -> None:
    api = walmart_api(EARLY)
    old = f"{NOW - timedelta(days=182):%Y%m%d}"
    span = {"hours": 24 * 180 + 1} if how == "hours" else {"start_date": old, "end_date": f"{NOW:%Y%m%d}"}
    fetch = Fetch(kafka, api, tmp_path, span | {"modified": modified})
    with pytest.raises(SettingsError, match="180 days") as caught:
        fetch.run()
    assert re.search(r"Ask for \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ or later", caught.value.hint or "")
    assert api.requests == []
    assert topics.messages(kafka, fetch.topic) == []


def test_what_is_almost_as_old_as_the_api_gives_arrives(kafka, walmart_api, tmp_path) -> None:
    old = order(7, NOW - timedelta(days=179, hours=22))
    fetch = Fetch(kafka, walmart_api([old]), tmp_path, {"hours": 24 * 180 - 1})
    fetch.run()
    fetch.assert_exact([old])


def test_an_order_keeps_every_byte_that_the_api_sent(kafka, tmp_path) -> None:
    given = (
        f'{{ "purchaseOrderId":"17", "orderDate" : {BEGIN},\n\t"a":0.10 , "b":1e2,"c":12345678901234567890.0000000001,'
        '"d":"\\u00f1 ñ \\/ \\"", "a":2, "request_time":"not ours", "e":{ },"f":[ 1,2 ] }'
    )
    page = f'{{"list":{{"meta":{{"totalCount":"1","nextCursor":null}},"elements":{{"order":[{given}]}}}}}}'
    with EditedApi(EARLY[:1], edit=lambda _: page.encode()) as api:
        fetch = Fetch(kafka, api, tmp_path, ALONE)
        fetch.run()
        [message] = topics.messages(kafka, fetch.topic)
    assert message.key == b"17"
    text = (message.value or b"").decode()
    assert re.fullmatch(re.escape(given[:-1].rstrip()) + r',"request_time":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"\}', text), (
        text
    )


def test_an_order_that_is_changed_while_its_pages_are_read_arrives_as_it_is_now(kafka, walmart_api, tmp_path) -> None:
    given = [order(number, BEGIN, modified=BEGIN + number * 1_000, node=NODES[0]) for number in range(450)]
    changed = order(5, BEGIN, modified=NOW - timedelta(minutes=2), node=NODES[0])
    api: WalmartApi = walmart_api(given)

    def change(call: Call) -> bool:
        if call.has_cursor:
            api.put(changed)
        return call.has_cursor

    api.script(Fault("slow", seconds=0, when=change))
    fetch = Fetch(kafka, api, tmp_path, ALONE | {"modified": True})
    report = fetch.run()
    assert report.details["pages_repeated"] > 0
    fetch.assert_exact(given)
    [sent] = [message for message in fetch.messages() if (message.key or b"").decode() == order_id(changed)]
    assert json.loads(sent.value or b"")["orderLines"] == changed["orderLines"]


def test_an_order_that_comes_while_the_pages_of_its_time_are_read_arrives(kafka, walmart_api, tmp_path) -> None:
    api: WalmartApi = walmart_api(LATE)
    more = order(9_999, BEGIN + 1, node=NODES[0])

    def add(call: Call) -> bool:
        if call.has_cursor:
            api.put(more)
        return call.has_cursor

    api.script(Fault("slow", seconds=0, when=add))
    fetch = Fetch(kafka, api, tmp_path, ALONE)
    fetch.run()
    fetch.assert_exact([*LATE, more])


@pytest.mark.parametrize(
    ("changed", "code", "kind"),
    [
        ({"walmart_token": "QTpC"}, 1, "access"),
        ({"hours": 24 * 181}, 2, "settings"),
        ({"walmart_token": ""}, 2, "settings"),
        ({"base_url": "ftp://nowhere"}, 2, "settings"),
    ],
    ids=str,
)
def test_what_walmart_to_kafka_cannot_fetch_is_said_in_one_line(
    kafka, walmart_api, tmp_path, changed, code, kind
) -> None:
    fetch = Fetch(kafka, walmart_api(EARLY), tmp_path)
    ended = run(tmp_path, COMMAND, log_format="json", **{**fetch.settings, **changed})
    assert (ended.code, ended.error["kind"]) == (code, kind), ended.err
    assert "\n" not in ended.error["event"]
    assert ended.error["hint"]


@pytest.mark.parametrize("name", FOR_EVER)
def test_what_does_not_add_up_for_ever_is_said_with_the_time_that_all_is_complete_up_to(failed, name) -> None:
    case, found = FOR_EVER[name], failed[name].result()
    assert case.said in found.error.message
    assert found.error.hint
    complete = COMPLETE.search(found.error.message)
    assert complete, found.error.message
    border = milliseconds(instant(complete[1]))
    assert BEGIN < border <= BREAK
    assert {(message.key or b"").decode() for message in found.sent} == {
        order_id(given) for given in [*EARLY, *LATE] if created_ms(given) < border
    }
    assert len(found.sent) == len(EARLY)
    assert found.again["resumed_from"] == complete[1]
    assert found.again["orders_by_ship_node_type"] == {NODES[0]: len(LATE)}
    found.fetch.assert_exact([*EARLY, *LATE])
    found.fetch.assert_behaved()
