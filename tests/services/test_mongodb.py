"""The MongoDB of the tests does what the product's tests build on."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128, ObjectId, Timestamp
from pymongo.errors import ConnectionFailure, OperationFailure
from tests.services.mongodb import Mongodb, start_mongodb
from tests.services.tls import make_certificates

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20
WRITERS = 4
KILLS = 3
RESTARTS = 3
HISTORY_LOST = 286
POLL_MS = 200


@pytest.fixture
def collection(mongodb: Mongodb):
    """A collection that nobody has written to."""
    with mongodb.client() as client:
        yield client[mongodb.new_database()]["kept"]


def events(stream: Any) -> list[dict[str, Any]]:
    """The changes of a stream until it has no more."""
    return list(iter(stream.try_next, None))


def kinds(stream: Any) -> list[str]:
    """What was done, by the changes of a stream until it has no more."""
    return [event["operationType"] for event in events(stream)]


def test_it_is_a_replica_set_that_tells_its_time(mongodb: Mongodb) -> None:
    with mongodb.client() as client:
        hello = client.admin.command("hello")
        assert hello["setName"]
        assert hello["isWritablePrimary"]
        told = hello["localTime"].replace(tzinfo=timezone.utc)
        assert abs(told - datetime.now(timezone.utc)) < timedelta(seconds=SECONDS)
        assert isinstance(hello["operationTime"], Timestamp)
        assert hello["maxWireVersion"] >= 17


def test_new_databases_have_names_of_their_own(mongodb: Mongodb) -> None:
    names = {mongodb.new_database() for _ in range(100)}
    assert len(names) == 100
    with mongodb.client() as client:
        assert not names & {*client.list_database_names()}


def test_values_are_found_by_type_and_sorted_by_class(collection: Any) -> None:
    day = datetime(2026, 1, 31, tzinfo=timezone.utc)
    values = {"null": None, "whole": 2, "text": "a", "id": ObjectId(), "day": day, "stamp": Timestamp(5, 1)}
    collection.insert_many([{"_id": name, "f": value} for name, value in values.items()])
    collection.insert_many([{"_id": "days", "f": [day]}, {"_id": "decimal", "f": Decimal128("1.5")}])

    def found(query: dict[str, Any]) -> list[str]:
        return [document["_id"] for document in collection.find(query).sort([("f", 1), ("_id", 1)])]

    assert found({}) == ["null", "decimal", "whole", "text", "id", "day", "days", "stamp"]
    assert found({"f": {"$gt": 1}}) == ["decimal", "whole"]
    assert found({"f": {"$gte": day}}) == ["day", "days"]
    assert found({"f": {"$type": "array"}}) == ["days"]
    assert found({"f": {"$not": {"$type": ["date", "number"]}}}) == ["null", "text", "id", "stamp"]
    assert found({"$or": [{"f": {"$gt": 1.5}}, {"f": 1.5, "_id": {"$gt": "a"}}]}) == ["decimal", "whole"]


def test_a_stream_goes_on_after_a_token_and_from_a_time(collection: Any) -> None:
    with collection.watch(max_await_time_ms=POLL_MS) as stream:
        collection.insert_one({"_id": 1})
        collection.update_one({"_id": 1}, {"$set": {"x": 1}})
        collection.replace_one({"_id": 1}, {"x": 2})
        collection.delete_one({"_id": 1})
        [insert, update, replace, delete] = events(stream)
        assert stream.resume_token == delete["_id"]
    assert {"clusterTime", "wallTime", "documentKey"} <= {*insert, *update, *replace} & {*delete}
    assert update["updateDescription"]["updatedFields"] == {"x": 1}
    for where in ({"resume_after": insert["_id"]}, {"start_after": insert["_id"]}):
        with collection.watch(max_await_time_ms=POLL_MS, **where) as stream:
            assert kinds(stream) == ["update", "replace", "delete"]
    with collection.watch(max_await_time_ms=POLL_MS, start_at_operation_time=replace["clusterTime"]) as stream:
        assert kinds(stream) == ["replace", "delete"]


def test_the_token_of_an_idle_stream_moves_on(collection: Any) -> None:
    with collection.watch(max_await_time_ms=POLL_MS) as stream:
        assert stream.try_next() is None
        before = stream.resume_token
        collection.database["other"].insert_one({})
        assert stream.try_next() is None
        assert stream.resume_token != before


def test_a_document_that_is_gone_is_looked_up_in_vain(collection: Any) -> None:
    with collection.watch(max_await_time_ms=POLL_MS, full_document="updateLookup") as stream:
        collection.insert_one({"_id": 1})
        collection.update_one({"_id": 1}, {"$set": {"x": 1}})
        collection.delete_one({"_id": 1})
        assert [event.get("fullDocument") for event in events(stream)] == [{"_id": 1}, None, None]


def test_images_are_kept_where_the_collection_says_so(collection: Any) -> None:
    images = {"full_document": "required", "full_document_before_change": "whenAvailable"}
    collection.insert_one({"_id": 1})
    with collection.watch(max_await_time_ms=POLL_MS, **images) as stream:
        collection.update_one({"_id": 1}, {"$set": {"x": 1}})
        with pytest.raises(OperationFailure, match="post-image"):
            stream.try_next()
    collection.database.command("collMod", collection.name, changeStreamPreAndPostImages={"enabled": True})
    with collection.watch(max_await_time_ms=POLL_MS, **images) as stream:
        collection.update_one({"_id": 1}, {"$set": {"x": 2}})
        [update] = events(stream)
        assert update["fullDocument"] == {"_id": 1, "x": 2}
        assert update["fullDocumentBeforeChange"] == {"_id": 1, "x": 1}


def test_a_transaction_is_seen_when_it_commits_and_not_when_it_aborts(collection: Any) -> None:
    with collection.watch(max_await_time_ms=POLL_MS) as stream, collection.database.client.start_session() as session:
        with session.start_transaction():
            collection.insert_one({"_id": 1}, session=session)
            assert kinds(stream) == []
        with session.start_transaction():
            collection.insert_one({"_id": 2}, session=session)
            session.abort_transaction()
        assert [event["documentKey"] for event in events(stream)] == [{"_id": 1}]


def test_a_dropped_collection_ends_its_stream(collection: Any) -> None:
    collection.insert_one({})
    with collection.watch(max_await_time_ms=POLL_MS) as stream:
        collection.drop()
        assert kinds(stream) == ["drop", "invalidate"]
        assert not stream.alive
        last = stream.resume_token
    with collection.watch(max_await_time_ms=POLL_MS, start_after=last) as stream:
        collection.insert_one({})
        assert kinds(stream) == ["insert"]


def test_a_document_of_15_megabytes_comes_whole(collection: Any) -> None:
    with collection.watch(max_await_time_ms=POLL_MS) as stream:
        collection.insert_one({"text": "x" * 15_000_000})
        assert len(stream.try_next()["fullDocument"]["text"]) == 15_000_000
    assert len(collection.find_one()["text"]) == 15_000_000


@pytest.mark.usefixtures("our_mongodb")
@pytest.mark.parametrize(("kept", "answer"), [(None, None), (100, HISTORY_LOST)])
def test_a_token_is_lost_when_the_changes_after_it_are(kept: int | None, answer: int | None) -> None:
    mongodb = start_mongodb(oplog_max_entries=kept)
    with mongodb.server, mongodb.client() as client:
        with client.one.kept.watch() as stream:
            client.one.kept.insert_one({})
            token = stream.next()["_id"]
        client.one.kept.insert_many([{} for _ in range(3000)])
        try:
            client.one.kept.watch(resume_after=token).close()
            refused = None
        except OperationFailure as error:
            refused = error.code
        assert refused == answer


def test_a_command_can_be_told_to_fail(own_mongodb: Mongodb) -> None:
    failing = {"failCommands": ["find"], "errorCode": HISTORY_LOST}
    with own_mongodb.client() as client:
        client.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=failing)
        with pytest.raises(OperationFailure) as refused:
            client.one.kept.find_one()
        assert refused.value.code == HISTORY_LOST
        assert client.one.kept.find_one() is None


def test_nobody_comes_in_without_the_password(mongodb_secured: Mongodb) -> None:
    with mongodb_secured.client() as client:
        assert client.one.kept.find_one() is None
    with mongodb_secured.client(password="wrong") as client, pytest.raises(OperationFailure) as refused:
        client.one.kept.find_one()
    assert refused.value.code == 18
    url = mongodb_secured.url.replace("pipeline:pipeline-secret@", "")
    with Mongodb(url).client() as client, pytest.raises(OperationFailure) as refused:
        client.one.kept.find_one()
    assert refused.value.code == 13


def test_tls_shows_a_certificate_of_our_ca_and_is_forced(mongodb_secured: Mongodb, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    for other in ({"tlsCAFile": str(tmp_path / "ca.pem")}, {"tls": False, "tlsCAFile": None}):
        with mongodb_secured.client(serverSelectionTimeoutMS=1000, **other) as client, pytest.raises(ConnectionFailure):
            client.admin.command("ping")


def test_what_was_acknowledged_survives_kills_and_is_streamed_once(own_mongodb: Mongodb) -> None:
    acknowledged: set[str] = set()
    stopped = threading.Event()

    def write(writer: int) -> None:
        with own_mongodb.client() as client:
            number = 0
            while not stopped.is_set():
                name = f"{writer}-{number}"
                try:
                    client.one.kept.update_one({"_id": name}, {"$set": {"x": 1}}, upsert=True)
                except ConnectionFailure:
                    continue
                acknowledged.add(name)
                number += 1

    writers = [threading.Thread(target=write, args=[writer]) for writer in range(WRITERS)]
    with own_mongodb.client() as client, client.one.kept.watch(max_await_time_ms=POLL_MS) as stream:
        for writer in writers:
            writer.start()
        for _ in range(KILLS):
            time.sleep(0.5)
            own_mongodb.server.kill()
            own_mongodb.server.start()
        stopped.set()
        for writer in writers:
            writer.join()
        there = [document["_id"] for document in client.one.kept.find()]
        assert acknowledged <= {*there}
        assert sorted(event["documentKey"]["_id"] for event in events(stream)) == sorted(there)


def test_a_paused_server_answers_when_it_is_resumed(own_mongodb: Mongodb) -> None:
    own_mongodb.server.pause()
    with own_mongodb.client(serverSelectionTimeoutMS=1000) as client, pytest.raises(ConnectionFailure):
        client.admin.command("ping")
    own_mongodb.server.resume()
    with own_mongodb.client() as client:
        assert client.admin.command("ping")["ok"]


def test_a_client_finds_a_restarted_server_again(own_mongodb: Mongodb) -> None:
    with own_mongodb.client() as client:
        for number in range(RESTARTS):
            client.one.kept.insert_one({"_id": number})
            own_mongodb.server.restart()
        assert client.one.kept.count_documents({}) == RESTARTS
