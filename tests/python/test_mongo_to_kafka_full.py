"""200,000 documents, all of them and then what is new: the topic agrees with the collection."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId
from tests.python.support.children import side_by_side
from tests.python.support.feeds import Feed, told_apart
from tests.services.mongodb import start_mongodb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from pymongo.collection import Collection
    from tests.services.mongodb import Mongodb

DOCUMENTS = 200_000
MORE = 2_000
# One in so many is changed later.
CHANGED = 200
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
BATCH = 10_000
SETTINGS: dict[str, Any] = {"cursor_field": "updated_at", "lag_seconds": 0.1, "batch_size": 5_000}
KILLED = "exactly once, killed on the way"
CASES: dict[str, dict[str, Any]] = {
    "at least once": {"full_amount": True},
    KILLED: {"full_amount": True, "exactly_once": True},
}
KILLED_AT = "before_commit:8:kill"


@dataclass
class Counts:
    """How many messages there were after all documents, and in the end; and what the runs wrote."""

    feed: Feed
    first: int
    last: int
    written: tuple[int, int]


def thing(number: int) -> dict[str, Any]:
    """A document; a hundred have the same time."""
    stamp = BEGIN + timedelta(seconds=number // 100, milliseconds=123)
    name = f'名 {number} "q"'
    return {"_id": ObjectId(), "number": number, "updated_at": stamp, "name": name, "price": Decimal128("12.50")}


def text(document: dict[str, Any]) -> str:
    """Its message."""
    milliseconds = (document["updated_at"] - EPOCH) // timedelta(milliseconds=1)
    name = document["name"].replace('"', '\\"')
    return (
        f'{{"_id":{{"$oid":"{document["_id"]}"}},"number":{{"$numberInt":"{document["number"]}"}},'
        f'"updated_at":{{"$date":{{"$numberLong":"{milliseconds}"}}}},"name":"{name}",'
        f'"price":{{"$numberDecimal":"{document["price"]}"}}}}'
    )


def stock(collection: Collection[Any], numbers: range) -> None:
    """Put documents of these numbers there."""
    for at in range(0, len(numbers), BATCH):
        collection.insert_many([thing(number) for number in numbers[at : at + BATCH]], ordered=False)


def change_some(collection: Collection[Any]) -> None:
    """Change one in `CHANGED`, and add more."""
    later = BEGIN + timedelta(days=1)
    touched = {"$set": {"updated_at": later, "name": "changed"}}
    found = collection.update_many({"number": {"$mod": [CHANGED, 7]}}, touched)
    assert found.modified_count == DOCUMENTS // CHANGED
    stock(collection, range(DOCUMENTS, DOCUMENTS + MORE))


def fingerprint(pairs: Iterable[tuple[bytes, bytes]]) -> str:
    """A hash of contents in whatever order."""
    digest = hashlib.sha256()
    for key, value in sorted(pairs):
        digest.update(key + b"\0" + value + b"\n")
    return digest.hexdigest()


@pytest.fixture(scope="module")
def quick(mongodb) -> Iterator[Mongodb]:  # noqa: ARG001 - where that one cannot run, this one cannot either
    """A server that is not durable: it takes so many documents in a fraction of the time."""
    found = start_mongodb("mongodb_quick", durable=False)
    with found.server:
        yield found


@pytest.fixture(scope="module")
def counted(kafka, quick, tmp_path_factory) -> Iterator[dict[str, Future[Counts]]]:
    """All documents by each case, side by side; then more of them."""
    folder = tmp_path_factory.mktemp("full")
    feeds = {
        case: Feed(kafka, quick, folder / str(number), database=database, settings=SETTINGS)
        for database in [quick.new_database()]
        for number, case in enumerate(CASES)
    }
    collection = feeds[KILLED].collection
    stock(collection, range(DOCUMENTS))

    def first(case: str) -> tuple[int, int]:
        feed, settings = feeds[case], CASES[case]
        if case == KILLED:
            with feed.worker(fault=KILLED_AT, **settings) as child:
                child.wait_until_killed()
        return feed.work(**settings).report["rows_written"], len(feed.messages())

    with ThreadPoolExecutor() as pool:
        firsts = dict(zip(CASES, pool.map(first, CASES), strict=True))
    change_some(collection)

    def second(case: str) -> Counts:
        settings = {**CASES[case], "full_amount": None}
        written = feeds[case].work(**settings).report["rows_written"]
        wrote, count = firsts[case]
        return Counts(feeds[case], count, len(feeds[case].messages()), (wrote, written))

    yield from side_by_side(second, CASES)


@pytest.fixture(scope="module")
def expected(counted) -> dict[bytes, bytes]:
    """The messages of all documents that are there in the end."""
    [feed, *_] = [future.result().feed for future in counted.values()]
    found = {str(document["_id"]).encode(): text(document).encode() for document in feed.collection.find()}
    assert len(found) == DOCUMENTS + MORE
    return found


@pytest.mark.parametrize("case", CASES)
def test_all_documents_and_then_what_is_new_agree_with_the_collection(counted, expected, case) -> None:
    found = counted[case].result().feed.latest()
    assert found.keys() == expected.keys(), told_apart(found, expected)
    wrong = {key: found[key] for key, value in expected.items() if found[key] != value}
    assert not wrong, f"{len(wrong)} are not as they are in the collection: {next(iter(wrong.items()))}"
    assert fingerprint(found.items()) == fingerprint(expected.items())


@pytest.mark.parametrize("case", CASES)
def test_no_document_is_sent_twice_for_nothing(counted, case) -> None:
    counts = counted[case].result()
    new = MORE + DOCUMENTS // CHANGED
    assert (counts.first, counts.last - counts.first) == (DOCUMENTS, new)
    assert counts.written[1] == new
    assert counts.written[0] == DOCUMENTS if case != KILLED else 0 < counts.written[0] < DOCUMENTS
