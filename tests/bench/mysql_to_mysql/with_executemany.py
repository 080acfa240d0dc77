"""As one writes it today: 500 items in a transaction, each table read by one query and written by `executemany`."""

from __future__ import annotations

import ast
from typing import Any

from tests.bench.mysql_to_mysql.rows import ITEMS, SECTIONS, SOURCES, TAGS, ask, connect, insert, item_row, whole
from tests.bench.task import MigrateTask, perform
from tests.python.support.migrations import LINK

BATCH = 500
NEXT = (
    f"{ITEMS} WHERE list_id > %s AND source_id IN (SELECT source_id FROM resource_source WHERE source_main_link = %s)"
    f" ORDER BY list_id LIMIT {BATCH}"
)
THERE = "SELECT info_id FROM nfsc_info_list WHERE info_id IN ({marks})"
OF_ITEMS = " WHERE information_id IN ({marks})"


def work(task: MigrateTask) -> dict[str, Any]:
    """Migrate the items that are not there."""
    info, nfsc = connect(task, task.source), connect(task, task.target)
    types = dict(ask(nfsc, "SELECT info_type_name, info_type_id FROM nfsc_info_type"))
    sources = {key for [key] in ask(nfsc, "SELECT source_id FROM nfsc_resource_source")}
    rows = last = 0
    while found := ask(info, NEXT, [last, LINK]):
        last = found[-1][-1]
        there = {key for [key] in ask(nfsc, THERE, [item[0] for item in found])}
        items = [item for item in found if item[0] not in there]
        if items:
            migrate(info, nfsc, items, types, sources)
        nfsc.connection.commit()
        rows += len(items)
    for cursor in (info, nfsc):
        cursor.connection.close()
    return {"rows": rows}


def migrate(info: Any, nfsc: Any, items: list[tuple[Any, ...]], types: dict[str, int], sources: set[str]) -> None:
    """Insert new items with their sections, and the sources that are not among `sources` yet."""
    keys, new = [item[0] for item in items], {item[1] for item in items} - sources
    # In the order of the table: the last stays.
    tags = dict(ask(info, f"{TAGS}{OF_ITEMS} ORDER BY list_id", keys))
    values = {key: ast.literal_eval(value) for key, value in tags.items()}
    insert(nfsc, "nfsc_info_list", [item_row(item, types[values[item[0]][0]], values[item[0]][1]) for item in items])
    if new:
        insert(nfsc, SOURCES, ask(info, f"{whole(SOURCES)} WHERE source_id IN ({{marks}})", new))
        sources |= new
    insert(nfsc, SECTIONS, ask(info, whole(SECTIONS) + OF_ITEMS, keys))


if __name__ == "__main__":
    perform(MigrateTask, work)
