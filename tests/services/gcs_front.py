"""A look-alike of Google Cloud Storage: the XML API, as far as object_store's GCS client speaks it, over an S3 server.

It is not GCS: no server found in the package registries speaks that part of the XML API (fake-gcs-server 1.56 answers
400 to its PUT and `?uploads`). It translates header names and signs for the S3 server, which does the work and keeps
create-only atomic. Access tokens are not checked; a generation is a number made of the content's ETag, so writing the
same bytes again keeps it; other conditions than `x-goog-if-generation-match: 0` are refused (501); of the JSON API
only creating a bucket works.
Run as `python -m tests.services.gcs_front PORT UPSTREAM KEY SECRET`.
"""

from __future__ import annotations

import json
import sys
from io import BytesIO
from typing import TYPE_CHECKING

from .http_proxy import ProxyServer, Relay
from .sigv4 import Credentials, signed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse

IF_GENERATION = "x-goog-if-generation-match"
CREATE_BUCKET = "/storage/v1/b"
RENAMED = {"x-goog-copy-source": "x-amz-copy-source", "x-goog-metadata-directive": "x-amz-metadata-directive"}


class GcsFront(Relay):
    """Answers GCS's XML requests from the S3 server behind."""

    credentials: Credentials

    def relay(self) -> None:
        """Answer one request."""
        headers = self.sent_headers()
        if self.target.split("?")[0] == CREATE_BUCKET and self.command == "POST":
            self.create_bucket(headers)
        elif self.headers.get(IF_GENERATION, "0") != "0":
            self.swallow_body()
            self.answer_error(501, "NotImplemented", "This look-alike of GCS knows only x-goog-if-generation-match: 0")
        elif "if-none-match" in headers and "x-amz-copy-source" in headers:
            self.copy_if_absent(headers)
        else:
            super().relay()

    def sent_headers(self) -> dict[str, str]:
        """The client's headers in the words of S3."""
        headers: dict[str, str] = {}
        for name, value in super().sent_headers().items():
            if name == IF_GENERATION:
                headers["if-none-match"] = "*"
            elif name.startswith("x-goog-meta-"):
                headers[name.replace("x-goog-", "x-amz-", 1)] = value
            elif name in RENAMED or not name.startswith("x-goog-"):
                headers[RENAMED.get(name, name)] = value
        return headers

    def reply_headers(self, reply: HTTPResponse) -> list[tuple[str, str]]:
        """The store's headers in the words of GCS, with a generation."""
        headers = [(name.lower(), value) for name, value in super().reply_headers(reply)]
        etag = dict(headers).get("etag")
        generation = [("x-goog-generation", str(int(etag.strip('"').split("-")[0][:15], 16)))] if etag else []
        return [(name.replace("x-amz-", "x-goog-", 1), value) for name, value in headers] + generation

    def last_headers(self, method: str, target: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Sign as the owner of everything."""
        return signed(method, target, headers, self.credentials)

    def create_bucket(self, headers: Mapping[str, str]) -> None:
        """`POST /storage/v1/b` with `{"name": …}`."""
        name = json.loads(self.rfile.read(self.body_bytes))["name"]
        bare = {"host": headers["host"], "content-length": "0"}
        with self.asked("PUT", f"/{name}", bare, BytesIO(), 0) as reply:
            answer = {"kind": "storage#bucket", "id": name, "name": name}
            self.answer_bytes(reply.status, json.dumps(answer).encode(), "application/json")

    def copy_if_absent(self, headers: Mapping[str, str]) -> None:
        """Copy by reading and writing: the server behind ignores the precondition of a copy, but not of a PUT."""
        source = "/" + headers["x-amz-copy-source"].lstrip("/")
        bare = {"host": headers["host"]}
        with self.asked("GET", source, bare, BytesIO(), 0) as original:
            if original.status != 200:
                self.answer(original)
                return
            length = int(original.getheader("content-length") or 0)
            put = {**bare, "if-none-match": "*", "content-length": str(length)}
            with self.asked("PUT", self.target, put, original, length) as reply:
                if reply.status != 200:
                    self.answer(reply)
                    return
        self.answer_bytes(200, b"<CopyObjectResult/>", "application/xml")


def main() -> None:
    """Serve until killed."""
    port, upstream, key, secret = sys.argv[1:]
    GcsFront.credentials = Credentials(key, secret)
    ProxyServer(int(port), upstream, GcsFront).serve_forever()


if __name__ == "__main__":
    main()
