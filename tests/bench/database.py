"""The MariaDB of the benchmark, ours in any case: its CPU seconds are part of the result."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from tests.services.mariadb import Mariadb, start_mariadb

from pipeline_core import walmart_to_mysql

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True)
class Database:
    """A MariaDB."""

    mariadb: Mariadb

    def cpu_seconds(self) -> float:
        """What the server has computed since it was started."""
        times = psutil.Process(self.mariadb.server.pid).cpu_times()
        return times.user + times.system

    @contextmanager
    def tables(self) -> Generator[str, None, None]:
        """A database with the empty tables of the orders, for a while."""
        name = self.mariadb.new_database()
        walmart_to_mysql.init_db(mysql_url=self.mariadb.url, database=name)
        try:
            yield name
        finally:
            self._ask(None, f"DROP DATABASE {name}")

    def holds(self, name: str) -> dict[str, int]:
        """Rows of the tables of a database, and the cents of the charges in the order table."""
        tables = {"order": "walmart_order"}
        tables |= {one: f"walmart_order_{one}" for one in ("charge", "status", "refund", "version")}
        counts = ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in tables.values())
        cents = "(SELECT CAST(COALESCE(SUM(chargeAmount), 0) * 100 AS SIGNED) FROM walmart_order)"
        [row] = self._ask(name, f"SELECT {counts}, {cents}")
        return dict(zip([*tables, "cents"], row, strict=True))

    def _ask(self, name: str | None, statement: str) -> list[tuple[int, ...]]:
        connection = self.mariadb.connect(name)
        with connection.cursor() as cursor:
            cursor.execute(statement)
            found = list(cursor.fetchall())
        connection.close()
        return found


@contextmanager
def database() -> Generator[Database, None, None]:
    """A durable server, started for the races."""
    mariadb = start_mariadb()
    with mariadb.server:
        yield Database(mariadb)
