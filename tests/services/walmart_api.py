"""A look-alike of Walmart's Marketplace API (tokens and orders) with its quirks, in threads of this process.

    with WalmartApi(orders(1_000, start), faults=[Fault("throttled", on=3)], token_calls=50) as api:
        ...                                  # a client with api.url and api.token
        assert not api.violations            # it did nothing that the API's documents forbid
        assert [call.status for call in api.requests if call.fault] == [429]

Faults are tried in the order they were scripted; the first that claims a request happens to it. What is known from
measurements and public threads is copied; what nobody knows (the order within a page, precision below a second) is
what seems likeliest: ascending, and milliseconds.
"""
# ruff: noqa: T201 - a command line speaks to its user

from __future__ import annotations

import argparse
import base64
import json
import re
import secrets
import signal
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import parse_qsl

from .walmart_faults import Call, Endpoint, Fault, RateLimit, Reply, Shape, come_again, error, errors
from .walmart_http import WalmartServer
from .walmart_orders import DAY_MS, NODES, milliseconds, orders
from .walmart_shelf import By, Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from email.message import Message

    from typing_extensions import Self

CLIENT_ID = "client"
CLIENT_SECRET = "client-secret"
PREFIX = "/v3"
MOST_ORDERS = 200
USUAL_ORDERS = 100
# Raw in every cursor: a client that decodes and encodes it again sends something else.
CURSOR_MARK = "AoE/+%2B"
CURSOR_END = b"\xfb\xff"
CURSOR = re.compile(rf"(?:^|&)cursor={re.escape(CURSOR_MARK)}([A-Za-z0-9+/]+=*)$")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{3})?(Z|[+-]\d\d:\d\d)")
LAST_CURSOR: dict[str, dict[str, Any]] = {"null": {"nextCursor": None}, "empty": {"nextCursor": ""}, "absent": {}}


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass(frozen=True)
class Search:
    """What a first call asks for and each cursor repeats."""

    by: By
    begin: int
    end: int
    node: str
    limit: int
    offset: int = 0

    def cursor(self, offset: int) -> str:
        """The query string of the page from `offset`, to be appended to the path as it is."""
        words = [self.by, self.begin, self.end, self.node, self.limit, offset]
        hidden = base64.b64encode(b"|".join([*(str(word).encode() for word in words), CURSOR_END])).decode()
        place = f"hasMoreElements=true&soIndex={offset + 1}&poIndex={offset}&sellerId=4711&shipNodeType={self.node}"
        dates = f"{self.by}StartDate={_iso(self.begin)}&{self.by}EndDate={_iso(self.end)}"
        return f"?limit={self.limit}&{place}&{dates}&cursor={CURSOR_MARK}{hidden}"

    @classmethod
    def from_cursor(cls, query: str) -> Search:
        """The search of a page, from a cursor that came back as it was given."""
        found = CURSOR.search(query)
        try:
            words = base64.b64decode(found[1] if found else "", validate=True).split(b"|")
            by, begin, end, node, limit, offset = words if words.pop() == CURSOR_END else ()
        except ValueError:
            _refuse("cursor", "The cursor is not one of ours")
        return cls(by.decode(), int(begin), int(end), node.decode(), int(limit), int(offset))


