"""MongoDB: SecantusDB, which speaks its protocol as a replica set of one and says that it is MongoDB 8.2.

A **look-alike**, for tests only. It is durable (each write is on disk when it is acknowledged) and its change streams
outlive a kill. It is not a measure of speed: a sorted find reads the whole collection, so small ones are for it. Where
it is known to differ from MongoDB:

- a post-image is the document as it is when the event is read, not as the change left it;
- `$changeStreamSplitLargeEvent` splits nothing, and a reply of a stream has as many events as were asked for, be they
  more than the 48 MB that a driver takes;
- a stream that begins before the oldest change, or that is open while its next one is dropped, skips what is missing
  without an error: only `resumeAfter` and `startAfter` end in 286;
- a broken token is a 9, one of another collection a 13; a token together with a time is taken;
- invalid UTF-8 and dates outside the years 1 to 9999 are refused, of two equal keys the last one stays, an undefined
  becomes null, a symbol a string and a DBPointer a document; an array may be an `_id`;
- there are no capped collections.
"""

from __future__ import annotations

import signal
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .install import installed, run_tool
from .process import Endpoint, Server, free_ports, port_answers, temporary_folder
from .tls import make_certificates

if TYPE_CHECKING:
    from pathlib import Path

USER = "pipeline"
PASSWORD = "pipeline-secret"
PACKAGE = "SecantusDB==0.7.0b3"
# MongoDB writes an empty change every ten seconds too: by it the token of an idle stream moves on.
SETTINGS = ("--host=127.0.0.1", "--enable-test-commands", "--noop-heartbeat-seconds=10")


@dataclass(frozen=True)
class Mongodb(Endpoint):
    """A MongoDB that tests talk to, ours or the environment's; `url` is `mongodb://host:port/`."""

    url: str
    ca: str | None = None

    def client(self, **options: Any) -> Any:
        """A PyMongo client that knows time zones; it gives up after ten seconds without a server."""
        import pymongo

        defaults: dict[str, Any] = {"tz_aware": True, "serverSelectionTimeoutMS": 10_000}
        return pymongo.MongoClient(self.url, **{**defaults, **options})

    def new_database(self) -> str:
        """A name that no database has yet; the first write makes it."""
        return f"d_{uuid.uuid4().hex[:12]}"


class ReplicaSet(Server):
    """A server whose last word a driver must not hear."""

    def stop(self) -> None:
        """Kill it: asked to stop, it may answer as if it were in no replica set, and drivers drop it for good."""
        self._end(signal.SIGKILL)


def install_mongodb() -> Path:
    """The folder of the server, a Python environment of its own."""
    return installed("mongodb", f"{PACKAGE}\n{sys.base_prefix}\n{sys.version}", _build)


def start_mongodb(name: str = "mongodb", *, oplog_max_entries: int | None = None, durable: bool = True) -> Mongodb:
    """Install what is missing and start a server without databases; `server.close()` ends it.

    `oplog_max_entries` is how many changes it keeps; it looks for older ones after each thousand. Not `durable`, it
    writes more quickly, and loses what was acknowledged last when it is stopped or killed.
    """
    durably = ["--sync-on-commit"] if durable else []
    kept = [] if oplog_max_entries is None else [f"--oplog-max-entries={oplog_max_entries}"]
    server, address = _server(name, *durably, *kept)
    server.start()
    return Mongodb(f"mongodb://{address}/", _server=server)


def start_mongodb_secured(name: str = "mongodb_secured") -> Mongodb:
    """Start one with TLS for all, where nobody comes in without the password; the account is in `admin`."""
    server, address = _server(name, "--sync-on-commit")
    make_certificates(server.folder)
    server.start()
    with Mongodb(f"mongodb://{address}/").client() as client:
        client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])
    certificate = [f"--tls-cert-file={server.folder}/server.crt", f"--tls-key-file={server.folder}/server.key"]
    server.command = [*server.command, "--auth", *certificate]
    server.restart()
    ca = f"{server.folder}/ca.pem"
    login = f"authSource=admin&tls=true&tlsCAFile={ca}"
    return Mongodb(f"mongodb://{USER}:{PASSWORD}@{address}/?{login}", ca, _server=server)


def _server(name: str, *options: str) -> tuple[Server, str]:
    """A server that is not yet started, and its address."""
    program = install_mongodb() / "bin" / "python"
    folder = temporary_folder(name)
    [port] = free_ports(1)
    places = [f"--port={port}", f"--storage-path={folder}/data"]
    command = [str(program), "-I", "-m", "secantus", *SETTINGS, *places, *options]
    return ReplicaSet(name, command, folder, port_answers(port)), f"127.0.0.1:{port}"


def _build(folder: Path) -> None:
    # Its scripts name the folder that is renamed when all is there; its Python finds itself.
    run_tool(sys.executable, "-m", "venv", str(folder), directory=folder)
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip = ("-m", "pip", "install", "--quiet", "--only-binary=:all:")
    run_tool(str(folder / "bin" / "python"), *pip, PACKAGE, environment=quiet, directory=folder)
