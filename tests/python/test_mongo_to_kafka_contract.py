"""The messages of `information` byte for byte as the original's model writes them, and data types of one's own."""

from __future__ import annotations

import json
import struct
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId
from pydantic import BaseModel
from tests.python.support.children import Child, seeded
from tests.python.support.feeds import Feed

from pipeline_core.exceptions import SettingsError

if TYPE_CHECKING:
    import random
    from pathlib import Path

ORIGINAL = (
    '{"uid":"x","topic":"t","name":"名","created_at":"","data_type":"information_nsfc","tag_values":"[\\"\\\\u901a'
    '\\\\u77e5\\", \\"\\\\u533b\\\\u5b66\\"]","link_data":[],"data":{"info_date":"","info_section":[{"a":1}],'
    '"info_author":"","description":""},"metadata":{"marc_code":"zh","details_page":""}}'
)
# With the colon of Chinese texts.
SOURCE = "来源\uff1a"
TEXTS = ("", "名", 'a"b\\c', f"{SOURCE}北京 日期 2026", " x y ", "\u2028\x7f", "None")
INSTANTS = (datetime(2026, 1, 31, 22, 56, tzinfo=timezone.utc), datetime(1999, 12, 31, 1, 2, 3, 45_000, timezone.utc))
BOOLEANS = (True, False)
GZIP = 1
MAGIC_AT, ATTRIBUTES_AT = 16, 21


class Data(BaseModel):
    """The original's, as its contract has it."""

    info_date: str | None
    info_section: list[Any]
    info_author: str | None
    description: str | None


class Metadata(BaseModel):
    """The original's."""

    marc_code: str
    details_page: str


class Information(BaseModel):
    """The original's."""

    uid: str
    topic: str
    name: str
    created_at: str
    data_type: str
    tag_values: str
    link_data: list[dict[str, Any]]
    data: Data
    metadata: Metadata


def plain(value: Any) -> Any:
    """A nested value as JSON has it."""
    match value:
        case dict():
            return {name: plain(held) for name, held in value.items()}
        case list():
            return [plain(held) for held in value]
        case ObjectId() | Decimal128():
            return str(value)
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case _:
            return value


def text(value: Any) -> str:
    """What Python's `str` makes of it; times are those of UTC, without its name."""
    return str(value.replace(tzinfo=None) if isinstance(value, datetime) else value)


def information(document: dict[str, Any], topic: str) -> bytes:
    """The message of a document."""

    def optional(name: str, *remove: str) -> str | None:
        found = document.get(name, "")
        if found is None:
            return None
        for word in remove:
            found = text(found).replace(word, "")
        return text(found)

    def given(name: str, default: Any) -> Any:
        found = document.get(name)
        return default if found is None else found

    data = Data(
        info_date=optional("info_date", SOURCE, "日期", " "),
        info_section=plain(given("info_section", [])),
        info_author=optional("info_author"),
        description=optional("description"),
    )
    metadata = Metadata(marc_code=text(given("marc_code", "zh")), details_page=text(given("page_url", "")))
    message = Information(
        uid=str(document["_id"]),
        topic=topic,
        name=text(given("info_name", "")),
        created_at=text(given("create_time", "")),
        data_type="information_nsfc",
        tag_values=json.dumps(plain(given("column_info", []))),
        link_data=plain(given("link_data", [])),
        data=data,
        metadata=metadata,
    )
    return message.model_dump_json().encode()


def random_document(dice: random.Random) -> dict[str, Any]:
    """A document of the original's collection, with some fields missing, null, or of another type."""

    def one(*others: Any) -> Any:
        return dice.choice([*TEXTS, None, *others])

    def anything(depth: int = 2) -> Any:
        held = [anything(depth - 1) for _ in range(dice.randrange(4))] if depth else []
        inner = [held, {f"k{at}": value for at, value in enumerate(held)}]
        return one(*BOOLEANS, dice.randrange(-9, 9), 2.5, ObjectId(), *INSTANTS, *inner)

    def some(make: Any) -> list[Any]:
        return [make() for _ in range(dice.randrange(4))]

    fields: dict[str, Any] = {
        "info_name": one(7, 2.5, ObjectId(), *BOOLEANS, Decimal128("1.10")),
        "create_time": one(*INSTANTS),
        "info_date": one(*INSTANTS),
        "info_source": one(),
        "info_author": one(),
        "description": one(),
        "column_info": dice.choice([None, some(anything), {"a": some(anything)}, "text", 5]),
        "link_data": dice.choice([None, some(lambda: {"url": anything(), "n": anything()})]),
        "info_section": dice.choice([None, some(anything)]),
        "marc_code": one(),
        "page_url": one(),
        "unknown": anything(),
    }
    return {"_id": ObjectId(), **{name: value for name, value in fields.items() if dice.random() < 0.8}}


