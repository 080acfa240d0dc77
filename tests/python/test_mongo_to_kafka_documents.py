"""Documents that are hard to carry: each is sent or a dead letter by a stated rule, and none stops the run."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from tests.python.support import documents, json_forms
from tests.python.support.children import seeded
from tests.python.support.feeds import Feed
from tests.python.support.mongo_proxy import MongoProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline_core.report import Report

REASON, PIPELINE = "__connect.errors.exception.message", "pipeline_core.pipeline"
COLLECTION = "pipeline_core.collection"
ALL_REFUSED = {"max_rejected_share": 1.0}
INSTANT = datetime(2026, 1, 31, 22, 56, tzinfo=timezone.utc)
# A cursor field of each class, and what has no class.
ORDERED: dict[str, list[Any]] = {
    "numbers": [1, Int64(2**40), 2.5, -7, Decimal128("1.5"), math.inf, -math.inf],
    "strings": ["", "a", "山田", "None"],
    "objects": [{}, {"a": 1}, {"b": [1]}],
    "binaries": [b"", b"\0\1", b"abc"],
    "object ids": [ObjectId("65" + "0" * 22), ObjectId("64" + "f" * 22)],
    "booleans": [False, True],
    "dates": [INSTANT, INSTANT.replace(year=1969), INSTANT.replace(year=9999)],
    "timestamps": [Timestamp(1, 1), Timestamp(1_700_000_000, 7)],
}
UNORDERED: list[Any] = [
    None,
    math.nan,
    Decimal128("NaN"),
    [],
    [1, 2],
    [INSTANT],
    ["a", [MinKey()]],
    MinKey(),
    MaxKey(),
    Regex("a", "i"),
]
IDS: list[Any] = [
    ObjectId("6560cf7e1f2b3c4d5e6f7081"),
    "text",
    'ü 山 "q"',
    "",
    7,
    Int64(2**40),
    2.5,
    Decimal128("1.25"),
    b"\0\xff",
    True,
    INSTANT,
    Timestamp(5, 6),
    {"a": 1, "b": {"$c": "d"}},
    None,
    MinKey(),
    MaxKey(),
]


@pytest.fixture
def feed(kafka, mongodb, tmp_path) -> Feed:
    """An empty collection."""
    return Feed(kafka, mongodb, tmp_path, settings={"lag_seconds": 0.5})


@pytest.fixture
def proxied(feed) -> Iterator[MongoProxy]:
    """The feed's runs read through it: it gives out what the server would not take."""
    with MongoProxy(feed.mongodb.url) as proxy:
        yield proxy


def insert_stand_ins(feed: Feed, proxy: MongoProxy, raws: dict[str, bytes]) -> None:
    """Documents that the proxy gives out; the server holds others with the same ids."""
    proxy.stand_ins = raws
    for name, raw in raws.items():
        [key] = [value for field, value in json_forms.fields(raw) if field == "_id"]
        feed.insert(documents.document({"_id": key, "stands_for": documents.text(name)}))


def assert_nothing_more(feed: Feed, **settings: Any) -> None:
    """Once what it read is too old to be changed by late ones, and before, a run sends nothing again."""
    before, letters = feed.messages(), feed.letters()
    for _ in range(2):
        report = feed.run(**settings)
        assert (report.rows_written, report.rows_rejected) == (0, 0)
    assert feed.messages() == before
    assert feed.letters() == letters


def reasons(feed: Feed) -> dict[bytes | None, str]:
    """Why each key is a dead letter; what every dead letter must have is looked at."""
    found: dict[bytes | None, str] = {}
    for letter in feed.letters():
        assert letter.headers[PIPELINE] == "mongo_to_kafka"
        assert letter.headers[COLLECTION] == f"{feed.database}.{feed.settings['collection']}"
        found[letter.key] = letter.headers[REASON]
    return found


@pytest.mark.parametrize("form", json_forms.FORMS)
def test_a_document_with_every_type_is_written_as_the_form_has_it(feed, form) -> None:
    dice = seeded(form)
    feed.insert(*(documents.any_document(dice, documents.int32(number), stored=True) for number in range(200)))
    assert feed.run(json_form=form).rows_written == 200
    feed.assert_same(form)
    assert_nothing_more(feed, json_form=form)


