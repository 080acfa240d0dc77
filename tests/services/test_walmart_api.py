"""The look-alike of Walmart's API has the quirks that the product's tests build on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection, HTTPException, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from tests.services.s3 import REPOSITORY
from tests.services.walmart_faults import Call, Fault, RateLimit
from tests.services.walmart_orders import (
    NODES,
    created_ms,
    milliseconds,
    modified_ms,
    node_of,
    order,
    order_ids,
    orders,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.walmart_api import WalmartApi

NOW = datetime.now(timezone.utc).replace(microsecond=0)
START = NOW - timedelta(days=10)
FEW = [order(number, START + timedelta(seconds=number), node=NODES[0], modified=START) for number in range(450)]


class Client:
    """Asks as the documents say, and leaves nothing out."""

    def __init__(self, api: WalmartApi) -> None:
        self.api = api
        self.connection = HTTPConnection(urlsplit(api.url).netloc, timeout=10)
        self.access_token: str | None = None

    def ask(self, target: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and parsed body of the reply."""
        usual = {
            "WM_SVC.NAME": "Walmart Marketplace",
            "WM_QOS.CORRELATION_ID": str(uuid.uuid4()),
            "Accept": "application/json",
            **({"WM_SEC.ACCESS_TOKEN": self.access_token} if self.access_token else {}),
        }
        given = usual | {name.replace("__", "."): value for name, value in headers.items()}
        self.connection.request(method, f"/v3{target}", body, {name: value for name, value in given.items() if value})
        with self.connection.getresponse() as reply:
            text = reply.read()
            is_json = "json" in (reply.headers["content-type"] or "")
            return reply.status, reply.headers, json.loads(text) if is_json else text

    def log_in(self, **headers: str) -> tuple[int, Any, Any]:
        """Get a token, and keep it."""
        form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {self.api.token}"}
        reply = self.ask("/token", "POST", "grant_type=client_credentials", **(form | headers))
        if reply[0] == 200 and isinstance(reply[2], dict):
            self.access_token = reply[2]["access_token"]
        return reply

    def search(self, begin: object = START, end: object = NOW, **more: object) -> tuple[int, Any, Any]:
        """The first page of a search."""
        dates = {"createdStartDate": said(begin), "createdEndDate": said(end), "limit": 200}
        return self.ask(f"/orders?{urlencode(dates | more)}")

    def pages(self, **asked: object) -> Iterator[list[dict]]:
        """The orders of every page."""
        status, _, page = self.search(**asked)
        while True:
            assert status == 200, page
            yield page["list"]["elements"]["order"]
            cursor = page["list"]["meta"].get("nextCursor")
            if not cursor:
                return
            status, _, page = self.ask(f"/orders{cursor}")

    def found(self, **asked: object) -> list[dict]:
        """The orders of all pages."""
        return [one for page in self.pages(**asked) for one in page]


