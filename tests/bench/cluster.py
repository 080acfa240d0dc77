"""The PostgreSQL of the benchmark, ours in any case: its CPU seconds are part of the result."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
from tests.services.postgres import Postgres, start_postgres

from pipeline_core import cdc_to_postgres, postgres_to_kafka

from .changes import COLUMNS, Held, held
from .lap import LapError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

TABLE = "employees"
WITHOUT_KEY = "employees_without_key"
"""For COPY of several rows of a key, which the table refuses."""
LEDGER = "processed_events"
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL."""

    postgres: Postgres

    def cpu_seconds(self) -> float:
        """What the server has computed since it was started, with the sessions that are over."""
        there = psutil.Process(self.postgres.server.pid)
        while True:
            own = there.cpu_times()
            # A session that ends meanwhile would be missing in both.
            with suppress(psutil.NoSuchProcess):
                alive = [one.cpu_times() for one in there.children(recursive=True)]
                ended = own.children_user + own.children_system
                return own.user + own.system + ended + sum(times.user + times.system for times in alive)

    @contextmanager
    def target(self) -> Generator[str, None, None]:
        """A database with the empty tables of the target, for a while."""
        with self._database() as name:
            cdc_to_postgres.init_db(target_url=self.postgres.url_of(name), target_tls="disabled")
            self._ask(name, f"CREATE TABLE {WITHOUT_KEY} (LIKE {TABLE} INCLUDING DEFAULTS)")
            yield name

    @contextmanager
    def source(self, statements: Sequence[str]) -> Generator[str, None, None]:
        """A database with the tables of the source, and the changes that these statements make, for a while."""
        with self._database() as name:
            postgres_to_kafka.init_db(source_url=self.postgres.url_of(name), source_tls="disabled")
            self._ask(name, *statements)
            # Else it begins of itself, in the middle of somebody's lap.
            with self.postgres.connect(name, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
            yield name

    def holds(self, name: str, table: str = TABLE) -> Held:
        """What a table of a database holds."""
        statement = f"COPY {table} ({', '.join(COLUMNS)}) TO STDOUT"
        with self.postgres.connect(name) as connection, connection.cursor().copy(statement) as copy:
            return held(bytes(line) for line in copy)

    def ledger(self, name: str) -> int:
        """How many events a database has noted as processed."""
        [[count]] = self._ask(name, f"SELECT COUNT(*) FROM {LEDGER}")
        return count

    def logged(self, name: str) -> list[tuple[Any, ...]]:
        """The changes of a source in their order; dates are text, as in messages."""
        columns = ", ".join("dob::text" if column == "dob" else column for column in COLUMNS)
        return self._ask(name, f"SELECT action_id, {columns}, action FROM emp_cdc ORDER BY action_id")

    def write_binary(self, text: Path, binary: Path) -> None:
        """Turn a file for COPY into PostgreSQL's binary format."""
        columns = ", ".join(COLUMNS)
        with self.target() as name, self.postgres.connect(name) as connection, connection.cursor() as cursor:
            with cursor.copy(f"COPY {WITHOUT_KEY} ({columns}) FROM STDIN") as copy:
                copy.write(text.read_bytes())
            with cursor.copy(f"COPY {WITHOUT_KEY} ({columns}) TO STDOUT (FORMAT binary)") as copy:
                binary.write_bytes(b"".join(copy))

    @contextmanager
    def _database(self) -> Generator[str, None, None]:
        name = self.postgres.new_database()
        try:
            yield name
        finally:
            with self.postgres.connect(autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _ask(self, name: str, *statements: str) -> list[tuple[Any, ...]]:
        """Execute all in one transaction; the rows of the last, where it gives some."""
        with self.postgres.connect(name) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def cluster() -> Generator[Cluster, None, None]:
    """A durable server, started for the races.

    Raises:
        LapError: It is not durable.
    """
    postgres = start_postgres()
    with postgres.server:
        with postgres.connect() as connection:
            found = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in DURABLE}
        if set(found.values()) != {"on"}:
            message = f"Commits of this PostgreSQL are not durable: {found}"
            raise LapError(message)
        yield Cluster(postgres)
