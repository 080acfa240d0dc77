"""A certificate authority of our own and a server certificate for 127.0.0.1, by the `openssl` program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .install import run_tool

if TYPE_CHECKING:
    from pathlib import Path

_SERVER_EXTENSIONS = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = ("-days", "30")


def make_certificates(folder: Path) -> None:
    """Write `ca.pem`, which clients trust, and `server.pem`, the server's key and certificate, into `folder`."""

    def openssl(*arguments: str) -> None:
        run_tool("openssl", *arguments, directory=folder)

    (folder / "server.ext").write_text(_SERVER_EXTENSIONS)
    openssl("req", "-x509", *_NEW_KEY, *_DAYS, "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *_NEW_KEY, "-subj", "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "server.ext")
    openssl("x509", "-req", *_DAYS, "-in", "server.csr", *signing, "-out", "server.crt")
    (folder / "server.pem").write_text((folder / "server.key").read_text() + (folder / "server.crt").read_text())
