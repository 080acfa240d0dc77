"""The rows that are read and written, for those who write them with PyMySQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.bench.items import COLUMNS
from tests.services.mariadb import Mariadb

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.bench.task import MigrateTask

ITEMS = "SELECT information_id, source_id, information_name, original_link, publish_date, list_id FROM information_list"
TAGS = "SELECT information_id, tag_value FROM information_tags_relationship"
SOURCES, SECTIONS = "nfsc_resource_source", "nfsc_information_section_list"
WHOLE = {SOURCES: "resource_source", SECTIONS: "information_section_list"}
"""Tables whose rows are copied, and where from."""
PROJECT_TYPE = "1"


def connect(task: MigrateTask, database: str) -> Any:
    """A cursor on a database; without TLS, as for all."""
    return Mariadb(task.url, "").connect(database, ssl_disabled=True).cursor()


def ask(cursor: Any, statement: str, values: Collection[object] = ()) -> list[Any]:
    """What a query gives; `{marks}` are the places of its values."""
    cursor.execute(statement.format(marks=", ".join(["%s"] * len(values))), list(values))
    return list(cursor.fetchall())


def whole(table: str) -> str:
    """The query of the rows that are copied into a table."""
    return f"SELECT {', '.join(COLUMNS[table])} FROM {WHOLE[table]}"


def item_row(item: tuple[Any, ...], info_type: int, academic_field: str) -> tuple[Any, ...]:
    """The row that becomes of an item, with what its tag says."""
    key, source, names, link, date, _ = item
    return key, info_type, PROJECT_TYPE, source, json.loads(names)["zh"], academic_field, link, str(date)


def insert(cursor: Any, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert many, in as few statements as PyMySQL makes of them."""
    marks = ", ".join(["%s"] * len(COLUMNS[table]))
    cursor.executemany(f"INSERT INTO {table} ({', '.join(COLUMNS[table])}) VALUES ({marks})", rows)
