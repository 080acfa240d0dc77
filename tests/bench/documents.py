"""What the races with documents are run on: made-up information, mostly Chinese, each copy under an id of its own."""
# ruff: noqa: RUF001 - it is Chinese

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import bson
from bson import Decimal128, Int64, ObjectId, json_util

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DATABASE = "raw_data_temp"
COLLECTION = "raw_information_list_temp"
BASE = 2_000
SEED = 2024
INFORMATION, RAW = "information", "raw"
ID_AT = slice(9, 21)
"""Where the id stands in a document that begins with it."""
HEX_AT = {INFORMATION: len('{"uid":"'), RAW: len('{"_id":{"$oid":"')}
"""Where it stands in the messages."""
HEX = 24
FIRST = datetime(2024, 3, 1, tzinfo=timezone.utc)
A_SECOND = 40
"""Documents that were made within one, by the time in their ids."""
PHRASES = (
    *(
        "国家自然科学基金委员会",
        "关于",
        "发布",
        "2024年度",
        "项目指南",
        "的通告",
        "医学科学部",
        "申请人",
        "应当",
        "依托单位",
        "电子申请书",
    ),
    *("NSFC-DFG", "open call", "Grant Guide", "deadline", "principal investigator", "的", "和", "在", "，", "。", "、"),
)
CHARACTERS = range(0x4E00, 0x5600)
WORDS = 4_000
"""Made of these, so that texts compress as texts do."""
TAGS = ("通知", "医学", "信息科学", "化学", "地球科学", "International", "管理科学", "Guide")
CLEANED = ("来源：", "日期", " ")
"""What is taken out of `info_date`."""


@dataclass(frozen=True)
class Shape:
    """Where the documents are read from, and how their messages are compressed."""

    name: str
    default_rows: int
    is_replayed: bool
    """From `mongo_to_kafka/replay.py`, else from the server of the tests."""
    compression: str = "gzip"


REPLAY = Shape("replay", 200_000, is_replayed=True)
LZ4 = Shape("replay, lz4", 200_000, is_replayed=True, compression="lz4")
SECANTUS = Shape("SecantusDB", 20_000, is_replayed=False)
SHAPES = (REPLAY, LZ4, SECANTUS)


@dataclass(frozen=True)
class Documents:
    """Documents written down as BSON, one after the other, in the order of their ids."""

    shape: Shape
    path: Path
    payloads: Path
    """Their messages as `information`: u32 little-endian and so many bytes, keys and values by turns."""
    rows: int
    bytes: int
    digests: dict[str, str]
    """Of the values that become of them, by the data type."""
    unit: str = "documents"

    @property
    def name(self) -> str:
        """Of the shape."""
        return self.shape.name

    @property
    def slow_rows(self) -> int:
        """All do all."""
        return self.rows


def write(shape: Shape, count: int, folder: Path) -> Documents:
    """Write so many documents into `folder`."""
    path, payloads, size = folder / f"{count}.bson", folder / f"{count}.payloads", 0
    with path.open("wb") as file:
        for document in documents(count):
            size += file.write(document)
    at = HEX_AT[INFORMATION]
    with payloads.open("wb") as file:
        for value in values(INFORMATION, count):
            for part in (value[at : at + HEX], value):
                file.write(struct.pack("<I", len(part)) + part)
    digests = {data_type: digest(values(data_type, count)) for data_type in (INFORMATION, RAW)}
    return Documents(shape, path, payloads, count, size, digests)


def documents(count: int) -> Iterator[bytes]:
    """So many as BSON."""
    made = [bson.encode(document) for document in base()]
    for number in range(count):
        document = bytearray(made[number % BASE])
        document[ID_AT] = id_of(number).binary
        yield bytes(document)


def values(data_type: str, count: int) -> Iterator[bytes]:
    """What has to stand on the topic; see `without_topic`."""
    made, at = [value_of(data_type, document) for document in base()], HEX_AT[data_type]
    for number in range(count):
        value = made[number % BASE]
        yield value[:at] + str(id_of(number)).encode() + value[at + HEX :]


def value_of(data_type: str, document: dict[str, Any]) -> bytes:
    """The value of one, with pymongo's own writer where it is the whole document."""
    compact: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}
    if data_type == RAW:
        return json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS, **compact).encode()
    return json.dumps(information(document, ""), **compact).encode()


