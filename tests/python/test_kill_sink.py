"""`kafka-to-parquet` killed at every step of its protocol and at random moments: no gap, no overlap, each row once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.python.support import data, oracle, topics
from tests.python.support.children import Child, seeded, side_by_side, succeed
from tests.python.support.places import Place, s3_place

from pipeline_core import csv_to_kafka, verify

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.services.kafka import Kafka

SESSION_SECONDS = 1
PLACES = ("before_cut", "after_cut", "before_object", "after_object", "before_commit", "after_commit")
# A cut has an object for each of the five markets, up to three of them on their way at a time.
COUNTS = {"before_object": (1, 3, 5, 11), "after_object": (1, 2, 5, 11)}
MOMENTS = 30

# What is on a topic, and what the oracle says of it.
Known = tuple[str, tuple[list[str], "Counter[str]"], list[topics.Message]]


@pytest.fixture(scope="module")
def known(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The real rows on a topic of two partitions."""
    csv = data.dataco(tmp_path_factory.mktemp("csv"))
    topic = kafka.new_topic(partitions=2)
    csv_to_kafka.run(files=csv, topic=topic, bootstrap_servers=kafka.bootstrap)
    return topic, oracle.csv_rows(csv), topics.messages(kafka, topic)


def settings(kafka: Kafka, topic: str, place: Place) -> dict[str, object]:
    return {
        "topic": topic,
        "bootstrap_servers": kafka.bootstrap,
        "to": place.url,
        "group_id": place.url,
        "until": "end",
        "partition_by": "Market",
        "flush_rows": 600,
        "session_timeout_seconds": SESSION_SECONDS,
        **place.settings,
    }


def assert_complete(kafka: Kafka, known: Known, place: Place) -> None:
    topic, rows, sent = known
    oracle.assert_each_row_once(place, *rows, sent)
    report = verify(place.url, topic=topic, bootstrap_servers=kafka.bootstrap, **place.settings)
    assert report.ok, report.problems[:5]


STEPS = [f"{place}:{count}" for place in PLACES for count in COUNTS.get(place, (1, 4))]
# A store and a step.
Case = tuple[str, str]
MIDDLE = ("after_cut:1", "after_object:7", "before_commit:2")
IN_BUCKETS: list[Case] = [(store, at) for store in ("s3", "no conditions") for at in MIDDLE]


@pytest.fixture(scope="module")
def mended(kafka, known, s3, s3_without_preconditions, tmp_path_factory) -> Iterator[dict[Case, Future[Place]]]:
    """Places where a sink was killed at a step and another has run to the end."""
    stores = {"s3": s3, "no conditions": s3_without_preconditions}

    def scenario(case: Case) -> Place:
        store, at = case
        folder = tmp_path_factory.mktemp("killed")
        place = s3_place(stores[store]) if store in stores else Place(str(folder / "lake"))
        given = settings(kafka, known[0], place)
        with Child(folder, "kafka-to-parquet", fault=f"{at}:kill", **given) as child:
            child.wait_until_killed()
        succeed(folder, "kafka-to-parquet", **given)
        return place

    yield from side_by_side(scenario, [*(("local", at) for at in STEPS), *IN_BUCKETS])


@pytest.mark.parametrize("at", STEPS)
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(kafka, known, mended, at) -> None:
    assert_complete(kafka, known, mended["local", at].result())


@pytest.mark.parametrize("case", IN_BUCKETS, ids=" ".join)
def test_a_kill_in_the_middle_of_a_cut_is_mended_in_a_bucket_too(kafka, known, mended, case) -> None:
    assert_complete(kafka, known, mended[case].result())


def test_a_kill_at_every_step_in_turn_loses_nothing_and_doubles_nothing(kafka, known, tmp_path) -> None:
    """Each life ends one step after the last one: a cut is begun, written and committed by different lives."""
    place = Place(str(tmp_path / "lake"))
    given = settings(kafka, known[0], place)
    for at in ("after_cut:1", "before_object:2", "after_object:4", "before_commit:1", "after_cut:1", "before_commit:1"):
        with Child(tmp_path, "kafka-to-parquet", fault=f"{at}:kill", **given) as child:
            child.wait_until_killed()
    succeed(tmp_path, "kafka-to-parquet", **given)
    assert_complete(kafka, known, place)


def test_dead_letters_survive_a_kill(kafka, tmp_path) -> None:
    """A refused message is in the dead letters at least once, and never in a file."""
    topic = kafka.new_topic()
    bad = set(range(3, 900, 7))
    topics.send(kafka, topic, [b"bad" if number in bad else b'{"a":"%d"}' % number for number in range(900)])
    place = Place(str(tmp_path / "lake"))
    given = settings(kafka, topic, place) | {"flush_rows": 200, "max_rejected_share": 0.5, "partition_by": []}
    for at in ("after_cut:2", "before_commit:1"):
        with Child(tmp_path, "kafka-to-parquet", fault=f"{at}:kill", **given) as child:
            child.wait_until_killed()
    succeed(tmp_path, "kafka-to-parquet", **given)
    offsets = [offset for table in oracle.tables(place).values() for offset in table["offset"].to_pylist()]
    assert sorted(offsets) == sorted(set(range(900)) - bad)
    refused = [int(letter.headers["__connect.errors.offset"]) for letter in topics.dead_letters(kafka, topic)]
    assert set(refused) == bad
    assert verify(place.url, topic=topic, bootstrap_servers=kafka.bootstrap).ok


def test_kills_at_random_moments_lose_nothing_and_double_nothing(kafka: Kafka, tmp_path) -> None:
    dice = seeded("random moments")
    topic = kafka.new_topic(partitions=3)
    place = Place(str(tmp_path / "lake"))
    given = settings(kafka, topic, place) | {"partition_by": ["status"], "flush_rows": 150}
    parts: list[Path] = []
    is_at_end = True
    for _ in range(MOMENTS):
        if is_at_end:
            parts.append(data.narrow(tmp_path / f"part-{len(parts)}.csv", 40_000, first=len(parts) * 40_000))
            csv_to_kafka.run(files=parts[-1], topic=topic, key="id", bootstrap_servers=kafka.bootstrap)
        with Child(tmp_path, "kafka-to-parquet", **given) as child:
            child.wait_for("reading a partition")
            time.sleep(dice.expovariate(2))
            is_at_end = not child.is_running
            child.kill()
            assert child.process.returncode in {-9, 0}, child.said
    succeed(tmp_path, "kafka-to-parquet", **given)
    rows = oracle.csv_rows(*parts, encoding="utf-8")
    assert_complete(kafka, (topic, rows, topics.messages(kafka, topic)), place)
