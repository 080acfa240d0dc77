"""The MariaDB of the benchmark, ours in any case: its CPU seconds are part of the result."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from tests.python.support.migrations import ALL_HAVE, SOURCE_TABLES, TYPES
from tests.services.mariadb import Mariadb, start_mariadb

from pipeline_core import mysql_to_mysql, walmart_to_mysql

from . import items

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.python.support.migrations import Row


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
        with self._dropped(name):
            yield name

    @contextmanager
    def source(self, count: int) -> Generator[str, None, None]:
        """A database with so many items to migrate, for a while."""
        name = self.mariadb.new_database()
        self._ask(None, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        with self._dropped(name):
            for table, columns in SOURCE_TABLES.items():
                self._ask(name, f"CREATE TABLE {table} ({ALL_HAVE}, {columns}) CHARSET=utf8mb4")
            for table, rows in items.of(count).items():
                self._fill(name, table, rows)
                self._ask(name, f"ANALYZE TABLE {table}")
            yield name

    @contextmanager
    def target(self) -> Generator[str, None, None]:
        """A database with the empty tables of the items, which knows their types, for a while."""
        name = self.mariadb.new_database()
        mysql_to_mysql.init_db(target_url=self.mariadb.url, target_database=name)
        with self._dropped(name):
            types = [{"info_type_id": number, "info_type_name": of_type} for of_type, number in TYPES.items()]
            self._fill(name, "nfsc_info_type", types)
            yield name

    def migrated(self, name: str) -> dict[str, items.Sum]:
        """What the tables of a target hold."""
        return {table: items.Sum(*self._ask(name, items.sum_of(table))[0]) for table in items.COLUMNS}

    def holds(self, name: str) -> dict[str, int]:
        """Rows of the tables of a database, and the cents of the charges in the order table."""
        tables = {"order": "walmart_order"}
        tables |= {one: f"walmart_order_{one}" for one in ("charge", "status", "refund", "version")}
        counts = ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in tables.values())
        cents = "(SELECT CAST(COALESCE(SUM(chargeAmount), 0) * 100 AS SIGNED) FROM walmart_order)"
        [row] = self._ask(name, f"SELECT {counts}, {cents}")
        return dict(zip([*tables, "cents"], row, strict=True))

    @contextmanager
    def _dropped(self, name: str) -> Generator[None, None, None]:
        try:
            yield
        finally:
            self._ask(None, f"DROP DATABASE {name}")

    def _fill(self, name: str, table: str, rows: list[Row]) -> None:
        columns = list(rows[0])
        marks = ", ".join(["%s"] * len(columns))
        connection = self.mariadb.connect(name)
        with connection.cursor() as cursor:
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            cursor.executemany(insert, [[row[column] for column in columns] for row in rows])
        connection.commit()
        connection.close()

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
