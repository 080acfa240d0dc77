"""A small HTTP/1.1 proxy in front of a store; subclasses change requests and replies on their way.

Bodies are streamed both ways. The Host header goes on unchanged, so that a client's signature stays valid. A client may
also name it as its forward proxy (absolute request lines): that is how bucket.host names are tried without a DNS.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from io import BufferedIOBase

CHUNK_BYTES = 256 * 1024
UPSTREAM_SECONDS = 300
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
BODILESS = frozenset({204, 304})


class Relay(BaseHTTPRequestHandler):
    """Sends each request on to `server.upstream` and the reply back."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def relay(self) -> None:
        """Deal with one request; subclasses override this, `sent_headers` or `reply_headers`."""
        with self.asked(self.command, self.target, self.sent_headers(), self.rfile, self.body_bytes) as reply:
            self.answer(reply)

    def do_GET(self) -> None:
        """Called by the base class, as its likes are for the other methods."""
        self.relay()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    @property
    def target(self) -> str:
        """Path and query of the request, as the client wrote them."""
        if self.path.startswith("/"):
            return self.path
        url = urlsplit(self.path)
        return url._replace(scheme="", netloc="").geturl() or "/"

    @property
    def body_bytes(self) -> int:
        """The length of the request's body."""
        return int(self.headers.get("content-length") or 0)

    def sent_headers(self) -> dict[str, str]:
        """The headers for the store: the client's own, lower-case names, less those that end at each hop."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return {name: value for name, value in headers.items() if name not in HOP_BY_HOP and name != "expect"}

    def reply_headers(self, reply: HTTPResponse) -> list[tuple[str, str]]:
        """The headers for the client."""
        return [(name, value) for name, value in reply.getheaders() if name.lower() not in HOP_BY_HOP]

    def last_headers(self, method: str, target: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """What the store gets of `headers`: here a subclass signs."""
        del method, target
        return headers

    @contextlib.contextmanager
    def asked(
        self, method: str, target: str, headers: Mapping[str, str], body: BufferedIOBase, length: int
    ) -> Generator[HTTPResponse, None, None]:
        """The store's reply to a request with `length` bytes of `body`."""
        assert isinstance(self.server, ProxyServer)
        upstream = HTTPConnection(self.server.upstream, timeout=UPSTREAM_SECONDS)
        try:
            upstream.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.last_headers(method, target, headers).items():
                upstream.putheader(name, value)
            upstream.endheaders()
            while length:
                chunk = body.read(min(length, CHUNK_BYTES))
                if not chunk:
                    msg = "The client left in the middle of its request"
                    raise ConnectionAbortedError(msg)
                upstream.send(chunk)
                length -= len(chunk)
            yield upstream.getresponse()
        finally:
            upstream.close()

    def answer(self, reply: HTTPResponse) -> None:
        """Pass the store's reply on to the client."""
        self.send_response_only(reply.status, reply.reason)
        for name, value in self.reply_headers(reply):
            self.send_header(name, value)
        has_body = self.command != "HEAD" and reply.status not in BODILESS
        if has_body and reply.length is None:
            self.send_header("connection", "close")
        self.end_headers()
        if has_body:
            shutil.copyfileobj(reply, self.wfile, CHUNK_BYTES)
            self.close_connection = self.close_connection or bool(reply.length)

    def answer_error(self, status: int, code: str, message: str) -> None:
        """Answer for the store, with an error in its XML."""
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
        self.answer_bytes(status, body.encode(), "application/xml")

    def answer_bytes(self, status: int, body: bytes, content_type: str) -> None:
        """Answer for the store."""
        self.send_response_only(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drop(self) -> None:
        """Close the client's connection without a reply."""
        self.close_connection = True

    def swallow_body(self) -> None:
        """Read the request's body and forget it, so that the client is ready for a reply."""
        left = self.body_bytes
        while left and (chunk := self.rfile.read(min(left, CHUNK_BYTES))):
            left -= len(chunk)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class ProxyServer(ThreadingHTTPServer):
    """Listens on `port` of 127.0.0.1 (0: any free one) in front of `upstream` ("host:port")."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, upstream: str, handler: type[Relay]) -> None:
        self.upstream = upstream
        super().__init__(("127.0.0.1", port), handler)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Serve in a thread of this process."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client or store that went away is what we are here for; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError | HTTPException):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]
