"""The races with documents measure what they say they do. On few documents, as `test_bench.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import decode_all, json_util
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from tests.bench import documents, mongo
from tests.bench.broker import Broker
from tests.bench.contestants import CONTESTANTS, MONGO_TO_KAFKA, Contestant, Part, field_of
from tests.bench.document_course import THROWS_AWAY, DocumentCourse
from tests.bench.documents import COLLECTION, DATABASE, INFORMATION, LZ4, RAW, REPLAY, Documents, id_of
from tests.bench.goals import verdicts
from tests.bench.lap import ROOT, Lap, LapError
from tests.bench.mongo_to_kafka import model
from tests.bench.native import has_native
from tests.bench.race import Race
from tests.bench.table import markdown
from tests.python.support import topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.collection import Collection
    from tests.bench.mongo import Source
    from tests.services.kafka import Kafka
    from tests.services.mongodb import Mongodb

COUNT = 300
OURS, *_, ORJSON = CONTESTANTS[MONGO_TO_KAFKA]


@pytest.fixture(scope="module")
def course(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> DocumentCourse:
    return DocumentCourse(Broker(kafka, None), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def data(course: DocumentCourse) -> Documents:
    return documents.write(REPLAY, COUNT, course.folder)


@pytest.fixture(scope="module")
def source(data: Documents) -> Iterator[Source]:
    with mongo.served(data) as there:
        yield there


@pytest.fixture(scope="module")
def replayed(source: Source) -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](source.uri) as client:
        yield client[DATABASE][COLLECTION]


def contestants() -> list[Contestant]:
    """Without the engine's own where the wheel has none, except in CI, where that fails."""
    is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    of_engine = ("ceiling", "producer")
    there = CONTESTANTS[MONGO_TO_KAFKA]
    return [one for one in there if one.module not in of_engine or has_native(MONGO_TO_KAFKA) or is_ci]


@pytest.mark.parametrize("contestant", contestants(), ids=lambda one: one.name)
def test_every_contestant_of_mongo_to_kafka_brings_every_document(course, data, source, monkeypatch, contestant):
    found: list[topics.Message] = []
    read = topics.messages

    def keep(kafka: Kafka, topic: str) -> list[topics.Message]:
        found[:] = read(kafka, topic)
        return found

    monkeypatch.setattr(topics, "messages", keep)
    taken = course.send(contestant, data, source)
    assert taken.process_seconds > taken.seconds > 0
    assert taken.cpu_seconds > taken.work_cpu_seconds > 0
    assert taken.peak_bytes > 1_000_000
    assert taken.said["rows"] == COUNT
    assert bool(found) is (contestant.module not in THROWS_AWAY)
    ids = {str(id_of(number)).encode() for number in range(COUNT)}
    for message in found:
        value = json.loads(message.value or b"")
        key = value["_id"]["$oid"] if contestant.part is Part.VARIANT else value["uid"]
        ids.remove(key.encode())
        assert message.key in ((None,) if contestant.part is Part.ORIGINAL else (key.encode(),))
    assert not found or not ids


def test_a_contestant_that_leaves_documents_out_or_changes_one_is_not_measured(course, data, source):
    with pytest.raises(LapError, match=f"orjson: rows: {COUNT}, not {COUNT + 1}"):
        course.send(ORJSON, replace(data, rows=COUNT + 1), source)
    with pytest.raises(LapError, match=r"orjson: their digest: \w+, not 0"):
        course.send(ORJSON, replace(data, digests={INFORMATION: "0"}), source)
    throws_away = next(one for one in CONTESTANTS[MONGO_TO_KAFKA] if one.module == "raw_batches")
    with pytest.raises(LapError, match=f"batches: bytes: {data.bytes}, not 1"):
        course.send(throws_away, replace(data, bytes=1), source)


def test_the_documents_are_of_the_size_that_is_said_and_the_same_each_time(data, tmp_path):
    assert documents.write(REPLAY, COUNT, tmp_path) == replace(
        data, path=tmp_path / data.path.name, payloads=tmp_path / data.payloads.name
    )
    assert data.path.read_bytes() == (tmp_path / data.path.name).read_bytes()
    held = decode_all(data.path.read_bytes())
    assert [document["_id"] for document in held] == sorted(document["_id"] for document in held)
    assert 1_000 < data.bytes / COUNT < 2_000
    names = ("description", "info_author", "link_data")
    assert {name for name in names for document in held if name not in document} == set(names)
    assert any(document.get("info_author", "") is None for document in held)


def test_the_values_that_are_expected_are_those_of_the_contract(data):
    held = decode_all(data.path.read_bytes())
    assert list(documents.values(INFORMATION, COUNT)) == [model.value_of(document, "") for document in held]
    canonical = [
        json_util.loads(value, json_options=json_util.CANONICAL_JSON_OPTIONS) for value in documents.values(RAW, COUNT)
    ]
    assert [one["crawl"] for one in canonical] == [document["crawl"] for document in held]
    assert documents.digest([b"a", b"b"]) == documents.digest([b"b", b"a"]) != documents.digest([b"a", b"a"])


