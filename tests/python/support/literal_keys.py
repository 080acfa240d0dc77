"""A front of the S3 server that takes any key as it is, as S3 and OBS do: `a/../b`, `/abs` and `a//b` are names.

The server keeps objects as files and tidies such keys up. Here they become harmless names on their way, and requests
are signed again; keys are listed with `keys`, not through the front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from tests.services.http_proxy import ProxyServer, Relay
from tests.services.s3 import S3
from tests.services.sigv4 import Credentials, signed

if TYPE_CHECKING:
    from typing_extensions import Self

# A name of a file has 255 bytes at most. The last part of a key is marked: `a` and `a/b` can both exist.
PART = 200


def harmless(key: bytes) -> str:
    """The name under which the server keeps a key."""
    text = key.hex()
    parts = [text[at : at + PART] for at in range(0, len(text), PART)]
    return "/".join([*(f"p{part}" for part in parts[:-1]), f"k{parts[-1]}"])


def literal(name: str) -> str:
    """The key that the server keeps under a name."""
    return bytes.fromhex("".join(part[1:] for part in name.split("/"))).decode()


class LiteralKeys(S3):
    """A store before a store, in a thread of this process for as long as a `with`."""

    def __init__(self, s3: S3) -> None:
        relay = type("LiteralRelay", (_Literal,), {"credentials": Credentials(s3.key, s3.secret)})
        proxy = ProxyServer(0, urlsplit(s3.url).netloc, relay)
        super().__init__(proxy.url, s3.key, s3.secret)
        object.__setattr__(self, "_proxy", proxy)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket, sorted."""
        return sorted(key for key in map(literal, super().keys(bucket)) if key.startswith(prefix))

    def __enter__(self) -> Self:
        self._proxy.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()


class _Literal(Relay):
    credentials: Credentials

    @property
    def target(self) -> str:
        path, question, query = super().target.partition("?")
        _, bucket, *key = path.split("/", 2)
        if key and key[0]:
            path = f"/{bucket}/{harmless(unquote_to_bytes(key[0]))}"
        return path + question + query

    def sent_headers(self) -> dict[str, str]:
        return signed(self.command, self.target, super().sent_headers(), self.credentials)
