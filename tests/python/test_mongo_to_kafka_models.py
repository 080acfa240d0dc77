"""A data type of the user's own, as a class with `from_document`, from a collection to its topic."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import pytest
from tests.python.support import topics

from pipeline_core.exceptions import SettingsError

bson = pytest.importorskip("bson")
feeds = pytest.importorskip("tests.python.support.feeds")

MODULE = """
import os, time
from datetime import datetime
from decimal import Decimal
from pydantic import BaseModel, Field

class Page(BaseModel):
    uid: str = Field(alias="_id")
    name: str = Field(min_length=1)
    price: Decimal | None = None
    at: datetime | None = None

    @classmethod
    def from_document(cls, document):
        print("a print of the model's")
        if document.get("act") == "leave out":
            return None
        if document.get("act") == "exit":
            os._exit(3)
        if document.get("act") == "hang":
            time.sleep(600)
        return cls(**document)

class Types:
    @staticmethod
    def from_document(document):
        return {name: f"{type(value).__name__} {value}" for name, value in document.items()}
"""
REASON = "__connect.errors.exception.message"


@pytest.fixture
def feed(kafka, mongodb, tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    settings = {"data_type": "page", "data_types": {"page": "my_models:Page"}, "max_rejected_share": 1.0}
    return feeds.Feed(kafka, mongodb, tmp_path, settings=settings)


def sent(feed):
    return {message.key.decode(): json.loads(message.value) for message in feed.messages()}


def refused(feed):
    return {letter.key.decode(): letter for letter in topics.dead_letters(feed.kafka, feed.topic)}


def test_each_document_becomes_the_message_of_its_model(feed):
    at = datetime(2026, 1, 31, 22, 56, tzinfo=timezone.utc)
    ids = [bson.ObjectId() for _ in range(500)]
    prices = [bson.Decimal128(f"{number}.10") for number in range(500)]
    feed.insert(*({"_id": ids[n], "name": f"名 {n}", "price": prices[n], "at": at} for n in range(500)))
    report = feed.run()
    assert (report.rows_written, report.rows_rejected) == (500, 0)
    assert sent(feed) == {
        str(ids[n]): {"uid": str(ids[n]), "name": f"名 {n}", "price": f"{n}.10", "at": "2026-01-31T22:56:00Z"}
        for n in range(500)
    }


def test_what_a_model_refuses_is_a_dead_letter_and_what_it_leaves_out_is_counted(feed):
    feed.insert(
        {"_id": "good", "name": "a"},
        {"_id": "bad", "name": ""},
        {"_id": "none", "act": "leave out"},
        {"_id": "better", "name": "b"},
    )
    report = feed.run()
    assert set(sent(feed)) == {"good", "better"}
    assert set(refused(feed)) == {"bad"}
    assert refused(feed)["bad"].headers[REASON].startswith("ValidationError: 1 validation error for Page")
    assert (report.rows_written, report.rows_rejected, report.details["left_out"]) == (2, 1, 1)


def test_a_document_that_kills_its_process_is_a_dead_letter_and_the_others_are_sent(feed):
    documents = [{"_id": f"{number:03}", "name": "a"} for number in range(100)]
    documents[17]["act"] = documents[18]["act"] = documents[99]["act"] = "exit"
    feed.insert(*documents)
    report = feed.run()
    assert set(refused(feed)) == {"017", "018", "099"}
    assert set(sent(feed)) == {document["_id"] for document in documents} - {"017", "018", "099"}
    assert "ended its process with exit code 3" in refused(feed)["018"].headers[REASON]
    assert report.details["dead_letters"] == 3


def test_a_model_sees_python_s_values(feed):
    feed.insert(
        {
            "_id": bson.ObjectId("0123456789abcdef01234567"),
            "int": 1,
            "long": bson.Int64(2),
            "double": 1.5,
            "decimal": bson.Decimal128("1.10"),
            "date": datetime(2026, 1, 31, tzinfo=timezone.utc),
            "binary": b"\x00\xff",
            "timestamp": bson.Timestamp(1769817600, 1),
            "null": None,
        }
    )
    feed.run(data_types={"page": "my_models:Types"})
    assert sent(feed)["0123456789abcdef01234567"] == {
        "_id": "str 0123456789abcdef01234567",
        "int": "int 1",
        "long": "int 2",
        "double": "float 1.5",
        "decimal": "Decimal 1.10",
        "date": "datetime 2026-01-31 00:00:00+00:00",
        "binary": "bytes b'\\x00\\xff'",
        "timestamp": "datetime 2026-01-31 00:00:00+00:00",
        "null": "NoneType None",
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("my_models:Missing", "module 'my_models' has no attribute 'Missing'"),
        ("not_there:Page", "No module named 'not_there'"),
        ("datetime:datetime", "datetime:datetime has no method from_document"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_said_before_anything_is_read(feed, name, reason):
    feed.insert({"_id": "a", "name": "a"})
    began = time.monotonic()
    with pytest.raises(SettingsError, match=reason) as caught:
        feed.run(data_types={"page": name})
    assert time.monotonic() - began < 30
    assert "module:Class" in caught.value.hint
    assert not feed.messages()