@pytest.mark.parametrize("form", json_forms.FORMS)
def test_types_that_no_driver_writes_any_more_are_written_as_well(feed, proxied, form) -> None:
    """With dates of all years and fields of the same name too, which this server does not take."""
    dice = seeded(form)
    raws = {str(number): documents.any_document(dice, documents.int32(number)) for number in range(60)}
    double = ("twice", documents.int32(1))
    raws["twice"] = documents.document([("_id", documents.text("twice")), double, ("twice", documents.null()), double])
    insert_stand_ins(feed, proxied, raws)
    assert feed.run(mongodb_uri=proxied.uri, json_form=form).rows_written == len(raws)
    latest = feed.latest()
    for raw in raws.values():
        found = json_forms.parse(latest[json_forms.key(raw)] or b"")
        assert repr(found) == repr(json_forms.form(raw, form))
        assert form != "canonical" or json_forms.bson(found) == raw


def test_json_is_compact_and_in_raw_utf_8(feed) -> None:
    feed.insert({"_id": "ü", "a": [1, {"b": "山"}], "c": {}, "d": []})
    feed.run(json_form="plain")
    assert feed.latest() == {"ü".encode(): '{"_id":"ü","a":[1,{"b":"山"}],"c":{},"d":[]}'.encode()}


def test_an_id_of_any_type_is_a_key(feed) -> None:
    feed.insert(*({"_id": key, "at": at} for at, key in enumerate(IDS)))
    assert feed.run().rows_written == len(IDS)
    feed.assert_same()
    keys = {json.loads(value or b"")["at"]["$numberInt"]: key for key, value in feed.latest().items()}
    assert (keys["0"], keys["1"], keys["3"]) == (b"6560cf7e1f2b3c4d5e6f7081", b"text", b"")
    assert keys["4"] == b'{"$numberInt":"7"}'
    assert keys["12"] == b'{"a":{"$numberInt":"1"},"b":{"$c":"d"}}'
    assert_nothing_more(feed)


@pytest.mark.parametrize("is_exact", [False, True], ids=["at least once", "exactly once"])
def test_mixed_types_in_the_cursor_field_lose_no_document(feed, is_exact) -> None:
    settings: dict[str, Any] = {"cursor_field": "at.last", "exactly_once": is_exact, "json_form": "canonical"}
    ordered = [value for values in ORDERED.values() for value in values]
    feed.insert(*({"at": {"last": value}} for value in [*ordered, *UNORDERED]))
    feed.insert({"at": {}}, {}, {"at": 5}, {"at": [{"last": 3}]}, {"at": None})
    without = len(UNORDERED) + 5
    report = feed.run(**settings)
    assert (report.rows_written, report.rows_rejected) == (len(ordered) + without, 0)
    assert report.details["without_cursor_field"] == without
    feed.assert_same()
    assert_nothing_more(feed, **settings)


@pytest.mark.parametrize("name", ORDERED)
def test_what_is_new_is_found_in_each_type_s_own_order(feed, name) -> None:
    """Each class has a position; one that another class has gone past is not forgotten."""
    values = ORDERED[name]
    feed.insert(*({"at": value} for value in [5, "m", INSTANT.replace(year=1900), *UNORDERED]))
    feed.run(cursor_field="at")
    feed.insert(*({"at": value} for value in [6, "n", *values]))
    feed.run(cursor_field="at")
    feed.assert_same()
    assert len(feed.messages()) == len(feed.documents())


def test_numbers_that_come_after_not_a_number_are_found(feed) -> None:
    for value in (math.nan, 1, math.nan, 2.5):
        feed.insert({"at": value})
        for _ in range(2):
            feed.run(cursor_field="at", lag_seconds=0.001)
    feed.assert_same()
    assert len(feed.messages()) == 4


def test_documents_of_15_mb_are_sent_unless_the_topic_takes_less(feed) -> None:
    dice = seeded("15 MB")
    large = dice.randbytes(15_500_000)
    feed.insert({"_id": "text", "a": large[:7_500_000].hex()}, {"_id": "small"})
    feed.insert({"_id": "binary", "a": dice.randbytes(15_800_000)}, {"_id": "last"})
    report = feed.run(**ALL_REFUSED)
    assert (report.rows_written, report.rows_rejected) == (3, 1)
    latest = feed.latest()
    assert latest.keys() == {b"text", b"small", b"last"}
    assert latest[b"text"] == b'{"_id":"text","a":"%s"}' % large[:7_500_000].hex().encode()
    [letter] = feed.letters()
    assert letter.key == b"binary"
    assert letter.value in feed.documents()
    assert "larger" in letter.headers[REASON]
    assert_nothing_more(feed)