class WalmartApi:
    """The API at `url`, for a client with `token` (Base64 of `client_id:client_secret`); harmless until scripted.

    - `token_seconds`, `token_calls`: how long a token lives, as is told, and after how many calls it ends untold.
    - `empty`: what a search without a result is: 404, 200 with an empty list, or each in turn.
    - `cap`: orders of one search beyond it never come, though `totalCount` knows of them.
    - `horizon_days`: an older `createdStartDate` is quietly moved there; None: as old as you like.
    - `last_cursor`: how the last page says that it is. `bare_elements`: `list.elements` is the array.
    - `lone_object`: a page of one order has the order where the array is due.
    - `rate`: the bucket of all calls for orders. `seconds`: how long each takes.
    """

    def __init__(
        self,
        orders: Iterable[Mapping[str, Any]] = (),
        *,
        faults: Iterable[Fault] = (),
        client_id: str = CLIENT_ID,
        client_secret: str = CLIENT_SECRET,
        token_seconds: float = 900,
        token_calls: int | None = None,
        empty: Literal["404", "list", "mixed"] = "404",
        cap: int = 10_000,
        horizon_days: int | None = 180,
        last_cursor: Literal["null", "empty", "absent"] = "null",
        bare_elements: bool = False,
        lone_object: bool = False,
        rate: RateLimit | None = None,
        seconds: float = 0,
        port: int = 0,
    ) -> None:
        self.token = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self.client_id, self.client_secret = client_id, client_secret
        self.token_seconds, self.token_calls = token_seconds, token_calls
        self.empty, self.cap, self.horizon_days = empty, cap, horizon_days
        self.last_cursor, self.bare_elements, self.lone_object = last_cursor, bare_elements, lone_object
        self.rate, self.seconds = rate, seconds
        self.shelf = Shelf(orders)
        self.requests: list[Call] = []
        self.violations: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._faults = list(faults)
        self._tokens: dict[str, tuple[float, int]] = {}
        self._correlation_ids: set[str] = set()
        self._lock = threading.Lock()
        self._server = WalmartServer(port, self.answer)

    @property
    def url(self) -> str:
        """What clients are given as `base_url`."""
        return f"http://127.0.0.1:{self._server.server_port}{PREFIX}"

    def calls(self, endpoint: Endpoint) -> list[Call]:
        """The requests to one endpoint so far."""
        with self._lock:
            return [call for call in self.requests if call.endpoint == endpoint]

    def script(self, *faults: Fault) -> None:
        """Add faults."""
        with self._lock:
            self._faults += faults

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def put(self, *orders: Mapping[str, Any]) -> None:
        """Add orders, or change those that are there."""
        for order in orders:
            self.shelf.put(order)

    def revoke(self) -> None:
        """Make all tokens worthless that were given so far."""
        with self._lock:
            self._tokens.clear()

    def start(self) -> Self:
        """Answer from now on."""
        self._server.start()
        return self

    def close(self) -> None:
        """Hang up on everybody."""
        self._server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, method: str, target: str, headers: Message, body: bytes) -> tuple[Reply, Fault | None]:
        """The reply to a request, and the fault that shall happen to it on its way."""
        path, _, query = target.partition("?")
        endpoint: Endpoint = "token" if path == f"{PREFIX}/token" else "order" if path.count("/") > 2 else "orders"
        begun = time.monotonic()
        with self._lock:
            token = headers["WM_SEC.ACCESS_TOKEN"]
            call = Call(len(self.requests) + 1, endpoint, path, query, time.time(), token)
            self.requests.append(call)
            fault = next((fault for fault in self._faults if fault.claims(call)), None)
            call.fault = fault.kind if fault else None
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.seconds + (fault.seconds if fault and fault.kind == "slow" else 0))
            reply = self._reply(method, call, headers, body, fault)
        finally:
            with self._lock:
                self._at_once -= 1
        call.seconds = time.monotonic() - begun
        call.status = 0 if fault and fault.kind == "reset" else reply.status
        return reply, fault

    def _reply(self, method: str, call: Call, headers: Message, body: bytes, fault: Fault | None) -> Reply:
        self._look_at(call, headers)
        try:
            _scripted(fault)
            if call.endpoint == "token":
                return self._give_token(headers, body) if method == "POST" else _no_such_call(call)
            if method != "GET" or not re.fullmatch(rf"{PREFIX}/orders(?:/\w+)?", call.path):
                return _no_such_call(call)
            told = self._admit(call, headers, fault)
            found = self._one(call.path) if call.endpoint == "order" else self._page(call, fault)
            return replace(found, headers=told)
        except RefusedError as refused:
            return refused.reply

    def _admit(self, call: Call, headers: Message, fault: Fault | None) -> dict[str, str]:
        """Let a call for orders in; the headers that tell how many more may come."""
        if fault and fault.kind == "expired":
            self._tokens.pop(call.token or "", None)
        if not self._is_good(call.token):
            text = "Unauthorized token or incorrect authorization header"
            raise RefusedError(error(401, "UNAUTHORIZED.GMP_GATEWAY_API", text))
        if not headers["WM_QOS.CORRELATION_ID"] or not headers["WM_SVC.NAME"]:
            raise RefusedError(_header_is_missing("nested"))
        is_granted, told = self.rate.take() if self.rate else (True, {})
        if not is_granted:
            raise RefusedError(_throttled(told))
        return told

    def _look_at(self, call: Call, headers: Message) -> None:
        """Note what the API's documents forbid, or what works by luck only."""
        given = headers["WM_QOS.CORRELATION_ID"] or ""
        with self._lock:
            try:
                uuid.UUID(given)
            except ValueError:
                self.violations.append(f"call {call.number}: the correlation id '{given}' is no UUID")
            if given in self._correlation_ids:
                self.violations.append(f"call {call.number}: the correlation id '{given}' was used before")
            self._correlation_ids.add(given)
            if headers["WM_SVC.NAME"] != "Walmart Marketplace":
                self.violations.append(f"call {call.number}: WM_SVC.NAME is '{headers['WM_SVC.NAME']}'")
            if "application/json" not in (headers["Accept"] or ""):
                self.violations.append(f"call {call.number}: Accept is '{headers['Accept']}'")
            if "nextCursor" in call.parameters:
                self.violations.append(f"call {call.number}: the cursor is given as a parameter")
            if call.has_cursor and not _is_as_given(call.query):
                self.violations.append(f"call {call.number}: the cursor is not as it was given")

    def _give_token(self, headers: Message, body: bytes) -> Reply:
        if headers["Authorization"] != f"Basic {self.token}":
            return error(400, "INVALID_TOKEN.GMP_GATEWAY_API", "Client id or secret is wrong", "flat")
        if dict(parse_qsl(body.decode())) != {"grant_type": "client_credentials"}:
            return error(400, "INVALID_REQUEST.GMP_GATEWAY_API", "grant_type is wrong", "flat")
        if not headers["WM_SVC.NAME"] or not headers["WM_QOS.CORRELATION_ID"]:
            return _header_is_missing("flat")
        token = secrets.token_urlsafe(64)
        with self._lock:
            self._tokens[token] = (time.monotonic() + self.token_seconds, self.token_calls or 1 << 62)
        given = {"access_token": token, "token_type": "Bearer", "expires_in": int(self.token_seconds)}
        if "application/json" in (headers["Accept"] or ""):
            return Reply(200, json.dumps(given).encode())
        fields = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
        return Reply(200, f"<OAuthTokenDTO>{fields}</OAuthTokenDTO>".encode(), "application/xml")

    def _is_good(self, token: str | None) -> bool:
        with self._lock:
            until, calls = self._tokens.get(token or "", (0.0, 0))
            if calls < 1 or time.monotonic() > until:
                return False
            self._tokens[token or ""] = (until, calls - 1)
            return True

    def _one(self, path: str) -> Reply:
        body = self.shelf.body(path.rpartition("/")[2])
        return Reply(200, b'{"order":%b}' % body) if body else _nothing()

    def _page(self, call: Call, fault: Fault | None) -> Reply:
        search = self._search(call)
        kind = fault.kind if fault else None
        if kind == "page_one_again":
            search = replace(search, offset=0)
        left = max(0, min(search.limit, self.cap - search.offset))
        where = (search.by, search.node, search.begin, search.end)
        total, page = self.shelf.find(*where, search.offset, left)
        if total == 0 and self._answers_404(call):
            return _nothing()
        following = search.offset + len(page)
        if page and kind in ("shown_twice", "swapped"):
            before = max(0, search.offset - 1)
            page = [*self.shelf.find(*where, before, 1)[1], *(page[:-1] if kind == "swapped" else page)]
        elif kind == "skipped":
            page = page[1:]
        elif kind == "part_and_errors":
            page = page[: len(page) // 2]
        elif kind == "list_errors":
            total, page, following = 0, [], 0
        has_more = following < min(total, self.cap)
        last = LAST_CURSOR[self.last_cursor]
        meta = {"totalCount": total, "limit": search.limit}
        meta |= {"nextCursor": search.cursor(following)} if has_more else last
        call.served = len(page)
        return self._listed(meta, page, is_broken=kind in ("list_errors", "part_and_errors"))

    def _listed(self, meta: dict[str, Any], page: list[bytes], *, is_broken: bool) -> Reply:
        found = page[0] if self.lone_object and len(page) == 1 else b"[%b]" % b",".join(page)
        elements = found if self.bare_elements else b'{"order":%b}' % found
        said = json.dumps(errors("SYSTEM_ERROR.GMP_ORDER_API", "Some orders could not be read")).encode()
        more = b',"errors":%b' % said if is_broken else b""
        return Reply(200, b'{"list":{"meta":%b,"elements":%b%b}}' % (json.dumps(meta).encode(), elements, more))

    def _search(self, call: Call) -> Search:
        asked = call.parameters
        if "nextCursor" in asked:
            return replace(Search.from_cursor(asked["nextCursor"]), offset=0)
        if "cursor" in asked:
            return Search.from_cursor(call.query)
        limit = asked.get("limit", str(USUAL_ORDERS))
        if not limit.isdecimal() or not 1 <= int(limit) <= MOST_ORDERS:
            _refuse("limit", f"limit is from 1 to {MOST_ORDERS}")
        node = asked.get("shipNodeType", NODES[0])
        if node not in NODES:
            _refuse("shipNodeType", f"shipNodeType is one of {', '.join(NODES)}")
        by: By = "lastModified" if any(name.startswith("lastModified") for name in asked) else "created"
        if by == "lastModified" and {"createdStartDate", "createdEndDate"} & set(asked):
            _refuse(by, "Ask by one kind of date")
        now = milliseconds(datetime.now(timezone.utc))
        begin = _parsed(asked, f"{by}StartDate", now - 7 * DAY_MS)
        end = _parsed(asked, f"{by}EndDate", now)
        if by == "created" and self.horizon_days is not None:
            begin = max(begin, now - self.horizon_days * DAY_MS)
        return Search(by, begin, end, node, int(limit))

    def _answers_404(self, call: Call) -> bool:
        return self.empty == "404" or (self.empty == "mixed" and call.number % 2 == 0)


def _scripted(fault: Fault | None) -> None:
    """Refuse the call if that is what the script says."""
    if fault and fault.kind == "error":
        raise RefusedError(error(fault.status, "SYSTEM_ERROR.GMP_ORDER_API", "Scripted by a test", fault.shape))
    if fault and fault.kind == "throttled":
        raise RefusedError(_throttled(come_again(fault.says, fault.seconds) | {"X-Current-Token-Count": "0"}))


def _refuse(name: str, why: str) -> NoReturn:
    """Refuse a parameter."""
    raise RefusedError(error(400, "INVALID_REQUEST_PARAM.GMP_ORDER_API", why, name=name))


def _is_as_given(query: str) -> bool:
    """Whether a cursor came back unchanged."""
    try:
        return bool(Search.from_cursor(query))
    except RefusedError:
        return False


def _header_is_missing(shape: Shape) -> Reply:
    return error(400, "INVALID_REQUEST_HEADER.GMP_GATEWAY_API", "A header that is required is missing", shape)


def _nothing() -> Reply:
    return error(404, "CONTENT_NOT_FOUND.GMP_ORDER_API", "No order was found")


def _throttled(headers: dict[str, str]) -> Reply:
    return error(429, "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API", "Too many calls", headers=headers)


def _no_such_call(call: Call) -> Reply:
    return error(404, "NOT_FOUND.GMP_GATEWAY_API", f"There is no {call.path}", "xml")


def _iso(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant // 1000, timezone.utc):%Y-%m-%dT%H:%M:%S}.{instant % 1000:03}Z"


def _parsed(asked: Mapping[str, str], name: str, otherwise: int) -> int:
    """Milliseconds of a date parameter. A `+` that was not percent-encoded arrives as a blank, and is refused."""
    text = asked.get(name)
    if text is None:
        return otherwise
    instant = INSTANT.fullmatch(text)
    try:
        if DATE.fullmatch(text):
            return milliseconds(datetime.fromisoformat(text).replace(tzinfo=timezone.utc))
        if instant:
            zone = instant[3].replace("Z", "+00:00")
            return milliseconds(datetime.fromisoformat(f"{instant[1]}{instant[2] or ''}{zone}"))
    except ValueError:
        pass
    _refuse(name, f"'{text}' is no date")


def main() -> None:
    """Serve made-up orders until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.services.walmart_api", description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000, metavar="N", help="how many")
    parser.add_argument("--start", type=datetime.fromisoformat, metavar="DAY", help="of the first (30 days ago); UTC")
    parser.add_argument("--days", type=float, default=30, help="over which they are created (30)")
    parser.add_argument("--bursts", type=int, default=0, metavar="N", help="of 5,000 orders within one minute")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; any free one if not given")
    parser.add_argument("--seconds", type=float, default=0, help="that each answer takes (0)")
    chosen = parser.parse_args()
    start = (
        chosen.start.replace(tzinfo=timezone.utc) if chosen.start else datetime.now(timezone.utc) - timedelta(days=30)
    )
    made = orders(chosen.orders, start, chosen.days, bursts=chosen.bursts)
    with WalmartApi(made, port=chosen.port, seconds=chosen.seconds) as api:
        print(f"export WALMART_BASE_URL={api.url}\nexport WALMART_TOKEN={api.token}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
