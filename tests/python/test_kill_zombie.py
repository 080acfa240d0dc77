"""A sink frozen past its session and woken when another has done its work: it publishes nothing, or the same bytes."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.python.support import data, oracle, topics
from tests.python.support.children import Child, Ended, side_by_side, succeed, wait_until
from tests.python.support.places import Place, s3_place

from pipeline_core import csv_to_kafka, verify

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from concurrent.futures import Future

SESSION_SECONDS = 2
WAKING_SECONDS = 40
PLACES = ("before_cut", "after_cut", "before_object", "after_object", "before_commit", "after_commit")
# Where it freezes, whether its successor is still in the group when it wakes, and where they write.
Case = tuple[str, str, str]
CASES: list[Case] = [(at, group, "local") for group in ("empty", "shared") for at in PLACES]
CASES += [("before_object", "empty", store) for store in ("s3", "no conditions")]


@pytest.fixture(scope="module")
def known(kafka, tmp_path_factory) -> tuple[str, tuple[list[str], Counter[str]], list[topics.Message]]:
    """The real rows on a topic of two partitions."""
    csv = data.dataco(tmp_path_factory.mktemp("csv"))
    topic = kafka.new_topic(partitions=2)
    csv_to_kafka.run(files=csv, topic=topic, bootstrap_servers=kafka.bootstrap)
    return topic, oracle.csv_rows(csv), topics.messages(kafka, topic)


def settings(kafka, topic: str, place: Place) -> dict[str, object]:
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


def is_complete(kafka, known, place: Place) -> bool:
    return verify(place.url, topic=known[0], bootstrap_servers=kafka.bootstrap, **place.settings).ok


def contents(place: Place) -> dict[str, bytes]:
    return {name: place.read(name) for name in place.names()}


@dataclass(frozen=True)
class Woken:
    """A place, what was in it when the zombie was woken, and how it ended."""

    place: Place
    before: dict[str, bytes]
    ended: Ended


@pytest.fixture(scope="module")
def zombies(kafka, known, s3, s3_without_preconditions, tmp_path_factory) -> Iterator[dict[Case, Future[Woken]]]:
    """Sinks frozen at a step past their session, and woken when a successor has written all."""
    stores = {"s3": s3, "no conditions": s3_without_preconditions}

    def scenario(case: Case) -> Woken:
        at, group, store = case
        folder = tmp_path_factory.mktemp("zombie")
        place = s3_place(stores[store]) if store in stores else Place(str(folder / "lake"))
        given = settings(kafka, known[0], place)
        with Child(folder, "kafka-to-parquet", fault=f"{at}:2:stop", **given) as zombie:
            zombie.wait_until_frozen()
            if group == "empty":
                succeed(folder, "kafka-to-parquet", **given)
                before = contents(place)
                zombie.wake()
                return Woken(place, before, zombie.wait(WAKING_SECONDS))
            with Child(folder, "kafka-to-parquet", **given | {"until": "stopped", "idle_seconds": 0.5}) as other:
                wait_until(lambda: is_complete(kafka, known, place) or not other.is_running, "the successor writes all")
                before = contents(place)
                zombie.wake()
                ended = zombie.wait(WAKING_SECONDS)
                other.send(signal.SIGTERM)
                assert other.wait(WAKING_SECONDS).code == 143, other.said
                return Woken(place, before, ended)

    yield from side_by_side(scenario, CASES)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_zombie_changes_nothing_once_another_has_done_its_work(kafka, known, zombies, case) -> None:
    woken = zombies[case].result()
    assert woken.ended.code == 0, woken.ended.err
    assert contents(woken.place) == woken.before
    oracle.assert_each_row_once(woken.place, *known[1], known[2])
    assert is_complete(kafka, known, woken.place)


def test_a_pause_shorter_than_the_session_is_survived(kafka, known, tmp_path) -> None:
    place = Place(str(tmp_path / "lake"))
    given = settings(kafka, known[0], place) | {"session_timeout_seconds": 30}
    with Child(tmp_path, "kafka-to-parquet", fault="before_object:4:stop", **given) as child:
        child.wait_until_frozen()
        child.wake()
        ended = child.wait(WAKING_SECONDS)
    assert ended.code == 0, ended.err
    oracle.assert_each_row_once(place, *known[1], known[2])