def test_what_is_larger_than_the_topic_takes_is_a_dead_letter(kafka, mongodb, tmp_path) -> None:
    feed = Feed(kafka, mongodb, tmp_path, topic_settings={"max_message_bytes": "10000"})
    sizes = {str(size): size for size in (100, 5_000, 9_000, 11_000, 50_000, 2_000_000)}
    feed.insert(*({"_id": name, "text": "x" * size} for name, size in sizes.items()))
    report = feed.run(**ALL_REFUSED)
    assert (report.rows_written, report.rows_rejected) == (3, 3)
    assert feed.latest().keys() == {b"100", b"5000", b"9000"}
    assert reasons(feed).keys() == {b"11000", b"50000", b"2000000"}
    assert {letter.value for letter in feed.letters()} < {*feed.documents()}


def test_a_topic_that_is_made_takes_20_mb(feed) -> None:
    feed.topic = feed.settings["topic"] = f"{feed.topic}-of-its-own"
    feed.insert({"_id": "large", "a": seeded("20 MB").randbytes(15_000_000)})
    assert feed.run(json_form="plain", partitions=3).rows_written == 1
    assert [len(value or b"") for value in feed.latest().values()] == [20_000_000 + len('{"_id":"large","a":""}')]


@pytest.mark.parametrize("data_type", ["raw", "information"])
def test_500_levels_are_sent(feed, data_type) -> None:
    value = documents.array(documents.int32(1))
    for at in range(498):
        value = documents.array(value) if at % 2 else documents.embedded({"a": value})
    feed.insert(documents.document({"_id": documents.text("deep"), "info_section": value}))
    feed.run(data_type=data_type, **ALL_REFUSED)
    text = (feed.latest()[b"deep"] or b"").decode()
    inner = '{"$numberInt":"1"}' if data_type == "raw" else "1"
    nested = f"[{inner}]"
    for at in range(498):
        nested = f"[{nested}]" if at % 2 else f'{{"a":{nested}}}'
    assert nested in text
    assert_nothing_more(feed, data_type=data_type)


@pytest.mark.parametrize("form", json_forms.FORMS)
def test_invalid_utf_8_is_a_dead_letter_with_the_bytes_as_they_are(feed, proxied, form) -> None:
    bad = b"caf\xe9 \xff"
    raws = {
        "in a string": documents.document({"_id": documents.int32(1), "a": documents.text(bad)}),
        "deep": documents.document(
            {"_id": documents.int32(2), "a": documents.array(documents.embedded({"b": documents.text(bad)}))}
        ),
        "in a name": documents.document({"_id": documents.int32(3), "NAME": documents.null()}).replace(
            b"NAME", b"\xffAME"
        ),
        "in the id": documents.document({"_id": documents.text(bad), "a": documents.null()}),
        "good": documents.document({"_id": documents.int32(5), "a": documents.text("café")}),
    }
    proxied.stand_ins = raws
    feed.insert(*({"_id": at, "stands_for": name} for at, name in enumerate(raws, 1)))
    report = feed.run(mongodb_uri=proxied.uri, json_form=form, **ALL_REFUSED)
    assert (report.rows_read, report.rows_written, report.rows_rejected) == (5, 1, 4)
    assert feed.latest().keys() == {b'{"$numberInt":"5"}'}
    assert {letter.value for letter in feed.letters()} == {raw for name, raw in raws.items() if name != "good"}
    told = reasons(feed)
    assert told.keys() > {b'{"$numberInt":"1"}', b'{"$numberInt":"2"}', b'{"$numberInt":"3"}'}
    assert "UTF-8" in told[b'{"$numberInt":"1"}']
    assert_nothing_more(feed, mongodb_uri=proxied.uri, json_form=form)


def test_documents_without_the_fields_of_the_mapping_are_sent_with_its_defaults_or_refused(feed) -> None:
    feed.insert({"_id": "empty"}, {"_id": "odd", "info_name": ["no text"]}, {"_id": "null", "marc_code": None})
    feed.insert({"_id": "worse", "info_section": "no list"}, {"_id": "good", "info_name": "n"})
    report = feed.run(data_type="information", **ALL_REFUSED)
    assert (report.rows_written, report.rows_rejected) == (3, 2)
    assert feed.latest().keys() == {b"empty", b"null", b"good"}
    told = reasons(feed)
    assert "info_name" in told[b"odd"]
    assert "info_section" in told[b"worse"]
    assert_nothing_more(feed, data_type="information")


def test_too_many_refused_documents_end_the_run_and_the_next_one_goes_on(feed) -> None:
    from pipeline_core.exceptions import RejectedError

    feed.insert(*({"_id": f"{number:04}", "info_name": []} for number in range(300)))
    with pytest.raises(RejectedError):
        feed.run(data_type="information")
    report: Report = feed.run(data_type="information", **ALL_REFUSED)
    assert report.rows_rejected
    assert {letter.key for letter in feed.letters()} == {f"{number:04}".encode() for number in range(300)}