@pytest.fixture
def feed(kafka, mongodb, tmp_path) -> Feed:
    """An empty collection, for the default data type."""
    return Feed(kafka, mongodb, tmp_path, settings={"data_type": "information"})


def test_the_reference_writes_what_the_original_wrote() -> None:
    sections = {"info_name": "名", "column_info": ["通知", "医学"], "info_section": [{"a": 1}]}
    assert information({"_id": "x", **sections}, "t").decode() == ORIGINAL


def test_information_is_byte_for_byte_the_message_of_the_original(feed) -> None:
    dice = seeded("information")
    documents = [random_document(dice) for _ in range(500)]
    feed.insert(*documents)
    report = feed.run()
    assert (report.rows_written, report.rows_rejected) == (500, 0)
    found = feed.latest()
    for document in documents:
        stored = feed.collection.find_one({"_id": document["_id"]})
        assert found[str(document["_id"]).encode()] == information(stored, feed.topic)
    assert {str(message.headers) for message in feed.messages()} == {"{}"}


def test_the_settings_of_the_original_are_the_defaults() -> None:
    from pipeline_core import mongo_to_kafka

    config = mongo_to_kafka.Config(topic="t")
    assert (config.collection, config.data_type, config.cursor_field) == (
        "raw_information_list_temp",
        "information",
        "_id",
    )
    assert (config.compression, config.mode, config.until) == ("gzip", "cursor", "end")


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_messages_are_compressed_with_gzip_unless_told_otherwise(our_broker, mongodb, tmp_path, compression) -> None:
    feed = Feed(our_broker.plain, mongodb, tmp_path, partitions=1)
    feed.insert(*({"text": "x" * 500} for _ in range(50)))
    feed.run(**({} if compression == "gzip" else {"compression": compression}))
    segments = list((our_broker.server.folder / "data").glob(f"{feed.topic}-0/*.log"))
    assert segments
    batch = segments[0].read_bytes()
    assert batch[MAGIC_AT] == 2, "A batch of records"
    [attributes] = struct.unpack_from(">h", batch, ATTRIBUTES_AT)
    assert attributes & 7 == (GZIP if compression == "gzip" else 0)


ARTICLE = {
    "fields": [
        {"name": "id", "path": "_id", "form": "text"},
        {"name": "about.title", "path": "title.zh", "form": "text", "remove": ["《", "》"]},
        {"name": "about.first", "path": "tags.0", "required": False},
        {"name": "about.tags", "path": "tags", "form": "list", "default": []},
        {"name": "when", "path": "at", "required": False},
        {"name": "of", "variable": "topic"},
        {"name": "from", "variable": "collection"},
        {"name": "kind", "variable": "data_type"},
        {"name": "version", "constant": {"major": 1, "parts": [1, None]}},
        {"name": "extra", "path": "extra", "form": "json-text", "required": False},
        {"name": "whole", "path": "whole", "form": "object", "required": False},
    ]
}


def test_a_mapping_of_one_s_own_makes_the_message(feed) -> None:
    at = datetime(2026, 1, 31, 22, 56, tzinfo=timezone.utc)
    first = {"title": {"zh": "《名》"}, "tags": ["a", {"b": 1}], "at": at, "extra": {"山": [1, 2.5]}, "whole": {"x": 1}}
    feed.insert({"_id": "full", **first}, {"_id": "least", "title": {"zh": ""}, "tags": []})
    feed.insert(
        {"_id": "no title"}, {"_id": "null", "title": {"zh": None}}, {"_id": "odd", "title": {"zh": "x"}, "tags": 5}
    )
    report = feed.run(data_type="article", data_types={"article": ARTICLE}, max_rejected_share=1.0)
    assert (report.rows_written, report.rows_rejected) == (2, 3)
    rest = f'"of":"{feed.topic}","from":"things","kind":"article","version":{{"major":1,"parts":[1,null]}}'
    assert {key: (value or b"").decode() for key, value in feed.latest().items()} == {
        b"full": '{"id":"full","about":{"title":"名","first":"a","tags":["a",{"b":1}]},'
        '"when":"2026-01-31T22:56:00.000Z",' + rest + ',"extra":"{\\"\\\\u5c71\\": [1, 2.5]}","whole":{"x":1}}',
        b"least": '{"id":"least","about":{"title":"","first":null,"tags":[]},"when":null,'
        + rest
        + ',"extra":null,"whole":null}',
    }
    reasons = {letter.key: letter.headers["__connect.errors.exception.message"] for letter in feed.letters()}
    assert reasons.keys() == {b"no title", b"null", b"odd"}
    assert "title.zh" in reasons[b"no title"]
    assert "tags" in reasons[b"odd"]


