"""A proxy before a store that breaks by script: lost replies, 503s, conflicts, slowness, ignored preconditions.

    with FaultProxy(s3.url) as proxy:
        proxy.lose_reply(method="PUT", times=1)   # the store has the object, the client is not told
        proxy.answer(503, every=5)                # one request in five never reaches the store
        ...                                       # a client at proxy.url
        assert [seen.fault for seen in proxy.seen if seen.fault] == ["lose_reply"]

Faults are tried in the order they were scripted; the first that matches a request happens to it.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from .http_proxy import ProxyServer, Relay
from .no_preconditions import PRECONDITIONS
from .sigv4 import Credentials, signed

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = Literal["lose_request", "lose_reply", "answer", "delay", "strip_preconditions"]
CODES = {
    403: "AccessDenied",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "SlowDown",
    503: "SlowDown",
}


@dataclass
class Fault:
    """What shall happen to requests: those with this method and a path that `path` is found in, one in `every`."""

    kind: Kind
    method: str | None = None
    path: str = ""
    every: int = 1
    times: int | None = None
    status: int = 503
    seconds: float = 0
    happened: int = 0
    _matched: int = 0

    def claims(self, method: str, target: str) -> bool:
        """Whether this fault happens to this request; counts it if so."""
        if self.times is not None and self.happened >= self.times:
            return False
        if self.method not in (None, method) or not re.search(self.path, target):
            return False
        self._matched += 1
        if self._matched % self.every:
            return False
        self.happened += 1
        return True


@dataclass(frozen=True)
class Seen:
    """A request that came through, and the fault that happened to it."""

    method: str
    target: str
    fault: Kind | None


@dataclass
class FaultProxy:
    """Stands at `url` before the store at `store_url`, in a thread of this process; harmless until scripted.

    `credentials` are needed only to strip preconditions, which breaks the client's signature.
    """

    store_url: str
    credentials: Credentials | None = None
    seen: list[Seen] = field(default_factory=list[Seen])
    _faults: list[Fault] = field(default_factory=list[Fault])
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        handler = type("ScriptedRelay", (_FaultyRelay,), {"script": self})
        self._server = ProxyServer(0, urlsplit(self.store_url).netloc, handler)

    @property
    def url(self) -> str:
        """Where clients reach the store through this proxy."""
        return self._server.url

    def lose_request(
        self, method: str | None = None, path: str = "", every: int = 1, times: int | None = None
    ) -> Fault:
        """Close the connection; the store never hears of the request."""
        return self.script(Fault("lose_request", method, path, every, times))

    def lose_reply(self, method: str | None = None, path: str = "", every: int = 1, times: int | None = None) -> Fault:
        """Let the store do it, then close the connection without its reply."""
        return self.script(Fault("lose_reply", method, path, every, times))

    def answer(
        self, status: int, method: str | None = None, path: str = "", every: int = 1, times: int | None = None
    ) -> Fault:
        """Answer `status` (503, 409, 412, …) with S3's error body; the store never hears of the request."""
        return self.script(Fault("answer", method, path, every, times, status=status))

    def delay(
        self, seconds: float, method: str | None = None, path: str = "", every: int = 1, times: int | None = None
    ) -> Fault:
        """Hold the request back for a while, then send it on."""
        return self.script(Fault("delay", method, path, every, times, seconds=seconds))

    def strip_preconditions(self, path: str = "", every: int = 1, times: int | None = None) -> Fault:
        """Send PUTs on without `If-None-Match` and `If-Match`, signed again."""
        if self.credentials is None:
            msg = "Give FaultProxy the store's credentials: a changed request must be signed again"
            raise ValueError(msg)
        return self.script(Fault("strip_preconditions", "PUT", path, every, times))

    def script(self, fault: Fault) -> Fault:
        """Add a fault."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def next_fault(self, method: str, target: str) -> Fault | None:
        """The fault that happens to this request."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.claims(method, target)), None)
            self.seen.append(Seen(method, target, fault.kind if fault else None))
            return fault

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()


class _FaultyRelay(Relay):
    script: FaultProxy
    _is_stripped = False

    def relay(self) -> None:
        fault = self.script.next_fault(self.command, self.target)
        self._is_stripped = fault is not None and fault.kind == "strip_preconditions"
        if fault is None or self._is_stripped:
            super().relay()
        elif fault.kind == "delay":
            time.sleep(fault.seconds)
            super().relay()
        elif fault.kind == "answer":
            self.swallow_body()
            self.answer_error(fault.status, CODES.get(fault.status, "InternalError"), "Scripted by a test")
        elif fault.kind == "lose_reply":
            with self.asked(self.command, self.target, self.sent_headers(), self.rfile, self.body_bytes) as reply:
                reply.read()
            self.drop()
        else:
            self.swallow_body()
            self.drop()

    def sent_headers(self) -> dict[str, str]:
        headers = super().sent_headers()
        if self._is_stripped and self.script.credentials is not None:
            headers = {name: value for name, value in headers.items() if name not in PRECONDITIONS}
            return signed(self.command, self.target, headers, self.script.credentials)
        return headers
