"""An S3 store that silently ignores `If-None-Match` and `If-Match`, as some real ones do: the case a probe must find.

Drops the headers, signs again, and lets the S3 server behind do the rest; the client's own signature is not checked.
Run as `python -m tests.services.no_preconditions PORT UPSTREAM KEY SECRET`.
"""

from __future__ import annotations

import sys

from .http_proxy import ProxyServer, Relay
from .sigv4 import Credentials, signed

PRECONDITIONS = frozenset({"if-match", "if-none-match"})


class NoPreconditions(Relay):
    """Sends every write on as if it had no condition."""

    credentials: Credentials

    def sent_headers(self) -> dict[str, str]:
        """The client's headers without conditions, signed again."""
        headers = super().sent_headers()
        if self.command in ("PUT", "POST") and PRECONDITIONS & headers.keys():
            headers = {name: value for name, value in headers.items() if name not in PRECONDITIONS}
            return signed(self.command, self.target, headers, self.credentials)
        return headers


def main() -> None:
    """Serve until killed."""
    port, upstream, key, secret = sys.argv[1:]
    NoPreconditions.credentials = Credentials(key, secret)
    ProxyServer(int(port), upstream, NoPreconditions).serve_forever()


if __name__ == "__main__":
    main()
