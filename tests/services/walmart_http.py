"""The HTTP/1.1 of the look-alike of Walmart's API: keep-alive, one write per reply, and faults on the wire."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message

    from .walmart_faults import Fault, Reply

    Answer = Callable[[str, str, Message, bytes], tuple[Reply, Fault | None]]

POLL_SECONDS = 0.05
AT_ONCE = struct.pack("ii", 1, 0)


class WalmartServer(ThreadingHTTPServer):
    """Listens on `port` of 127.0.0.1 (0: any free one) and lets `answer` decide."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, answer: Answer) -> None:
        super().__init__(("127.0.0.1", port), _Exchange)
        self.answer = answer
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and hang up on those who are connected."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        for connection in self.connections.copy():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go: that is no error of this server."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    server: WalmartServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        reply, fault = self.server.answer(self.command, self.path, self.headers, body)
        kind = fault.kind if fault else None
        if kind == "reset":
            self._reset()
            return
        half = reply.body[: len(reply.body) // 2]
        self._send(reply, half if kind == "cut_json" else reply.body, half if kind == "cut_body" else None)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _send(self, reply: Reply, body: bytes, sent: bytes | None) -> None:
        """Send a reply with `body`, or no more of it than `sent`."""
        headers = {"Content-Length": str(len(body)), **({"Content-Type": reply.content_type} if body else {})}
        lines = [f"{name}: {value}" for name, value in {**headers, **reply.headers}.items()]
        status = f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}"
        head = "\r\n".join([status, f"Date: {self.date_time_string()}", *lines, "", ""]).encode()
        self.wfile.write(head + (body if sent is None else sent))
        self.close_connection = self.close_connection or sent is not None

    def _reset(self) -> None:
        """Break the connection off, so that the client is told of a reset and not of an end."""
        self.close_connection = True
        self.server.connections.discard(self.connection)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        os.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""
