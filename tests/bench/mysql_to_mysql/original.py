"""The original's way: all in lists, all tags looked through for each item, a query for each tag, one transaction.

Its `eval` is `ast.literal_eval` here, and PyMySQL's `executemany` is in the place of peewee's `insert_many`. Left out
is that it copied `list_id`.
"""

from __future__ import annotations

import ast
from typing import Any

from tests.bench.mysql_to_mysql.rows import ITEMS, SECTIONS, SOURCES, TAGS, ask, connect, insert, item_row, whole
from tests.bench.task import MigrateTask, perform
from tests.python.support.migrations import LINK

TYPE_ID = "SELECT info_type_id FROM nfsc_info_type WHERE info_type_name = {marks}"


def work(task: MigrateTask) -> dict[str, Any]:
    """Migrate the items."""
    info, nfsc = connect(task, task.source), connect(task, task.target)
    there = {key for [key] in ask(nfsc, "SELECT info_id FROM nfsc_info_list")}
    sources_there = {key for [key] in ask(nfsc, "SELECT source_id FROM nfsc_resource_source")}
    of_site = {key for [key] in ask(info, "SELECT source_id FROM resource_source WHERE source_main_link = %s", [LINK])}
    keys = {
        key
        for [key] in ask(info, "SELECT information_id FROM information_list WHERE source_id IN ({marks})", of_site)
        if key not in there
    }
    items, tags, sections = (
        ask(info, f"{query} WHERE information_id IN ({{marks}})", keys) for query in (ITEMS, TAGS, whole(SECTIONS))
    )
    sources = ask(info, f"{whole(SOURCES)} WHERE source_id IN ({{marks}})", of_site - sources_there)
    rows = [made(nfsc, item, tags) for item in items]
    insert(nfsc, "nfsc_info_list", rows)
    insert(nfsc, SOURCES, sources)
    insert(nfsc, SECTIONS, sections)
    nfsc.connection.commit()
    for cursor in (info, nfsc):
        cursor.connection.close()
    return {"rows": len(rows)}


def made(nfsc: Any, item: tuple[Any, ...], tags: list[tuple[str, str]]) -> tuple[Any, ...]:
    """The row of an item."""
    info_type, academic_field = 0, ""
    for key, value in tags:
        if key == item[0]:
            values = ast.literal_eval(value)
            academic_field = values[1]
            [[info_type]] = ask(nfsc, TYPE_ID, [values[0]])
    return item_row(item, info_type, academic_field)


if __name__ == "__main__":
    perform(MigrateTask, work)