def without_topic(value: bytes, topic: str) -> bytes:
    """A value whose topic is empty: the name of that is another each time."""
    return value.replace(f'"topic":"{topic}"'.encode(), b'"topic":""', 1)


def digest(values: Iterable[bytes]) -> str:
    """Of values in any order."""
    total = sum(int.from_bytes(hashlib.sha256(value).digest(), "big") for value in values)
    return f"{total % 2**256:064x}"


def information(document: dict[str, Any], topic: str) -> dict[str, Any]:
    """The message of a document, as CONTRACTS §4.3 has it."""
    date = document.get("info_date", "")
    if date is not None:
        for text in CLEANED:
            date = date.replace(text, "")
    return {
        "uid": str(document["_id"]),
        "topic": topic,
        "name": document.get("info_name", ""),
        "created_at": str(document.get("create_time", "")),
        "data_type": "information_nsfc",
        "tag_values": json.dumps(document.get("column_info", [])),
        "link_data": document.get("link_data", []),
        "data": {
            "info_date": date,
            "info_section": document.get("info_section", []),
            "info_author": document.get("info_author", ""),
            "description": document.get("description", ""),
        },
        "metadata": {"marc_code": document.get("marc_code", "zh"), "details_page": document.get("page_url", "")},
    }


def id_of(number: int) -> ObjectId:
    """The id of a document; they ascend."""
    seconds = int(FIRST.timestamp()) + number // A_SECOND
    return ObjectId(seconds.to_bytes(4, "big") + b"\x5f\x3a\x91\xc2\x07" + number.to_bytes(3, "big"))


@cache
def base() -> list[dict[str, Any]]:
    """The documents that are repeated, the same each time."""
    chance = Random(SEED)
    return [document_of(number, chance) for number in range(BASE)]


def document_of(number: int, chance: Random) -> dict[str, Any]:
    """One; now and then a field is missing or null."""
    made = FIRST.replace(tzinfo=None) + timedelta(milliseconds=chance.randrange(10**10))
    page = f"https://www.example.org/publish/portal0/tab{chance.randrange(1_000)}/info{90_000 + number}.htm"
    document = {
        "_id": id_of(number),
        "info_name": text(chance, 9),
        "column_info": chance.sample(TAGS, chance.randint(0, 3)),
        "info_date": chance.choice((f"日期 {made:%Y-%m-%d}", f"来源： {made:%Y-%m-%d} ", f"{made:%Y-%m-%d}", None)),
        "info_source": f"来源：{text(chance, 1)}",
        "info_author": chance.choice(("", None, "王小明 李雷", "Office of International Affairs")),
        "description": text(chance, chance.randint(8, 30)),
        "marc_code": chance.choice(("zh", "zh", "en")),
        "page_url": page,
        "link_data": [{"name": text(chance, 3), "url": f"{page}#{at}"} for at in range(chance.randint(0, 2))],
        "info_section": [section(at, chance) for at in range(1, chance.randint(2, 5))],
        "crawl": {
            "retries": chance.randrange(4),
            "size": Int64(chance.randrange(10**7)),
            "seconds": chance.randrange(10**4) / 1_000,
            "cost": Decimal128(f"{chance.randrange(10**4) / 100:.2f}"),
            "sha1": chance.randbytes(20),
            "is_new": chance.random() < 0.5,
        },
        "create_time": made,
        "update_time": made + timedelta(minutes=chance.randrange(10**4)),
    }
    for name in ("info_author", "description", "link_data"):
        if chance.random() < 0.05:
            del document[name]
    return document


def section(order: int, chance: Random) -> dict[str, Any]:
    """A section of a document's text."""
    return {
        "section_order": order,
        "title_level": chance.randrange(3),
        "src_text": text(chance, chance.randint(10, 40)),
        "media": [{"type": "image", "size": [chance.randrange(2_000), 600]} for _ in range(chance.randrange(2))],
    }


def text(chance: Random, words: int) -> str:
    """So many words; now and then with what JSON has to escape."""
    written = "".join(chance.choices(vocabulary(), k=words))
    return f'“{written}”\n\t"{written[:4]}"' if chance.random() < 0.1 else written


@cache
def vocabulary() -> list[str]:
    """Words of one to three characters, and the phrases, three of ten."""
    chance = Random(SEED)
    made = ["".join(map(chr, chance.choices(CHARACTERS, k=chance.randint(1, 3)))) for _ in range(WORDS)]
    return made + list(PHRASES) * (WORDS * 3 // 7 // len(PHRASES))