def test_a_copy_has_an_id_of_its_own():
    count = documents.BASE + 1
    held = [bson.decode(document) for document in documents.documents(count)]
    assert held[0] | {"_id": id_of(count - 1)} == held[-1]
    *_, last = documents.values(INFORMATION, count)
    assert last == model.value_of(held[-1], "")


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ({}, range(COUNT)),
        ({"_id": id_of(7)}, range(7, 8)),
        ({"_id": {"$gt": id_of(7)}}, range(8, COUNT)),
        ({"_id": {"$gte": id_of(7), "$lte": id_of(9)}}, range(7, 10)),
        ({"$and": [{"_id": {"$gt": id_of(7)}}, {"_id": {"$lt": id_of(9)}}]}, range(8, 9)),
        ({"_id": None}, range(0)),
        ({"_id": {"$gt": 5}}, range(0)),
        ({"_id": {"$type": "string"}}, range(0)),
        ({"_id": {"$type": ["string", "objectId"]}}, range(COUNT)),
        (
            {"$or": [{"_id": {"$gt": id_of(COUNT - 3)}}, {"_id": {"$lt": id_of(3)}}, {"_id": {"$type": ["date"]}}]},
            (0, 1, 2, COUNT - 2, COUNT - 1),
        ),
    ],
)
def test_the_server_that_replays_gives_what_the_server_of_the_tests_gives(data, replayed, stored, condition, numbers):
    held = data.path.read_bytes()
    raw = [document.raw for document in stored.find(condition).sort("_id", 1)]
    assert b"".join(raw) == b"".join(find(replayed, condition, 1_000))
    assert [bson.decode(document)["_id"] for document in raw] == [id_of(number) for number in numbers]
    assert all(document in held for document in raw)


@pytest.fixture(scope="module")
def stored(mongodb: Mongodb) -> Iterator[Collection[RawBSONDocument]]:
    with mongodb.client(document_class=RawBSONDocument) as client:
        name = mongodb.new_database()
        client[name][COLLECTION].insert_many([RawBSONDocument(one) for one in documents.documents(COUNT)])
        yield client[name][COLLECTION]
        client.drop_database(name)


@pytest.mark.parametrize(("size", "batches"), [(1, COUNT), (7, -(-COUNT // 7)), (COUNT, 1), (10 * COUNT, 1)])
def test_the_server_that_replays_minds_the_size_of_a_batch(data, replayed, size, batches):
    found = find(replayed, {}, size)
    assert b"".join(found) == data.path.read_bytes()
    assert len(found) == batches


def test_the_server_that_replays_refuses_what_it_does_not_know(replayed):
    server = replayed.database.client
    assert server.server_info()["version"] == "7.0.0"
    assert server[DATABASE].list_collection_names(filter={"name": COLLECTION}) == [COLLECTION]
    assert server[DATABASE].list_collection_names(filter={"name": "another"}) == []
    assert replayed.estimated_document_count() == COUNT
    assert [index["name"] for index in replayed.list_indexes()] == ["_id_"]
    assert len(list(replayed.find(limit=5))) == 5
    for asked in (lambda: replayed.find_one({"uid": 1}), lambda: replayed.find_one(sort=[("_id", -1)])):
        with pytest.raises(OperationFailure, match="this server"):
            asked()
    with pytest.raises(OperationFailure, match="no such command: 'insert'"):
        replayed.insert_one({})
    with pytest.raises(OperationFailure, match="this server has only"):
        list(server[DATABASE]["another"].find())
    left = replayed.find(batch_size=10)
    next(left)
    left.close()


def test_the_command_line_races_with_documents_too(kafka, tmp_path):
    out = tmp_path / "bench.json"
    arguments = [MONGO_TO_KAFKA, "--rows", "50", "--rounds", "2", "--only", "ours,orjson", "--shape", REPLAY.name]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments, "--markdown", "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| shape | contestant | documents/s |" in done.stdout
    [race] = json.loads(out.read_text())["races"]
    assert {name: len(laps) for name, laps in race["laps"].items()} == {"ours": 2, "orjson": 2}
    assert [verdict["what"] for verdict in race["goals"]] == ["ours / orjson"]


def test_the_goals_of_documents_are_those_of_the_issue(data):
    race = Race(MONGO_TO_KAFKA, data, {one: [lap(1.0)] for one in CONTESTANTS[MONGO_TO_KAFKA]})
    found = {verdict.what: verdict.goal for verdict in verdicts(race)}
    assert found == {"ours / ceiling": 0.7, "ours / original": 4.0, "ours / orjson": 2.0}
    # The faster of the originals counts.
    race.laps[next(one for one in race.laps if one.name == "original")] = [lap(3.0)]
    assert "ours / confluent" in {verdict.what for verdict in verdicts(race)}
    assert "original" not in {one.name for one in field_of(MONGO_TO_KAFKA, LZ4.name)}


def test_the_table_has_the_cpu_seconds_of_the_server(data):
    text = markdown([Race(MONGO_TO_KAFKA, data, {OURS: [lap(2.0)]})])
    assert "| documents/s | MB/s | seconds | whole process | CPU s | MongoDB CPU s | peak MB |" in text
    assert "| 2.00 | 3.00 | 1.00 | 5.00 | 1 |" in text


def find(there: Collection[dict[str, Any]], condition: dict[str, Any], size: int) -> list[bytes]:
    """The batches of a query, whole documents one after the other."""
    batches = there.find_raw_batches(condition, sort=[("_id", 1)], batch_size=size)
    return [batch for batch in batches if batch]


def lap(seconds: float) -> Lap:
    return Lap(seconds, seconds + 1, seconds, 1.0, 1_000_000, store_cpu_seconds=5.0)
