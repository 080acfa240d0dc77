"""What can go wrong with Walmart's API, as data that a test scripts, and what its errors look like."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable

Endpoint = Literal["token", "orders", "order"]
Shape = Literal["nested", "flat", "xml", "empty"]
Says = Literal["retry_after", "epoch_ms", "iso", "nothing"]
Kind = Literal[
    "error",  # `status` with an error body of `shape`
    "throttled",  # 429 that `says` when to come again, which is in `seconds`
    "expired",  # 401; the token that was used is worth nothing from now on
    "slow",  # answers after `seconds`
    "reset",  # the connection is reset before an answer
    "cut_body",  # half of the body, then the connection is closed
    "cut_json",  # half of the body, and content-length agrees
    "list_errors",  # 200 with list.errors that else looks like an empty result
    "part_and_errors",  # 200 with list.errors and half of the orders
    "page_one_again",  # a cursor is answered with the first page
    "shown_twice",  # the last order of the page before comes again, as well
    "swapped",  # the last order of the page before comes again, and another stays out
    "skipped",  # an order of the page stays out
]

JSON = "application/json;charset=UTF-8"
XML = "application/xml;charset=UTF-8"


@dataclass
class Call:
    """A request as it came in: `query` as the client wrote it; `status` 0 until, and unless, it is answered."""

    number: int
    endpoint: Endpoint
    path: str
    query: str
    time: float
    token: str | None = field(default=None, repr=False)
    status: int = 0
    seconds: float = 0
    fault: Kind | None = None
    served: int = 0

    @property
    def parameters(self) -> dict[str, str]:
        """The query, decoded."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def has_cursor(self) -> bool:
        """Whether this asks for a later page."""
        return "cursor" in self.parameters


@dataclass
class Fault:
    """What shall happen to requests to `endpoint` of which `when` is true.

    It happens to the `on`th of them and to one in `every` after it, `times` times; None: it never ends.
    """

    kind: Kind
    on: int = 1
    times: int | None = 1
    every: int = 1
    endpoint: Endpoint = "orders"
    when: Callable[[Call], bool] = lambda _: True
    status: int = 500
    shape: Shape = "nested"
    says: Says = "epoch_ms"
    seconds: float = 0.2
    happened: int = 0
    _matched: int = 0

    def claims(self, call: Call) -> bool:
        """Whether this fault happens to this call; counts it if so."""
        if call.endpoint != self.endpoint or self.happened == self.times or not self.when(call):
            return False
        if self.kind == "page_one_again" and not call.has_cursor:
            return False
        self._matched += 1
        if self._matched < self.on or (self._matched - self.on) % self.every:
            return False
        self.happened += 1
        return True


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class RateLimit:
    """A bucket of `capacity` calls that fills by `per_second`; an empty one answers 429 and `says` until when."""

    capacity: int
    per_second: float
    says: Says = "epoch_ms"

    def __post_init__(self) -> None:
        self._left = float(self.capacity)
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> tuple[bool, dict[str, str]]:
        """Whether this call may go on, and the headers that tell the client how it stands."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self.capacity, self._left + (now - self._filled) * self.per_second)
            self._filled = now
            is_granted = self._left >= 1
            if is_granted:
                self._left -= 1
            count = {"X-Current-Token-Count": str(int(self._left))}
            wait = max(0.0, (math.floor(self._left) + 1 - self._left) / self.per_second)
        return is_granted, count | come_again("epoch_ms" if is_granted else self.says, wait)


def come_again(says: Says, seconds: float) -> dict[str, str]:
    """The header by which a 429 tells when the next call will be answered."""
    at = time.time() + seconds
    if says == "retry_after":
        return {"Retry-After": str(math.ceil(seconds))}
    if says == "epoch_ms":
        return {"X-Next-Replenishment-Time": str(math.ceil(at * 1000))}
    if says == "iso":
        instant = datetime.fromtimestamp(math.ceil(at * 1000) / 1000, timezone.utc)
        return {"X-Next-Replenishment-Time": instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return {}


def error(
    status: int, code: str, text: str, shape: Shape = "nested", headers: dict[str, str] | None = None, name: str = ""
) -> Reply:
    """An error in one of the shapes that Walmart's gateways and services have."""
    headers = headers or {}
    if shape == "empty":
        return Reply(status, headers=headers)
    if shape == "xml":
        body = (
            '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><ns2:errors xmlns:ns2="http://walmart.com/">'
            f"<ns2:error><ns2:code>{code}</ns2:code><ns2:description>{text}</ns2:description>"
            "<ns2:severity>ERROR</ns2:severity><ns2:category>DATA</ns2:category></ns2:error></ns2:errors>"
        )
        return Reply(status, body.encode(), XML, headers)
    return Reply(status, json.dumps({"errors": errors(code, text, shape, name)}).encode(), JSON, headers)


def errors(code: str, text: str, shape: Shape = "nested", name: str = "") -> object:
    """The value of `errors`, which is a list here and an object with a list there."""
    severity = "INFO" if code.startswith("CONTENT_NOT_FOUND") else "ERROR"
    if shape == "flat":
        return [{"code": code, "message": text, "category": "DATA", "severity": severity, "field": name}]
    about = {"info": text, "severity": severity, "category": "DATA", "causes": [], "errorIdentifiers": {}}
    return {"error": [{"code": code, "field": name, "description": text, **about}]}
