"""`verify` sees what is wrong with the files of a topic, from names and footers alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.python.support import children, topics
from tests.python.support.places import Place

from pipeline_core import kafka_to_parquet, verify

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 1000


@pytest.fixture(scope="module")
def made(kafka, tmp_path_factory) -> tuple[str, Path]:
    """A topic of 1,000 messages, and its ten files."""
    topic, lake = kafka.new_topic(), tmp_path_factory.mktemp("made")
    topics.send(kafka, topic, [b'{"a":"%d"}' % number for number in range(ROWS)])
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    kafka_to_parquet.run(to=lake, group_id=topic, until="end", flush_rows=100, **where)
    return topic, lake


@pytest.fixture
def files(made, tmp_path) -> list[Path]:
    """A copy of the files, by offset."""
    shutil.copytree(made[1], tmp_path / "lake")
    found = sorted((tmp_path / "lake").rglob("*.parquet"), key=lambda path: path.name.split("_")[3:])
    assert len(found) == 10
    return found


def nothing(_: list[Path]) -> None:
    pass


def a_lost_file(files: list[Path]) -> None:
    files[4].unlink()


def a_lost_last_file(files: list[Path]) -> None:
    files[-1].unlink()


def a_lost_first_file(files: list[Path]) -> None:
    files[0].unlink()


def a_file_twice(files: list[Path]) -> None:
    stamp = files[4].name[len("orders_") :][:15]
    shutil.copy(files[4], files[4].with_name(files[4].name.replace(stamp, "20200101_000000")))


def a_file_cut_short(files: list[Path]) -> None:
    files[4].write_bytes(files[4].read_bytes()[:-100])


def a_file_under_another_name(files: list[Path]) -> None:
    files[4].rename(files[4].with_name(files[4].name.replace("400-", "399-")))


def all_files_lost(files: list[Path]) -> None:
    for path in files:
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (nothing, ""),
        (a_lost_file, "gap at offsets 400 to 499"),
        (a_lost_first_file, "gap at offsets 0 to 99"),
        (a_lost_last_file, "100 records at its end"),
        (a_file_twice, "overlap at offsets 400 to 499"),
        (a_file_cut_short, "not a whole Parquet file"),
        (a_file_under_another_name, "the name says offsets 399"),
        (all_files_lost, "No object"),
    ],
)
def test_what_is_wrong_is_said(kafka, made, files, tmp_path, damage, said) -> None:
    damage(files)
    report = verify(tmp_path / "lake", topic=made[0], bootstrap_servers=kafka.bootstrap)
    assert report.ok == (not said), report
    assert said in "\n".join(report.problems)


def test_more_messages_on_the_topic_are_told_as_missing(kafka, topic, tmp_path) -> None:
    place = Place(str(tmp_path / "lake"))
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    topics.send(kafka, topic, [b'{"a":"1"}'])
    kafka_to_parquet.run(to=place.url, group_id=topic, until="end", **where)
    topics.send(kafka, topic, [b'{"a":"2"}'] * 3)
    report = verify(place.url, **where)
    assert [part.behind for part in report.partitions] == [3]
    assert not report.ok
    assert verify(place.url, with_topic=False, **where).ok


def test_the_exit_code_is_the_verdict(kafka, made, files, tmp_path) -> None:
    settings = {"topic": made[0], "bootstrap_servers": kafka.bootstrap, "json": True}
    lake = f"verify {tmp_path / 'lake'}"
    sound = children.run(tmp_path, lake, **settings)
    files[4].unlink()
    damaged = children.run(tmp_path, lake, **settings)
    assert (sound.code, damaged.code) == (0, 1)
    assert (sound.report["ok"], damaged.report["ok"]) == (True, False)
    assert damaged.report["partitions"][0]["gaps"] == [[400, 499]]
