"""A TCP proxy before MySQL or MariaDB that reads the commands on their way and breaks by script.

    with MysqlProxy(mariadb.url) as proxy:
        lost = proxy.lose_reply("COMMIT", every=3)   # the server has done it, the client is not told
        ...                                          # a client at proxy.url
        assert lost.happened

What a client encrypts is passed on unread. Faults are tried in the order they were scripted; the first that matches
a command happens to it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = Literal["lose_request", "lose_reply", "hold"]
CHUNK_BYTES = 64 * 1024
HEADER_BYTES = 4
# Commands of the protocol; those without a text are named.
TEXTS = {0x03, 0x16}
NAMES = {0x17: "<execute>", 0x1C: "<fetch>", 0x02: "<use>", 0x1F: "<reset>"}
SSL_REQUEST_BYTES = 32
CLIENT_SSL = 0x0800


@dataclass
class Fault:
    """What shall happen to commands that `pattern` is found in, one in `every`."""

    kind: Kind
    pattern: str
    every: int = 1
    times: int | None = None
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
class MysqlProxy:
    """Stands at `url` before the server at `server_url`, in threads of this process; harmless until scripted."""

    server_url: str
    host: str = "127.0.0.1"
    commands: list[str] = field(default_factory=list[str])
    encrypted: int = 0
    _faults: list[Fault] = field(default_factory=list[Fault])
    _sockets: list[socket.socket] = field(default_factory=list[socket.socket])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _held: threading.Event = field(default_factory=threading.Event)
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
                    server = socket.create_connection((parts.hostname or "", parts.port or 3306))
                except OSError:
                    _close(client)
                    continue
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._sockets += [client, server]
                link = _Link(client, server)
                threading.Thread(target=self._to_server, args=(link,), daemon=True).start()
                threading.Thread(target=self._to_client, args=(link,), daemon=True).start()

    def _to_server(self, link: _Link) -> None:
        buffer, is_opaque = b"", False
        with link, contextlib.suppress(OSError):
            while data := link.client.recv(CHUNK_BYTES):
                buffer += data
                while not is_opaque and len(buffer) >= HEADER_BYTES:
                    size = int.from_bytes(buffer[:3], "little") + HEADER_BYTES
                    if len(buffer) < size:
                        break
                    packet, buffer = buffer[:size], buffer[size:]
                    is_opaque = _asks_for_tls(packet)
                    self.encrypted += is_opaque
                    if not self._passes(packet, link):
                        return
                if is_opaque:
                    link.server.sendall(buffer)
                    buffer = b""

    def _passes(self, packet: bytes, link: _Link) -> bool:
        """Send a packet on, unless something happens to it."""
        fault = self._claimed(packet)
        if fault and fault.kind == "lose_request":
            return False
        if fault and fault.kind == "hold":
            self._held.set()
        if self._held.is_set():
            self._closed.wait()
            return False
        if fault:
            link.is_deaf.set()
        link.server.sendall(packet)
        return True

    def _claimed(self, packet: bytes) -> Fault | None:
        is_command = packet[3] == 0 and len(packet) > HEADER_BYTES
        if not is_command or packet[4] not in {*TEXTS, *NAMES}:
            return None
        command = NAMES.get(packet[4]) or packet[5:].decode(errors="replace")
        with self._lock:
            self.commands.append(command)
            return next((fault for fault in self._faults if fault.claims(command)), None)

    def _to_client(self, link: _Link) -> None:
        with link, contextlib.suppress(OSError):
            while data := link.server.recv(CHUNK_BYTES):
                if link.is_deaf.is_set():
                    return
                if self._held.is_set():
                    self._closed.wait()
                    return
                link.client.sendall(data)


@dataclass
class _Link:
    """A client's connection and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    is_deaf: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _close(self.client)
        _close(self.server)


def _asks_for_tls(packet: bytes) -> bool:
    flags = int.from_bytes(packet[4:8], "little")
    is_first = packet[3] == 1
    return is_first and len(packet) == HEADER_BYTES + SSL_REQUEST_BYTES and bool(flags & CLIENT_SSL)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
