"""The races for Walmart's orders measure what they say they do. On few orders, as `test_bench.py`."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from tests.bench.api import Api, ApiOrders, api, held
from tests.bench.broker import Broker
from tests.bench.contestants import CONTESTANTS, WALMART_TO_KAFKA
from tests.bench.fetch_course import FetchCourse
from tests.bench.goals import verdicts
from tests.bench.lap import Lap, LapError
from tests.bench.race import Race
from tests.bench.table import markdown
from tests.python.support import topics
from tests.python.support.children import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.services.kafka import Kafka

COUNT = 300
ADDED = "request_time"
OURS, ORIGINAL = CONTESTANTS[WALMART_TO_KAFKA]


@pytest.fixture(scope="module")
def course(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> FetchCourse:
    return FetchCourse(Broker(kafka, None), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def data() -> ApiOrders:
    return held(COUNT, days=2, slow_days=1)


@pytest.fixture(scope="module")
def there(data: ApiOrders) -> Generator[Api, None, None]:
    with api(data, seconds=0) as found:
        yield found


def test_every_contestant_puts_the_same_orders_onto_the_topic(course, data, there, monkeypatch):
    found: dict[str, dict[bytes, bytes]] = {}
    names: list[str] = []
    read = topics.messages

    def keep(kafka: Kafka, topic: str) -> list[topics.Message]:
        given = read(kafka, topic)
        names.append(topic)
        found["last"] = {message.key or b"": without_time(message.value or b"") for message in given}
        return given

    monkeypatch.setattr(topics, "messages", keep)
    for contestant in (OURS, ORIGINAL, replace(ORIGINAL, name="all", is_slow=False)):
        taken = course.fetch(contestant, data, there)
        assert taken.process_seconds > taken.seconds > 0
        found[contestant.name] = found.pop("last")
    assert len(found["ours"]) == data.rows == COUNT
    assert found["all"] == found["ours"]
    assert 0 < len(found["original"]) == data.slow_rows < COUNT
    assert found["original"].items() <= found["ours"].items()
    assert course.fetch(ORIGINAL, data, there).store_cpu_seconds > 0, "Of 73 answers"
    ours = tuple(names)
    wait_until(lambda: not any(name.startswith(ours) for name in topic_names(course)), "the topics are deleted", 30)


def test_the_sizes_are_those_of_what_the_api_sends(data):
    assert data.days == 2
    assert COUNT * 1_000 < data.bytes < COUNT * 4_000
    assert data.of_first(2) == sorted(set(data.of_first(2)))


def test_a_contestant_that_leaves_orders_out_is_not_measured(course, data, there):
    *days, last = data.numbers
    more = replace(data, numbers=(*days, (*last, "7", "8")))
    with pytest.raises(LapError, match=f"ours fetched {COUNT} orders, not {COUNT + 2}: 2 are missing, 0 should"):
        course.fetch(OURS, more, there)


def test_an_answer_takes_as_long_as_is_said(course, data):
    with api(data, seconds=0.5) as slow:
        begun = time.monotonic()
        taken = course.fetch(OURS, data, slow)
        assert time.monotonic() - begun > taken.seconds > 2 * 0.5, "A token, and then orders"


def test_no_goal_is_set_and_the_ratio_is_shown(data):
    race = Race(WALMART_TO_KAFKA, data, {OURS: [lap(1.0)], ORIGINAL: [lap(2.0)]})
    assert verdicts(race) == []
    ratio = COUNT / 1.0 / (data.slow_rows / 2.0)
    assert f"| {ratio:.2f}x |  |" in markdown([race])


def topic_names(course: FetchCourse) -> list[str]:
    return list(AdminClient(course.broker.kafka.properties()).list_topics(timeout=30).topics)


def without_time(message: bytes) -> bytes:
    """An order as compact JSON, without the time of the request, which must be there."""
    order = json.loads(message)
    assert order.pop(ADDED)
    return json.dumps(order, separators=(",", ":")).encode()


def lap(seconds: float) -> Lap:
    return Lap(seconds, seconds + 1, seconds, 1.0, 1_000_000)
