"""PostgreSQL: the machine's own if it has one, else the Debian packages unpacked into the cache, without root.

Durable (each commit is on disk when it is answered) and with TLS for those who ask. Each start makes a new cluster, so
that no two have the same identity. PostgreSQL refuses to run as root: for root it runs as nobody.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .debian import libraries, unpack
from .install import ServiceUnavailableError, installed, run_tool
from .process import (
    POLL_SECONDS,
    STOP_SECONDS,
    Endpoint,
    Server,
    free_ports,
    log_says,
    remove_folder,
    tell_watchdog,
    temporary_folder,
)
from .tls import make_certificates

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

USER = "postgres"
PASSWORD = "pipeline-secret"
DATABASE = "postgres"
PACKAGE = "postgresql"
PLACES = "usr/lib/postgresql/*/bin"
UNPRIVILEGED = "nobody"
SETTINGS = (
    "listen_addresses=127.0.0.1",
    "fsync=on",
    "max_connections=200",
    "max_prepared_transactions=10",
    "ssl=on",
    "timezone=UTC",
    "wal_level=logical",
)


@dataclass(frozen=True)
class Postgres(Endpoint):
    """A PostgreSQL that tests talk to, ours or the environment's; `url` is `postgresql://user:password@host:port/…`."""

    url: str
    ca: str

    def url_of(self, database: str) -> str:
        """The URL of another database of this cluster."""
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    def connect(self, database: str | None = None, **options: Any) -> Any:
        """A psycopg connection that does not commit by itself; over TLS with `sslmode` and `sslrootcert`."""
        import psycopg

        return psycopg.connect(self.url_of(database) if database else self.url, **options)

    def new_database(self) -> str:
        """The name of a new, empty database."""
        name = f"d_{uuid.uuid4().hex[:12]}"
        with self.connect(autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name


class Cluster(Server):
    """A postmaster and its backends, each of which is a process group of its own."""

    def stop(self) -> None:
        """End all sessions and stop; SIGTERM would wait until the last client has gone."""
        if self.is_running:
            self.resume()
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the backends with the postmaster: one that outlives it could still commit, and keeps the data locked."""
        backends: list[int] = []
        if self.is_running:
            os.kill(self.pid, signal.SIGSTOP)
            backends = self._signal_backends(signal.SIGKILL)
        super().kill()
        for pid in backends:
            tell_watchdog(f"- {pid}")
        deadline = time.monotonic() + STOP_SECONDS
        while any(_state(pid)[0] not in "XZ" for pid in backends) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def pause(self) -> None:
        """Freeze the postmaster first, so that no backend is born meanwhile; frozen ones do not see that it is gone."""
        super().pause()
        for pid in self._signal_backends(signal.SIGSTOP):
            tell_watchdog(f"+ {pid}")

    def resume(self) -> None:
        """Wake all."""
        for pid in self._signal_backends(signal.SIGCONT):
            tell_watchdog(f"- {pid}")
        super().resume()

    def _signal_backends(self, sign: signal.Signals) -> list[int]:
        backends = _children(self.pid)
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        return backends


def install_postgres() -> Path:
    """The folder in which `bin` leads to the server's programs."""
    own = _programs_of_machine()
    return installed("postgres", str(own or PACKAGE), _build)


def start_postgres(name: str = "postgres") -> Postgres:
    """Install what is missing and start a cluster with its three first databases; `server.close()` ends it."""
    installation = install_postgres()
    programs = (installation / "bin").resolve()
    environment = libraries(installation)
    account = _as_unprivileged(installation)
    folder = temporary_folder(name)
    make_certificates(folder)
    (folder / "password").write_text(PASSWORD)
    _give([folder, *folder.iterdir()])
    login = [f"--username={USER}", f"--pwfile={folder}/password", "--auth=scram-sha-256"]
    text = ["--encoding=UTF8", "--locale=C.UTF-8"]
    initdb = [*account, str(programs / "initdb"), f"--pgdata={folder}/data", *login, *text, "--no-sync"]
    run_tool(*initdb, environment=environment, directory=folder)
    [port] = free_ports(1)
    certificate = [f"ssl_cert_file={folder}/server.crt", f"ssl_key_file={folder}/server.key"]
    settings = [*SETTINGS, f"port={port}", f"unix_socket_directories={folder}", *certificate]
    command = [*account, str(programs / "postgres"), "-D", f"{folder}/data"]
    command += [word for setting in settings for word in ("-c", setting)]
    is_ready = log_says("database system is ready to accept connections")
    server = Cluster(name, command, folder, is_ready, environment=environment)
    server.start()
    url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}"
    return Postgres(url, str(folder / "ca.pem"), _server=server)


