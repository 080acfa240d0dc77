"""Memory is a promise: what a run holds stays under its limit, however much there is to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from tests.python.support import data, topics
from tests.python.support.children import Child, wait_until

from pipeline_core import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 2_000_000
PARTITIONS = 12
LIMIT = 256_000_000


def peak_of(child: Child) -> int:
    """Wait for the end of a run, which must be a good one; the most memory that it had resident."""
    peaks = [0]
    wait_until(lambda: peaks.append(child.peak_memory()) or not child.is_running, "it ends", 240)
    ended = child.wait()
    assert ended.code == 0, ended.err
    return max(peaks)


@pytest.fixture(scope="module")
def narrow(kafka, tmp_path_factory) -> Iterator[tuple[str, int]]:
    """A topic of two million messages, and how much memory it took to send them."""
    folder = tmp_path_factory.mktemp("narrow")
    csv = data.narrow(folder / "orders.csv", ROWS)
    topic = kafka.new_topic(PARTITIONS)
    settings = {"topic": topic, "key": "id", "bootstrap_servers": kafka.bootstrap, "memory_limit": "256MB"}
    with Child(folder, f"csv-to-kafka {csv}", **settings) as child:
        peak = peak_of(child)
    csv.unlink()
    yield topic, peak
    topics.delete(kafka, topic)


def rows_of(lake: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in lake.rglob("*.parquet"))


def test_sending_two_million_rows_stays_under_the_limit(narrow) -> None:
    _, peak = narrow
    print(f"{peak / 1e6:.0f} MB")  # noqa: T201 - pytest shows it when the test fails
    assert 20_000_000 < peak < LIMIT


@pytest.mark.parametrize("partition_by", [[], ["day"]], ids=["plain", "28 folders"])
def test_writing_two_million_messages_of_twelve_partitions_stays_under_the_limit(
    kafka, narrow, tmp_path, partition_by
) -> None:
    topic, _ = narrow
    lake = tmp_path / "lake"
    settings = {"topic": topic, "to": lake, "group_id": f"{topic}-{len(partition_by)}", "until": "end"}
    settings |= {"bootstrap_servers": kafka.bootstrap, "memory_limit": "256MB", "partition_by": partition_by}
    with Child(tmp_path, "kafka-to-parquet", **settings) as child:
        peak = peak_of(child)
    print(f"{peak / 1e6:.0f} MB")  # noqa: T201 - pytest shows it when the test fails
    assert 20_000_000 < peak < LIMIT
    assert rows_of(lake) == ROWS
    report = verify(lake, topic=topic, bootstrap_servers=kafka.bootstrap)
    assert report.ok, report.problems[:5]


@pytest.mark.parametrize("limit", ["1MB", "32MB"])
def test_a_limit_far_too_small_costs_speed_and_no_row(kafka, tmp_path, limit) -> None:
    csv = data.narrow(tmp_path / "orders.csv", 30_000)
    topic, lake = kafka.new_topic(4), tmp_path / "lake"
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "memory_limit": limit}
    for pipeline, settings in (
        (f"csv-to-kafka {csv}", {"key": "id"}),
        ("kafka-to-parquet", {"to": lake, "group_id": topic, "until": "end"}),
    ):
        with Child(tmp_path, pipeline, **where, **settings) as child:
            peak_of(child)
    assert rows_of(lake) == 30_000
    assert verify(lake, topic=topic, bootstrap_servers=kafka.bootstrap).ok