MODEL = """
from datetime import datetime
from decimal import Decimal
from pydantic import BaseModel


class Article(BaseModel):
    id: str
    title: str
    at: datetime | None = None
    price: Decimal | None = None
    content: bytes = b""

    @classmethod
    def from_document(cls, document):
        if document.get("title") == "skip":
            return None
        if document.get("title") == "raise":
            raise LookupError("no such title")
        assert isinstance(document.get("n", 0), int)
        return cls(id=document["_id"], **{name: document[name] for name in cls.model_fields if name in document})


class AsDict:
    @staticmethod
    def from_document(document):
        return {"id": document["_id"], "名": [1, None]}
"""


@pytest.fixture
def models(feed, monkeypatch) -> Path:
    """A module with a model, which the run finds."""
    module = feed.folder / "article_models.py"
    module.write_text(MODEL)
    monkeypatch.syspath_prepend(str(feed.folder))
    monkeypatch.setenv("PYTHONPATH", str(feed.folder))
    yield module
    sys.modules.pop("article_models", None)


def test_a_pydantic_model_of_one_s_own_makes_the_message(feed, models) -> None:  # noqa: ARG001
    at = datetime(2026, 1, 31, 22, 56, tzinfo=timezone.utc)
    feed.insert(
        {"_id": ObjectId("6560cf7e1f2b3c4d5e6f7081"), "title": "名", "at": at, "price": Decimal128("1.10"), "n": 5}
    )
    feed.insert({"_id": "skip", "title": "skip"}, {"_id": "raise", "title": "raise"}, {"_id": "none", "title": 5})
    feed.insert({"_id": "bytes", "title": "b", "content": b"abc"})
    settings = {"data_type": "article", "data_types": {"article": "article_models:Article"}}
    report = feed.run(**settings, max_rejected_share=1.0)
    assert (report.rows_written, report.rows_rejected, report.details["left_out"]) == (2, 2, 1)
    id_ = "6560cf7e1f2b3c4d5e6f7081"
    assert feed.latest() == {
        id_.encode(): f'{{"id":"{id_}","title":"名","at":"2026-01-31T22:56:00Z","price":"1.10","content":""}}'.encode(),
        b"bytes": b'{"id":"bytes","title":"b","at":null,"price":null,"content":"abc"}',
    }
    reasons = {letter.key: letter.headers["__connect.errors.exception.message"] for letter in feed.letters()}
    assert "LookupError" in reasons[b"raise"]
    assert "no such title" in reasons[b"raise"]
    assert "ValidationError" in reasons[b"none"]
    assert feed.run(**settings).rows_read == 0 or feed.run(**settings).rows_written == 0


def test_what_is_given_as_a_dict_is_written_compactly(feed, models) -> None:  # noqa: ARG001
    feed.insert({"_id": "a"})
    feed.run(data_type="article", data_types={"article": "article_models:AsDict"})
    assert feed.latest() == {b"a": '{"id":"a","名":[1,null]}'.encode()}


def test_an_unknown_data_type_is_refused_with_those_that_are_known(feed) -> None:
    feed.insert({"_id": "a"})
    with pytest.raises(SettingsError) as failed:
        feed.run(data_type="informaton", data_types={"article": ARTICLE})
    told = f"{failed.value} {failed.value.hint}"
    for name in ("information", "raw", "article"):
        assert name in told


def test_the_command_of_the_original_works_as_it_was_typed(feed) -> None:
    feed.insert(*({"info_name": str(number)} for number in range(5)))
    typed = f"mongo-to-kafka --topic {feed.topic} --data_type information --full_amount --collection things"
    where = {"bootstrap_servers": feed.kafka.bootstrap, "mongodb_uri": feed.mongodb.url}
    with Child(feed.folder, typed, mongodb_database=feed.database, json=True, **where) as child:
        ended = child.wait(60)
    assert (ended.code, ended.report["rows_written"]) == (0, 5), ended.err
    assert len(feed.messages()) == 5
