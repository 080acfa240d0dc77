"""What the migrations are run on: made-up items of one site, with tags and sections, in the tables of the original."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import md5
from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

from tests.python.support.migrations import LINK, TYPES, Tables, reference

from .documents import PHRASES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.python.support.migrations import Row

NAME = "items"
MIGRATED = 20_000
FEWER = 5
"""By which the items are divided for those who are slow."""
SITES = (*[LINK] * 19, "www.example.org")
"""Of the sources; what the last one has is no part of the task."""
TAGS = 2
SECTIONS = 5
SEED = 2024
DEPARTMENTS = ("数理科学部", "化学科学部", "生命科学部", "地球科学部", "工程与材料科学部", "信息科学部")
TIMES = {"is_del": 0, "update_time": "2024-05-02 10:00:00", "create_time": "2024-05-01 10:00:00"}
COLUMNS = {
    "nfsc_info_list": (
        *("info_id", "info_type_id", "project_type_id", "source_id", "info_name", "info_academic_field"),
        *("original_link", "publish_time"),
    ),
    "nfsc_resource_source": (
        *("source_id", "source_name", "source_main_link", "source_description_image", "source_intro"),
        *TIMES,
    ),
    "nfsc_information_section_list": (
        *("section_id", "information_id", "section_order", "section_attr", "title_level", "marc_code", "src_text"),
        *("dst_text", "media_info", "md5_encode", *TIMES),
    ),
}
"""What a migration writes into the target's tables."""


@dataclass(frozen=True)
class Sum:
    """What a table holds: how many rows, and the sum of their checksums."""

    rows: int
    checksum: int


@dataclass(frozen=True)
class Items:
    """Items to migrate; `of` makes those of a source."""

    rows: int
    bytes: int
    """Of the rows of all tables, as text."""
    slow_rows: int
    state: dict[str, Sum]
    """Of the target's tables, once all are there."""
    slow_state: dict[str, Sum]
    """Once those are there that the slow are given."""
    unit: str = "items"
    name: str = NAME


def items(count: int) -> Items:
    """So many items, and as many for the slow as they can do."""
    slow_rows = max(1, count // FEWER)
    lines, slow_lines = (expected(number) for number in (count, slow_rows))
    size = sum(len(line) for some in lines.values() for line in some)
    return Items(count, size, slow_rows, sums(lines), sums(slow_lines))


def of(count: int) -> Tables:
    """The tables of a source with so many items to migrate, the same each time, and one in twenty that stays."""
    dice = Random(SEED)
    stays = len(SITES) - 1
    migrated = min(count, stays)
    found: Tables = {"resource_source": [made_source(number) for number in (*range(migrated), stays)]}
    for number in range(count + count // len(SITES)):
        item = made_item(dice, number, number % migrated if number < count else stays)
        belongs = {
            "information_list": [item],
            "information_tags_relationship": [made_tag(dice, item, order) for order in range(TAGS)],
            "information_section_list": [made_section(dice, item, order) for order in range(SECTIONS)],
        }
        for table, rows in belongs.items():
            found.setdefault(table, []).extend(rows)
    return found


def made_source(number: int) -> Row:
    """A source, whole."""
    return {
        "source_id": f"source-{number}",
        "source_name": json.dumps({"zh": f"来源 {number}"}),
        "source_main_link": SITES[number],
        "source_description_image": None,
        "source_intro": "介绍",
        **TIMES,
    }


def made_item(dice: Random, number: int, source: int) -> Row:
    """An item, with what a migration reads of it."""
    return {
        "information_id": digest(f"item {number}"),
        "source_id": f"source-{source}",
        "information_name": json.dumps({"zh": text(dice, 8), "en": f"Item {number}"}, ensure_ascii=False),
        "original_link": f"https://{SITES[source]}/publish/portal0/tab{number}.htm" if number % 10 else None,
        "publish_date": f"20{number % 25:02}-{1 + number % 12:02}-{1 + number % 28:02}",
    }


def made_tag(dice: Random, item: Row, order: int) -> Row:
    """One of its tags: a list as Python writes it."""
    value = [dice.choice(list(TYPES)), dice.choice(DEPARTMENTS)]
    return {"information_id": item["information_id"], "tag_code": f"tag-{order}", "tag_value": repr(value)}


def made_section(dice: Random, item: Row, order: int) -> Row:
    """One of its sections, whole."""
    words = text(dice, 30)
    return {
        "section_id": digest(f"{item['information_id']} {order}"),
        "information_id": item["information_id"],
        "section_order": order,
        "section_attr": "0",
        "title_level": 1 if order == 0 else None,
        "marc_code": "zh",
        "src_text": json.dumps({"text": words}, ensure_ascii=False),
        "dst_text": None,
        "media_info": "" if order % 2 else None,
        "md5_encode": digest(words),
        **TIMES,
    }


def text(dice: Random, words: int) -> str:
    """So many words."""
    return "".join(dice.choices(PHRASES, k=words))


def digest(value: str) -> str:
    """32 digits."""
    return md5(value.encode(), usedforsecurity=False).hexdigest()


def expected(count: int) -> dict[str, list[bytes]]:
    """The rows of the target's tables, one line each, by the steps that the contract tells."""
    made = reference(of(count))
    return {table: [line(row[name] for name in names) for row in made[table]] for table, names in COLUMNS.items()}


def line(values: Iterable[object]) -> bytes:
    """A row as `sum_of` adds it up."""
    return "\t".join("\\N" if value is None else str(value) for value in values).encode()


def sums(lines: dict[str, list[bytes]]) -> dict[str, Sum]:
    """What tables with these lines hold."""
    return {table: Sum(len(some), sum(map(crc32, some))) for table, some in lines.items()}


def sum_of(table: str) -> str:
    """The query that gives rows and checksum of a table of the target."""
    values = ", ".join(f"COALESCE({name}, '\\\\N')" for name in COLUMNS[table])
    return f"SELECT COUNT(*), CAST(COALESCE(SUM(CRC32(CONCAT_WS('\\t', {values}))), 0) AS UNSIGNED) FROM {table}"
