"""A TCP proxy before a database that cuts, delays or holds connections by script; subclasses read the protocol.

Faults are tried in the order they were scripted; the first that matches a command happens to it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from typing_extensions import Self

Kind = Literal["lose_request", "lose_reply", "delay", "hold"]
CHUNK_BYTES = 64 * 1024


@dataclass
class Fault:
    """What shall happen to commands that `pattern` is found in, one in `every`."""

    kind: Kind
    pattern: str
    every: int = 1
    times: int | None = None
    seconds: float = 0
    happened: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    _matched: int = 0

    def claims(self, command: str) -> bool:
        """Whether this fault happens to this command; counts it if so."""
        if self.times is not None and self.happened >= self.times:
            return False
        if not re.search(self.pattern, command, re.IGNORECASE):
            return False
        self._matched += 1
        if self._matched % self.every:
            return False
        self.happened += 1
        self.reached.set()
        return True


@dataclass
class Link:
    """A client's connection and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    is_deaf: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _close(self.client)
        _close(self.server)


@dataclass
class CuttingProxy(ABC):
    """Stands at `url` before the server at `server_url`, in threads of this process; harmless until scripted."""

    default_port: ClassVar[int]

    server_url: str
    host: str = "127.0.0.1"
    _read: list[str] = field(default_factory=list[str])
    _faults: list[Fault] = field(default_factory=list[Fault])
    _sockets: list[socket.socket] = field(default_factory=list[socket.socket])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _held: threading.Event = field(default_factory=threading.Event)
    _away: threading.Event = field(default_factory=threading.Event)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        # Closing alone does not wake a thread that waits for a connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    @property
    def url(self) -> str:
        """The server's URL, with the proxy in the server's place."""
        parts = urlsplit(self.server_url)
        login = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{login}@{self.host}:{self._listener.getsockname()[1]}").geturl()

    def url_of(self, database: str) -> str:
        """The URL of another database, through the proxy."""
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    @property
    def happened(self) -> int:
        """How many faults have happened."""
        return sum(fault.happened for fault in self._faults)

    def lose_request(self, pattern: str, every: int = 1, times: int | None = None) -> Fault:
        """The connection is cut before the server gets the command."""
        return self._script(Fault("lose_request", pattern, every, times))

    def lose_reply(self, pattern: str, every: int = 1, times: int | None = None) -> Fault:
        """The connection is cut when the server has answered, and the client is not told."""
        return self._script(Fault("lose_reply", pattern, every, times))

    def delay(self, pattern: str, seconds: float, every: int = 1, times: int | None = None) -> Fault:
        """The server gets the command so much later."""
        return self._script(Fault("delay", pattern, every, times, seconds))

    def hold(self, pattern: str, number: int = 1) -> Fault:
        """From the command of this number on nothing goes through, in either direction; `reached` tells when."""
        return self._script(Fault("hold", pattern, every=number, times=1))

    def heal(self) -> None:
        """No more faults; what is held stays held."""
        with self._lock:
            self._faults.clear()

    def cut(self) -> None:
        """Cut all connections there are."""
        with self._lock:
            found, self._sockets = self._sockets, []
        for one in found:
            _close(one)

    @contextlib.contextmanager
    def away(self) -> Generator[None, None, None]:
        """Cut all connections, and each new one at once."""
        self._away.set()
        self.cut()
        try:
            yield
        finally:
            self._away.clear()

    def _script(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def _accept(self) -> None:
        parts = urlsplit(self.server_url)
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((parts.hostname or "", parts.port or self.default_port))
                except OSError:
                    _close(client)
                    continue
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._sockets += [client, server]
                if self._away.is_set():
                    self.cut()
                link = Link(client, server)
                for pump in (self._to_server, self._to_client):
                    threading.Thread(target=_run, args=(pump, link), daemon=True).start()

    @abstractmethod
    def _to_server(self, link: Link) -> None:
        """Send on what the client sends, all that may be a command with `_passes`; to return is to cut."""

    @abstractmethod
    def _to_client(self, link: Link) -> None:
        """Send on what the server sends, unless it `_is_held` or the link is deaf; to return is to cut."""

    def _passes(self, message: bytes, command: str | None, link: Link) -> bool:
        """Send a message on, unless something happens to the command in it."""
        fault = self._claimed(command)
        if fault and fault.kind == "lose_request":
            return False
        if fault and fault.kind == "hold":
            self._held.set()
        if self._is_held():
            return False
        if fault and fault.kind == "delay":
            time.sleep(fault.seconds)
        if fault and fault.kind == "lose_reply":
            link.is_deaf.set()
        link.server.sendall(message)
        return True

    def _claimed(self, command: str | None) -> Fault | None:
        if command is None:
            return None
        with self._lock:
            self._read.append(command)
            return next((fault for fault in self._faults if fault.claims(command)), None)

    def _is_held(self) -> bool:
        """Whether nothing goes through any more; it says so only when the proxy closes."""
        return self._held.is_set() and self._closed.wait()


def _run(pump: Callable[[Link], None], link: Link) -> None:
    with link, contextlib.suppress(OSError):
        pump(link)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
