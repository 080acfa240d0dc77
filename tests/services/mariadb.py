"""MariaDB: the machine's own if it has one, else the Debian packages unpacked into the cache, without root.

Durable (each commit is on disk when it is answered) and with TLS for those who ask. No option file is read, so all
that is not said here is MariaDB's own default: the charset of a new database is latin1, not utf8mb4.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .debian import libraries, unpack
from .install import ServiceUnavailableError, installed, run_tool
from .process import Endpoint, Server, free_ports, log_says, temporary_folder
from .tls import make_certificates

USER = "root"
PASSWORD = "pipeline-secret"
PACKAGE = "mariadb-server-core"
SYSTEM_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")
SYSTEM_TABLES = ("mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql")
SETTINGS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=256M",
    "--local-infile=1",
    "--max-connections=100",
    "--max-allowed-packet=64M",
)
# A statement ends at the end of a line while the server makes its tables.
BEFORE_TABLES = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
ACCOUNTS = f"""
DELETE FROM global_priv;
FLUSH PRIVILEGES;
CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;
"""


@dataclass(frozen=True)
class Mariadb(Endpoint):
    """A MariaDB that tests talk to, ours or the environment's; `url` is `mysql://user:password@host:port`."""

    url: str
    ca: str

    def connect(self, database: str | None = None, **options: Any) -> Any:
        """A PyMySQL connection in UTC that does not commit by itself; with `ssl={"ca": mariadb.ca}` over TLS."""
        import pymysql

        parts = urlsplit(self.url)
        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=database,
            **{"charset": "utf8mb4", "init_command": "SET time_zone = '+00:00'", **options},
        )

    def new_database(self) -> str:
        """A name that no database has yet, and that may begin the names of several. Creates nothing."""
        return f"d_{uuid.uuid4().hex[:12]}"


def install_mariadb() -> Path:
    """The folder with an empty data folder in `formatted`, and the server where the machine has none."""
    own = _program_of_machine()
    recipe = run_tool(str(own), "--version", directory=own.parent) if own else PACKAGE
    return installed("mariadb", "\n".join([recipe, BEFORE_TABLES, *SYSTEM_TABLES, ACCOUNTS]), _build)


def start_mariadb() -> Mariadb:
    """Install what is missing and start a server without databases; `server.close()` ends it."""
    installation = install_mariadb()
    folder = temporary_folder("mariadb")
    make_certificates(folder)
    shutil.copytree(installation / "formatted", folder / "data")
    [port] = free_ports(1)
    certificate = [f"--ssl-{what}={folder}/{name}" for what, name in (("cert", "server.crt"), ("key", "server.key"))]
    reached = [f"--port={port}", f"--socket={folder}/mariadb.sock", *certificate]
    command = [*_command(installation, folder / "data"), *SETTINGS, *reached]
    environment = libraries(installation)
    server = Server("mariadb", command, folder, log_says("ready for connections"), environment=environment)
    server.start()
    return Mariadb(f"mysql://{USER}:{PASSWORD}@127.0.0.1:{port}", str(folder / "ca.pem"), _server=server)


def _program_of_machine() -> Path | None:
    """The MariaDB server that is installed here, followed to where its other files are."""
    found = shutil.which("mariadbd", path=os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_PLACES]))
    return Path(found).resolve() if found else None


def _program(installation: Path) -> Path:
    return _program_of_machine() or installation / "usr" / "sbin" / "mariadbd"


def _share(program: Path) -> Path:
    """The folder with the server's messages and the SQL of its own tables."""
    for name in ("mysql", "mariadb"):
        folder = program.parents[1] / "share" / name
        if (folder / SYSTEM_TABLES[0]).is_file():
            return folder
    msg = f"There is '{program}', but not the {SYSTEM_TABLES[0]} that belongs to it"
    raise ServiceUnavailableError(msg)


def _command(installation: Path, data: Path) -> list[str]:
    program = _program(installation)
    places = [f"--basedir={program.parents[1]}", f"--lc-messages-dir={_share(program)}", f"--datadir={data}"]
    as_root = ["--user=root"] if os.geteuid() == 0 else []
    return [str(program), "--no-defaults", *places, *as_root]


def _build(installation: Path) -> None:
    if _program_of_machine() is None:
        unpack(PACKAGE, installation)
    data = installation / "formatted"
    data.mkdir()
    share = _share(_program(installation))
    tables = "\n".join((share / name).read_text(encoding="utf-8") for name in SYSTEM_TABLES)
    # The redo log is small so that it is quick to copy: a server makes it as large as it likes.
    command = [*_command(installation, data), "--bootstrap", "--innodb-log-file-size=4M", "--aria-log-file-size=8M"]
    done = subprocess.run(
        command,
        env={**os.environ, **libraries(installation)},
        input=BEFORE_TABLES + tables + ACCOUNTS,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"MariaDB did not make its tables ({done.returncode}):\n{(done.stdout + done.stderr)[-3000:]}"
        raise ServiceUnavailableError(msg)