def said(instant: object) -> str:
    """A date as a parameter."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}" if isinstance(instant, datetime) else str(instant)


@pytest.fixture
def client(walmart_api):
    """Makes a client that is logged in, of an API with these orders and quirks."""
    made = []

    def make(documents=FEW, **quirks) -> Client:
        made.append(Client(walmart_api(documents, **quirks)))
        assert made[-1].log_in()[0] == 200
        return made[-1]

    yield make
    for one in made:
        one.connection.close()


def has_cursor(call: Call) -> bool:
    return call.has_cursor


def test_orders_are_made_up_the_same_every_time():
    made = orders(3_000, START, 5, bursts=2, burst_orders=500)
    assert made == orders(3_000, START, 5, bursts=2, burst_orders=500)
    assert len(order_ids(made)) == 3_000
    assert [*map(created_ms, made)] == sorted(map(created_ms, made))
    minutes = Counter(created_ms(one) // 60_000 for one in made)
    assert sum(sorted(minutes.values())[-4:]) >= 1_000, "two bursts, each over the turn of a minute"
    assert len({created_ms(one) for one in made}) < 3_000 - 20, "some share a millisecond"
    assert {node_of(one) for one in made} == set(NODES)
    assert {len(one["orderLines"]["orderLine"]) for one in made} == {1, 2, 3}


def test_a_search_gives_each_order_once(client):
    asking = client()
    pages = list(asking.pages())
    assert [len(page) for page in pages] == [200, 200, 50]
    assert [one for page in pages for one in page] == FEW
    assert not asking.api.violations
    assert [(call.endpoint, call.status, call.served) for call in asking.api.requests] == [
        ("token", 200, 0),
        ("orders", 200, 200),
        ("orders", 200, 200),
        ("orders", 200, 50),
    ]


def test_each_node_is_asked_for_and_one_is_usual(client):
    made = orders(300, START, 9)
    asking = client(made)
    for node in NODES:
        expected = order_ids([one for one in made if node_of(one) == node])
        assert order_ids(asking.found(shipNodeType=node)) == expected
        if node == "SellerFulfilled":
            assert order_ids(asking.found()) == expected


def test_both_ends_of_a_window_belong_to_it_to_the_millisecond(client):
    at = milliseconds(START)
    asking = client(
        [order(number, at + extra, node=NODES[0]) for number, extra in enumerate((-1, 0, 500, 1_000, 1_001))]
    )
    assert len(asking.found(begin=START, end=START + timedelta(seconds=1))) == 3
    point = f"{said(START)[:-1]}.500Z"
    assert len(asking.found(begin=point, end=point)) == 1
    assert len(asking.found(begin=START.date(), end=NOW.date())) == 5
    assert len(asking.found(begin=f"{said(START)[:-1]}+00:00")) == 4


def test_a_search_by_the_last_change_sees_changes(client):
    asking = client()
    window = {"lastModifiedStartDate": said(NOW - timedelta(hours=1)), "lastModifiedEndDate": said(NOW), "limit": 200}
    assert asking.ask(f"/orders?{urlencode(window)}")[0] == 404
    changed = order(7, START + timedelta(seconds=7), node=NODES[0], modified=NOW - timedelta(minutes=1), lines=3)
    added = order(1_000, NOW - timedelta(minutes=2), node=NODES[0], modified=NOW - timedelta(minutes=2))
    asking.api.put(changed, added)
    assert asking.ask(f"/orders?{urlencode(window)}")[2]["list"]["elements"]["order"] == [added, changed]
    assert len(asking.found()) == len(FEW) + 1
    assert modified_ms(changed) > modified_ms(added)


def test_a_cursor_works_only_as_it_was_given(client):
    asking = client()
    first = asking.search()[2]["list"]
    cursor = first["meta"]["nextCursor"]
    status, _, again = asking.ask(f"/orders?{urlencode({'nextCursor': cursor})}")
    assert (status, again["list"]) == (200, first)
    for broken in (cursor.replace("%2B", "+"), cursor.replace("+%2B", "%2B%252B"), cursor[:-4], f"{cursor}&limit=100"):
        assert asking.ask(f"/orders{broken}")[0] == 400
    assert [violation.split(": ")[1] for violation in asking.api.violations] == [
        "the cursor is given as a parameter",
        *["the cursor is not as it was given"] * 4,
    ]


@pytest.mark.parametrize(("empty", "statuses"), [("404", {404}), ("list", {200}), ("mixed", {200, 404})])
def test_nothing_found_is_a_404_or_an_empty_list(client, empty, statuses):
    asking = client(empty=empty)
    replies = [asking.search(end=START - timedelta(days=1)) for _ in range(2)]
    assert {status for status, _, _ in replies} == statuses
    for status, _, body in replies:
        if status == 404:
            assert body["errors"]["error"][0]["code"].startswith("CONTENT_NOT_FOUND")
        else:
            assert body["list"]["meta"]["totalCount"] == 0
            assert body["list"]["elements"]["order"] == []


def test_orders_over_the_cap_are_counted_and_never_come(client):
    asking = client(cap=300, last_cursor="absent")
    assert asking.search()[2]["list"]["meta"]["totalCount"] == len(FEW)
    assert asking.found() == FEW[:300]


def test_a_start_beyond_the_horizon_is_moved_quietly(client):
    old, young = order(1, NOW - timedelta(days=181), node=NODES[0]), order(2, NOW - timedelta(days=179), node=NODES[0])
    assert len(client([old, young]).found(begin=NOW - timedelta(days=200))) == 1
    assert len(client([old, young], horizon_days=None).found(begin=NOW - timedelta(days=200))) == 2


def test_one_order_is_had_by_its_id(client):
    asking = client()
    assert asking.ask(f"/orders/{FEW[3]['purchaseOrderId']}")[2] == {"order": FEW[3]}
    assert asking.ask("/orders/1")[0] == 404


def test_pages_come_in_other_shapes_where_asked(client):
    bare = client(bare_elements=True).search()[2]["list"]
    assert bare["elements"] == FEW[:200]
    lone = client(FEW[:1], lone_object=True, last_cursor="empty").search()[2]["list"]
    assert (lone["elements"], lone["meta"]["nextCursor"]) == ({"order": FEW[0]}, "")


def test_a_token_needs_the_right_words(client):
    asking = client()
    assert asking.log_in(Authorization="Basic wrong")[0] == 400
    assert asking.log_in(WM_SVC__NAME="")[0] == 400
    assert asking.log_in(WM_QOS__CORRELATION_ID="")[0] == 400
    assert asking.ask("/token", "POST", "grant_type=password", Authorization=f"Basic {asking.api.token}")[0] == 400
    status, headers, body = asking.log_in(Accept="*/*")
    assert (status, headers["content-type"], body[:15]) == (200, "application/xml", b"<OAuthTokenDTO>")


def test_a_correlation_id_is_a_uuid_used_once(client):
    asking = client()
    used = str(uuid.uuid4())
    for given in (used, used, "correlation_id_1"):
        assert asking.search(limit=1)[0] == 200
        asking.ask("/orders?limit=1", WM_QOS__CORRELATION_ID=given)
    assert len(asking.api.violations) == 2


@pytest.mark.parametrize("asked", [{"limit": 201}, {"limit": 0}, {"begin": "yesterday"}, {"shipNodeType": "Mine"}])
def test_what_the_api_does_not_understand_it_refuses(client, asked):
    status, _, body = client().search(**asked)
    assert (status, body["errors"]["error"][0]["code"]) == (400, "INVALID_REQUEST_PARAM.GMP_ORDER_API")


def test_a_token_ends_after_its_calls_or_its_time_or_when_revoked(client):
    asking = client(token_calls=2)
    assert [asking.search()[0] for _ in range(3)] == [200, 200, 401]
    assert asking.log_in()[2]["expires_in"] == 900
    asking.api.revoke()
    assert asking.search()[0] == 401
    brief = client(token_seconds=0.1)
    time.sleep(0.15)
    assert brief.search()[0] == 401
    scripted = client(faults=[Fault("expired", on=2)])
    assert [scripted.search()[0] for _ in range(3)] == [200, 401, 401]


def test_a_bucket_says_what_is_left_and_when_to_come_again(client):
    asking = client(rate=RateLimit(3, 1))
    replies = [asking.search(limit=1) for _ in range(4)]
    assert [status for status, _, _ in replies] == [200, 200, 200, 429]
    assert [headers["X-Current-Token-Count"] for _, headers, _ in replies] == ["2", "1", "0", "0"]
    time.sleep(max(0, int(replies[3][1]["X-Next-Replenishment-Time"]) / 1000 - time.time()))
    assert asking.search(limit=1)[0] == 200


def test_a_429_tells_the_time_in_four_ways(client):
    asking = client(faults=[Fault("throttled", says=says) for says in ("retry_after", "epoch_ms", "iso", "nothing")])
    begun = time.time()
    told = [asking.search()[1] for _ in range(4)]
    assert told[0]["Retry-After"] == "1"
    assert begun < int(told[1]["X-Next-Replenishment-Time"]) / 1000 < time.time() + 1
    assert datetime.fromisoformat(told[2]["X-Next-Replenishment-Time"].replace("Z", "+00:00")) > NOW
    assert not {"retry-after", "x-next-replenishment-time"} & {name.lower() for name in told[3]}
    assert [call.status for call in asking.api.calls("orders")] == [429] * 4


@pytest.mark.parametrize(
    ("shape", "begin"),
    [("nested", b'{"errors": {"error": ['), ("flat", b'{"errors": ['), ("xml", b"<?xml"), ("empty", b"")],
)
def test_an_error_has_the_shape_that_was_scripted(client, shape, begin):
    status, _, body = client(faults=[Fault("error", status=503, shape=shape)]).search()
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert status == 503
    assert text.startswith(begin)
    assert bool(text) == bool(begin)


@pytest.mark.parametrize(
    ("kind", "raised"),
    [("cut_body", IncompleteRead), ("cut_json", json.JSONDecodeError), ("reset", ConnectionResetError)],
)
def test_a_broken_reply_is_followed_by_a_good_one(client, kind, raised):
    asking = client(faults=[Fault(kind)])
    with pytest.raises(raised) as error:
        asking.search()
    assert not isinstance(error.value, RemoteDisconnected)
    asking.connection.close()
    assert asking.found() == FEW
    assert [call.fault for call in asking.api.requests] == [None, kind, None, None, None]


def test_errors_may_stand_in_a_200(client):
    asking = client(faults=[Fault("list_errors"), Fault("part_and_errors")])
    for count, total in ((0, 0), (100, len(FEW))):
        status, _, body = asking.search()
        assert (status, len(body["list"]["elements"]["order"])) == (200, count)
        assert body["list"]["meta"]["totalCount"] == total
        assert body["list"]["errors"]["error"][0]["severity"] == "ERROR"


@pytest.mark.parametrize(
    ("kind", "rows", "unique"), [("shown_twice", 451, 450), ("swapped", 450, 449), ("skipped", 449, 449)]
)
def test_an_order_changes_page_between_two_calls(client, kind, rows, unique):
    asking = client(faults=[Fault(kind, when=has_cursor)])
    found = asking.found()
    assert (len(found), len(order_ids(found))) == (rows, unique)
    assert asking.found() == FEW


def test_a_page_comes_again(client):
    asking = client(faults=[Fault("page_one_again")])
    pages = list(asking.pages())
    assert pages[0] == pages[1] == FEW[:200]


def test_a_slow_api_answers_many_at_once(client):
    asking = client(faults=[Fault("slow", seconds=0.3, times=None)])
    clients = [Client(asking.api) for _ in range(8)]
    for one in clients:
        one.access_token = asking.access_token
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert {reply[0] for reply in pool.map(Client.search, clients)} == {200}
    assert time.monotonic() - begun < 8 * 0.3, "one after the other"
    assert asking.api.most_at_once == 8
    for one in clients:
        one.connection.close()


def test_faults_come_when_they_are_scripted():
    faults = [Fault("slow", on=3, every=2, times=2), Fault("slow", times=None, endpoint="token")]
    calls = [Call(number, "orders", "/v3/orders", "", 0) for number in range(9)]
    assert [call.number for call in calls if faults[0].claims(call)] == [2, 4]
    assert not any(faults[1].claims(call) for call in calls)


def test_a_closed_api_hangs_up(client):
    asking = client()
    asking.api.close()
    with pytest.raises((OSError, HTTPException)):
        asking.search()


def test_the_command_line_serves_until_it_is_interrupted():
    command = [sys.executable, "-m", "tests.services.walmart_api", "--orders", "20"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url, token = (process.stdout.readline().partition("=")[2].strip() for _ in range(2))
        connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.request("GET", "/v3/orders")
        assert connection.getresponse().status == 401
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert token
