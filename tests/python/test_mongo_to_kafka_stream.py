"""Change streams: deletes travel, and what the server no longer has is named and caught up."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import bson
import pytest
from tests.python.support import documents
from tests.python.support.children import wait_until
from tests.python.support.feeds import CLUSTER_TIME, OPERATION, Feed, numbered
from tests.python.support.mongo_proxy import MongoProxy, failure
from tests.services.mongodb import start_mongodb

from pipeline_core.exceptions import DataLossError, PipelineError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.python.support.topics import Message
    from tests.services.mongodb import Mongodb

HISTORY_LOST, STREAM_FATAL, BAD_TOKEN = 286, 280, 260
KEPT = 100
# The server of the tests drops the oldest when it has so many too many.
TOO_MANY = 2_000
SECOND = timedelta(seconds=1)


@pytest.fixture
def feed(kafka, mongodb, tmp_path) -> Feed:
    """A collection that is not there yet."""
    return streaming(kafka, mongodb, tmp_path)


def streaming(kafka, mongodb, folder, partitions: int = 3, **settings: Any) -> Feed:
    given = {"mode": "stream", "json_form": "plain", "transaction_seconds": 0.2, "exactly_once": True}
    return Feed(kafka, mongodb, folder, partitions, settings={**given, **settings})


@pytest.fixture(scope="module")
def forgetful(mongodb) -> Iterator[Mongodb]:  # noqa: ARG001 - where that one cannot run, this one cannot either
    """A server that keeps few changes."""
    found = start_mongodb("mongodb_forgetful", oplog_max_entries=KEPT, durable=False)
    with found.server:
        yield found


def told(feed: Feed) -> list[tuple[str, Any, Any]]:
    """Operation, id and the field `n` of each message in its order, of a topic of one partition."""
    return [(message.headers[OPERATION], *_content(message)) for message in feed.messages()]


def _content(message: Message) -> tuple[Any, Any]:
    if message.value is None:
        return (message.key or b"").decode(), None
    document = json.loads(message.value)
    return document["_id"], document.get("n")


def forget(feed: Feed) -> None:
    """Write elsewhere until the server no longer has what was before."""
    other = feed.client[feed.database]["elsewhere"]
    for _ in range(2):
        other.insert_many(numbered(TOO_MANY // 2))


def number(token: str) -> int:
    """The number of the change that a token of this server stands for."""
    return bson.decode(bytes.fromhex(token))["s"]


def test_a_stream_sends_inserts_updates_replacements_and_deletes(kafka, mongodb, tmp_path) -> None:
    feed = streaming(kafka, mongodb, tmp_path, partitions=1)
    feed.insert({"_id": "old", "n": 0}, {"_id": "older", "n": 0})
    begun = feed.run()
    assert (begun.rows_written, begun.details["snapshot_documents"]) == (2, 2)
    feed.insert({"_id": "a", "n": 1})
    for change in ({"n": 2}, {"n": 3}):
        feed.collection.update_one({"_id": "a"}, {"$set": change})
    feed.collection.replace_one({"_id": "old"}, {"n": 4})
    feed.collection.delete_one({"_id": "older"})
    report = feed.run()
    read, changes = told(feed)[:2], told(feed)[2:]
    assert sorted(read) == [("read", "old", 0), ("read", "older", 0)]
    assert changes == [
        ("insert", "a", 1),
        ("update", "a", 3),
        ("update", "a", 3),
        ("replace", "old", 4),
        ("delete", "older", None),
    ]
    times = [tuple(map(int, message.headers[CLUSTER_TIME].split("."))) for message in feed.messages()]
    assert times == sorted(times)
    assert abs(datetime.fromtimestamp(times[-1][0], timezone.utc) - datetime.now(timezone.utc)) < 600 * SECOND
    assert (report.rows_read, report.rows_written, report.details["tombstones"]) == (5, 5, 1)
    assert (report.details["snapshot_documents"], report.details["vanished"], report.details["gaps"]) == (0, 0, [])
    assert feed.run().rows_written == 0


def test_a_tombstone_has_the_key_of_the_document_whatever_its_id_is(feed) -> None:
    ids: list[Any] = ["text", 7, 2.5, {"a": 1}, b"\0", True, datetime(2026, 1, 1, tzinfo=timezone.utc)]
    feed.insert(*({"_id": each} for each in ids), {})
    feed.run()
    feed.collection.delete_many({})
    assert feed.run().details["tombstones"] == len(ids) + 1
    by_key = feed.by_key()
    assert len(by_key) == len(ids) + 1
    assert all([message.value is None for message in messages] == [False, True] for messages in by_key.values())


def test_an_update_whose_document_is_gone_is_not_sent_and_counted(kafka, mongodb, tmp_path) -> None:
    feed = streaming(kafka, mongodb, tmp_path, partitions=1)
    feed.insert({"_id": "a", "n": 1})
    feed.run()
    for number in (2, 3):
        feed.collection.update_one({"_id": "a"}, {"$set": {"n": number}})
    feed.collection.delete_one({"_id": "a"})
    report = feed.run()
    assert (report.details["vanished"], report.rows_written) == (2, 1)
    assert told(feed) == [("read", "a", 1), ("delete", "a", None)]


def test_a_post_image_is_asked_for_where_the_collection_keeps_them(kafka, mongodb, tmp_path) -> None:
    feed = streaming(kafka, mongodb, tmp_path, partitions=1, full_document="post-image")
    feed.client[feed.database].create_collection("things", changeStreamPreAndPostImages={"enabled": True})
    feed.run()
    feed.insert({"_id": "a", "n": 1})
    feed.collection.update_one({"_id": "a"}, {"$set": {"n": 2}})
    feed.run()
    assert told(feed) == [("insert", "a", 1), ("update", "a", 2)]


def test_without_a_snapshot_only_what_changes_from_now_on_is_sent(kafka, mongodb, tmp_path) -> None:
    feed = streaming(kafka, mongodb, tmp_path, partitions=1, snapshot=False)
    feed.insert({"_id": "old", "n": 0})
    assert feed.run().rows_written == 0
    feed.collection.update_one({"_id": "old"}, {"$set": {"n": 1}})
    assert feed.run().rows_written == 1
    assert told(feed) == [("update", "old", 1)]


def test_a_full_run_sends_all_once_more_and_loses_no_change(kafka, mongodb, tmp_path) -> None:
    feed = streaming(kafka, mongodb, tmp_path, partitions=1)
    feed.insert({"_id": "a", "n": 1}, {"_id": "b", "n": 1})
    feed.run()
    feed.collection.delete_one({"_id": "a"})
    report = feed.run(full_amount=True)
    assert report.details["snapshot_documents"] == 1
    feed.collection.update_one({"_id": "b"}, {"$set": {"n": 2}})
    feed.run()
    assert feed.latest() == {b"a": None, b"b": b'{"_id":"b","n":2}'}, "The delete before the full run is told as well"


def test_a_collection_that_is_made_later_is_waited_for(feed) -> None:
    with feed.running():
        wait_until(feed.file("stream").exists, "it is at work")
        feed.insert({"_id": "a", "n": 1})
        wait_until(lambda: feed.latest() == {b"a": b'{"_id":"a","n":1}'}, "it is sent", 30)


@pytest.mark.parametrize("happens", ["drop", "rename"])
@pytest.mark.parametrize("is_running", [True, False], ids=["while it runs", "between two runs"])
def test_a_collection_that_is_dropped_and_made_again_is_followed(feed, happens, is_running) -> None:
    feed.insert({"_id": "a", "n": 1})
    feed.run()

    def story() -> None:
        feed.insert({"_id": "b", "n": 1})
        if happens == "drop":
            feed.collection.drop()
        else:
            feed.collection.rename("renamed")
        feed.insert({"_id": "c", "n": 1})
        feed.collection.update_one({"_id": "c"}, {"$set": {"n": 2}})

    if is_running:
        with feed.running():
            story()
            wait_until(lambda: feed.latest().get(b"c") == b'{"_id":"c","n":2}', "it is followed", 30)
    else:
        story()
    feed.run()
    found = feed.latest()
    assert {b"a", b"b", b"c"} == found.keys()
    assert found[b"c"] == b'{"_id":"c","n":2}'
    # Once more: the end of the old collection has been gone past.
    feed.insert({"_id": "d", "n": 1})
    feed.run()
    assert feed.latest().keys() == {b"a", b"b", b"c", b"d"}
    assert len(feed.by_key()[b"b"]) == 1


def test_an_idle_stream_keeps_its_token_while_others_write(kafka, forgetful, tmp_path) -> None:
    feed = streaming(kafka, forgetful, tmp_path, heartbeat_seconds=0.3)
    elsewhere = feed.client[feed.database]["elsewhere"]
    feed.insert({"_id": "a", "n": 1})
    with feed.running():
        wait_until(lambda: feed.messages() and feed.cursor().token, "it is at work", 30)
        for _ in range(3):
            forget(feed)
            with elsewhere.watch() as now:
                now.try_next()
                last = number(now.resume_token["_data"])
            elsewhere.insert_one({})
            wait_until(lambda last=last: number(feed.cursor().token) >= last, "it saves its token", 30)
    feed.insert({"_id": "b", "n": 1})
    report = feed.run()
    assert (report.details["gaps"], report.rows_written) == ([], 1)


def lost_token(feed: Feed) -> None:
    """The server no longer has what comes after the token, and of that an insert, an update and a delete."""
    feed.insert(*({"_id": f"{name}", "n": 1, "at": datetime.now(timezone.utc)} for name in "abc"))
    feed.run()
    feed.insert({"_id": "missed", "n": 1, "at": datetime.now(timezone.utc)})
    feed.collection.update_one({"_id": "a"}, {"$set": {"n": 2, "at": datetime.now(timezone.utc)}})
    feed.collection.delete_one({"_id": "b"})
    forget(feed)


@pytest.mark.parametrize("by", ["cursor", "snapshot"])
def test_a_lost_token_is_named_and_what_is_there_is_caught_up(kafka, forgetful, tmp_path, by) -> None:
    by_field = {"cursor_field": "at"} if by == "cursor" else {}
    feed = streaming(kafka, forgetful, tmp_path, lag_seconds=0.1, **by_field)
    old = datetime.now(timezone.utc) - timedelta(days=1)
    feed.insert(*({"_id": f"old {number}", "n": 0, "at": old} for number in range(20)))
    lost_token(feed)
    report = feed.run()
    [gap] = report.details["gaps"]
    assert gap["caught_up_by"] == by
    begin, end = (datetime.fromisoformat(re.sub("Z$", "+00:00", gap[name])) for name in ("from", "to"))
    assert begin <= end
    assert datetime.now(timezone.utc) - end < 60 * SECOND
    assert gap["reason"]
    found = {key: json.loads(value)["n"] for key, value in feed.latest().items() if value is not None}
    assert found.items() >= {b"a": 2, b"missed": 1, b"c": 1}.items()
    assert gap["documents"] >= 2
    read = [key for key, messages in feed.by_key().items() if len(messages) > 1 and key.startswith(b"old")]
    assert len(read) == (0 if by == "cursor" else 20), "By the cursor only what is of the gap is read again"
    feed.insert({"_id": "later", "n": 1, "at": datetime.now(timezone.utc)})
    after = feed.run()
    assert (after.details["gaps"], after.rows_written) == ([], 1)


def test_a_lost_token_is_an_error_where_it_must_not_be_caught_up(kafka, forgetful, tmp_path) -> None:
    feed = streaming(kafka, forgetful, tmp_path)
    lost_token(feed)
    before = feed.messages()
    for _ in range(2):
        with pytest.raises(DataLossError, match=r"things .*\d{4}-\d\d-\d\d") as failed:
            feed.run(on_lost_token="fail")
        assert "catch-up" in (failed.value.hint or "")
    assert feed.messages() == before
    assert feed.run().details["gaps"]
    assert feed.latest()[b"missed"]


@pytest.mark.parametrize("code", [HISTORY_LOST, STREAM_FATAL, BAD_TOKEN])
@pytest.mark.parametrize("at", ["'startAfter'|'resumeAfter'", "'getMore'"], ids=["at the start", "while it runs"])
def test_whatever_the_server_says_of_a_lost_token_nothing_is_skipped(feed, code, at) -> None:
    feed.insert({"_id": "a", "n": 1})
    feed.run()
    feed.insert({"_id": "b", "n": 1})
    with MongoProxy(feed.mongodb.url) as proxy:
        answer = proxy.answer(at, failure(code, "Resume of change stream was not possible"), times=1)
        report = feed.run(mongodb_uri=proxy.uri)
    assert answer.happened == 1
    assert [gap["caught_up_by"] for gap in report.details["gaps"]] == ["snapshot"]
    assert {b"a", b"b"} == feed.latest().keys()
    feed.insert({"_id": "c", "n": 1})
    assert feed.run().rows_written == 1


def test_a_change_that_cannot_be_written_is_a_dead_letter_and_its_delete_travels(feed) -> None:
    feed.run()
    bad = documents.document({"_id": documents.text("bad"), "a": documents.text(b"caf\xe9")})
    feed.insert({"_id": "bad", "stands_for": "bad"}, {"_id": "good", "n": 1})
    with MongoProxy(feed.mongodb.url, stand_ins={"bad": bad}) as proxy:
        report = feed.run(mongodb_uri=proxy.uri)
    assert (report.rows_written, report.rows_rejected) == (1, 1)
    [letter] = feed.letters()
    assert (letter.key, letter.value) == (b"bad", bad)
    assert letter.headers[OPERATION] == "insert"
    feed.collection.delete_many({})
    feed.run()
    assert feed.latest() == {b"bad": None, b"good": None}


@pytest.mark.parametrize("name", ["aggregate", "getMore"])
def test_connections_that_break_in_the_middle_cost_nothing(feed, name) -> None:
    feed.insert(*numbered(20))
    feed.run()
    with MongoProxy(feed.mongodb.url) as proxy:
        every = {"aggregate": 1, "getMore": 2}[name]
        lost = [proxy.lose_reply(f"'{name}'", every, times=2), proxy.lose_request(f"'{name}'", every, times=2)]
        with feed.running(mongodb_uri=proxy.uri, batch_size=7):
            feed.insert(*numbered(100, 20))
            wait_until(lambda: len(feed.messages()) >= 120, "all are sent", 60)
            wait_until(lambda: sum(fault.happened for fault in lost) == 4, "all have happened", 30)
    feed.run()
    assert sorted(json.loads(message.value or b"")["number"] for message in feed.messages()) == [*range(120)]


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_stream_goes_on_by_itself_when_the_server_is_back(kafka, own_mongodb, tmp_path, how) -> None:
    feed = streaming(kafka, own_mongodb, tmp_path)
    feed.insert(*numbered(10))
    with feed.running():
        wait_until(lambda: len(feed.messages()) == 10, "it is at work")
        feed.insert(*numbered(10, 10))
        if how == "kill":
            own_mongodb.server.kill()
            own_mongodb.server.start()
        else:
            own_mongodb.server.restart()
        feed.insert(*numbered(10, 20))
        wait_until(lambda: len(feed.messages()) >= 30, "it goes on", 60)
    feed.run()
    assert sorted(json.loads(message.value or b"")["number"] for message in feed.messages()) == [*range(30)]


def test_documents_of_15_mb_travel_as_changes(feed) -> None:
    feed.run()
    large = [{"_id": name, "text": name * 15_000_000} for name in "ab"]
    feed.insert(large[0])
    feed.insert(large[1])
    feed.collection.update_one({"_id": "a"}, {"$set": {"n": 1}})
    feed.collection.delete_one({"_id": "b"})
    feed.run(batch_size=1)
    latest = feed.latest()
    assert len(latest[b"a"] or b"") > 15_000_000
    assert latest[b"b"] is None


def test_a_server_that_is_no_replica_set_is_refused_with_the_way_out(feed) -> None:
    feed.insert({"_id": "a"})
    error = failure(40573, "The $changeStream stage is only supported on replica sets")
    lonely = ("setName", "hosts", "primary", "me", "operationTime", "$clusterTime")

    def alone(reply: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in reply.items() if name not in lonely}

    with MongoProxy(feed.mongodb.url) as proxy:
        proxy.answer("changeStream", lambda reply: alone(error(reply)))
        proxy.answer("", alone)
        with pytest.raises(SettingsError, match="replica set") as failed:
            feed.run(mongodb_uri=proxy.uri)
        assert "cursor" in (failed.value.hint or "")
        assert feed.run(mongodb_uri=proxy.uri, mode="cursor", collection="things").rows_written == 1
    assert isinstance(failed.value, PipelineError)


def test_a_stream_that_runs_until_a_count_ends_there_and_the_next_goes_on(kafka, mongodb, tmp_path) -> None:
    feed = streaming(kafka, mongodb, tmp_path, partitions=1)
    feed.run()
    feed.insert(*numbered(100))
    first = feed.run(until="30rows")
    assert first.rows_written == 30
    assert feed.run().rows_written == 70
    assert [json.loads(message.value or b"")["number"] for message in feed.messages()] == [*range(100)]


def test_the_cursor_of_a_stream_can_be_shown_set_and_reset(feed) -> None:
    feed.insert({"_id": "a", "n": 1})
    feed.run()
    shown = feed.cursor()
    assert shown.token
    assert shown.file == str(feed.file("stream"))
    feed.insert({"_id": "b", "n": 1})
    assert feed.run().rows_written == 1
    feed.cursor("set", json.dumps({"_data": shown.token}))
    assert feed.run().rows_written == 1
    feed.cursor("reset")
    assert feed.run().details["snapshot_documents"] == 2