@contextlib.contextmanager
def small_tablespace(postgres: Postgres, megabytes: int) -> Generator[str, None, None]:
    """A tablespace on a file system of this size, for disks that are full; its name.

    At the end it is dropped, with each database that has anything in it. Raises `ServiceUnavailableError` where we
    may not mount.
    """
    if os.geteuid():
        msg = "Only root may mount the small file system of a tablespace"
        raise ServiceUnavailableError(msg)
    folder = temporary_folder("tablespace")
    name = f"s_{uuid.uuid4().hex[:12]}"
    options = f"size={megabytes}m,mode=0700,uid={pwd.getpwnam(UNPRIVILEGED).pw_uid}"
    run_tool("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder), directory=folder.parent)
    try:
        with postgres.connect(autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        try:
            yield name
        finally:
            _drop(postgres, name)
    finally:
        run_tool("umount", "--lazy", str(folder), directory=folder.parent)
        remove_folder(folder)


def _drop(postgres: Postgres, tablespace: str) -> None:
    """Drop a tablespace and the databases in it, unless the server is down."""
    import psycopg

    try:
        connection = postgres.connect(autocommit=True)
    except psycopg.OperationalError:
        return
    inside = """
        SELECT datname FROM pg_tablespace AS space, pg_tablespace_databases(space.oid) AS inside
        JOIN pg_database ON pg_database.oid = inside WHERE spcname = %s
    """
    with connection:
        for (database,) in connection.execute(inside, [tablespace]).fetchall():
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
        connection.execute(f"DROP TABLESPACE {tablespace}")


def _programs_of_machine() -> Path | None:
    """The folder of the programs that are installed here: those on the PATH, else Debian's newest."""
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found else _newest(Path("/"))


def _newest(root: Path) -> Path | None:
    folders = [program.parent for program in root.glob(f"{PLACES}/postgres")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


def _build(installation: Path) -> None:
    programs = _programs_of_machine()
    if programs is None:
        unpack(PACKAGE, installation)
        unpacked = _newest(installation)
        if unpacked is None:
            msg = f"There is no PostgreSQL in Debian's package '{PACKAGE}'"
            raise ServiceUnavailableError(msg)
        programs = unpacked.relative_to(installation)
    (installation / "bin").symlink_to(programs)


def _as_unprivileged(installation: Path) -> list[str]:
    """What goes before a command of root's: it runs as nobody, who yet may read what was unpacked into root's cache."""
    if os.geteuid():
        return []
    account = pwd.getpwnam(UNPRIVILEGED)
    command = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    if (installation / "usr").is_dir():
        # access(2), by which PostgreSQL looks for its programs, knows of the capability only with this bit.
        command.append("--securebits=+no_setuid_fixup")
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return command


def _give(paths: Iterable[Path]) -> None:
    """Make the account that the server runs as the owner."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(UNPRIVILEGED)
        for path in paths:
            os.chown(path, account.pw_uid, account.pw_gid)


def _children(parent: int) -> list[int]:
    """The processes that a process has started and that live."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _state(pid)[1] == parent]


def _state(pid: int) -> tuple[str, int]:
    """The letter of a process's state and its parent; `X` where it is gone."""
    try:
        letter, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return letter, int(parent)
