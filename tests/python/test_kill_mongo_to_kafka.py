"""`mongo-to-kafka` killed at every step: with transactions each message once, without them none is lost."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.python.support.children import side_by_side
from tests.python.support.feeds import OPERATION, Feed
from tests.python.support.mongo_proxy import MongoProxy, failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.mongodb import Mongodb

DOCUMENTS = 300
SMALL = {"batch_size": 20, "transaction_rows": 20, "lag_seconds": 0.2, "json_form": "plain"}
# In the order of the protocol.
STEPS = ("after_read", "before_commit", "before_checkpoint", "in_checkpoint", "after_commit")
LOST_TOKEN = 286


class Case(NamedTuple):
    """Where a run is killed."""

    mode: str
    is_exact: bool
    at: str

    def __str__(self) -> str:
        return f"{self.mode} {'exactly' if self.is_exact else 'at least'} once {self.at}"


CASES = [
    Case(mode, is_exact, f"{step}:{count}")
    for mode in ("cursor", "stream")
    for is_exact, counts in ((True, (1, 6)), (False, (3,)))
    for step in STEPS
    for count in counts
]
IN_TURN = [Case(mode, is_exact=True, at="") for mode in ("cursor", "stream")]
SNAPSHOTS = [Case("stream", is_exact, "after_snapshot:1") for is_exact in (True, False)]


def begun(kafka: Kafka, mongodb: Mongodb, folder: Path, case: Case) -> Feed:
    """Documents, and in mode stream a first run, so that what comes is changes."""
    settings = {**SMALL, "mode": case.mode, "exactly_once": case.is_exact}
    feed = Feed(kafka, mongodb, folder, settings=settings)
    if case.mode == "stream" and case not in SNAPSHOTS:
        feed.insert({"_id": "first", "version": 0})
        feed.run()
    feed.insert(*({"_id": str(number), "number": number, "version": 0} for number in range(DOCUMENTS)))
    if case.mode == "stream":
        feed.collection.update_many({"number": {"$mod": [3, 0]}}, {"$inc": {"version": 1}})
        feed.collection.delete_many({"number": {"$mod": [5, 0]}})
    return feed


def assert_all_there(feed: Feed, case: Case) -> None:
    """What must be on the topic is there, with transactions once."""
    feed.assert_same("plain") if case.mode == "cursor" else assert_all_changes(feed, case)
    for file in feed.state.glob("*.db*"):
        assert json.loads(file.read_text()), file
    if case.is_exact:
        told = Counter((one.key, one.value, one.headers.get(OPERATION)) for one in feed.messages())
        assert not [each for each, count in told.items() if count > 1]
    assert feed.run().rows_written == 0


def assert_all_changes(feed: Feed, case: Case) -> None:
    """Each document's changes are there in their order; nobody saw an update of a document that was deleted after."""
    expected = {str(number): ["insert"] for number in range(DOCUMENTS)}
    for number in range(0, DOCUMENTS, 3):
        expected[str(number)] += ["update"]
    for number in range(0, DOCUMENTS, 5):
        expected[str(number)] = ["insert", "delete"]
    if case in SNAPSHOTS:
        expected = {number: ["read"] for number, kinds in expected.items() if "delete" not in kinds}
    else:
        expected["first"] = ["read"]
    found = {
        key.decode(): [message.headers[OPERATION] for message in messages] for key, messages in feed.by_key().items()
    }
    if not case.is_exact:
        # What was not remembered is sent again, in its order.
        found = {key: list(dict.fromkeys(kinds)) for key, kinds in found.items()}
    assert found == expected


@pytest.fixture(scope="module")
def killed(kafka, mongodb, tmp_path_factory) -> Iterator[dict[Case, Future[Feed]]]:
    """Feeds whose runs were killed; another has sent the rest."""
    folders = {case: tmp_path_factory.mktemp("killed") for case in [*CASES, *IN_TURN, *SNAPSHOTS]}

    def scenario(case: Case) -> Feed:
        feed = begun(kafka, mongodb, folders[case], case)
        for at in [case.at] if case.at else [f"{step}:2" for step in STEPS]:
            with feed.worker(fault=f"{at}:kill") as child:
                child.wait_until_killed()
        feed.run()
        return feed

    yield from side_by_side(scenario, folders)


@pytest.mark.parametrize("case", [*CASES, *IN_TURN, *SNAPSHOTS], ids=str)
def test_a_kill_at_any_step_of_mongo_to_kafka_loses_nothing(killed, case) -> None:
    assert_all_there(killed[case].result(), case)


@pytest.mark.parametrize("is_exact", [True, False], ids=["exactly once", "at least once"])
@pytest.mark.parametrize("at", ["after_gap:1", "before_commit:2", "after_snapshot:1"])
def test_a_gap_is_caught_up_also_by_a_run_that_is_killed_while_it_does(kafka, mongodb, tmp_path, is_exact, at) -> None:
    case = Case("stream", is_exact, "in a gap")
    feed = begun(kafka, mongodb, tmp_path, case)
    feed.run()
    missed = [{"_id": f"missed {number}", "version": 0} for number in range(50)]
    feed.insert(*missed)
    with MongoProxy(mongodb.url) as proxy:
        proxy.answer("startAfter|resumeAfter", failure(LOST_TOKEN, "the oplog does not go back so far"), times=1)
        with feed.worker(fault=f"{at}:kill", mongodb_uri=proxy.uri) as child:
            child.wait_until_killed()
    feed.run()
    expected = {document["_id"].encode(): document["version"] for document in feed.collection.find()}
    found = {key: json.loads(value)["version"] for key, value in feed.latest().items() if value is not None}
    assert found == expected
    assert {document["_id"].encode() for document in missed} < found.keys()
    if is_exact:
        read = Counter(one.key for one in feed.messages() if one.headers[OPERATION] == "read" and one.key != b"first")
        assert {*read.values()} <= {1}, read
