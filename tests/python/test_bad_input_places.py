"""Places that cannot be reached, read or written, and settings that are missing: one clear error, and nothing lost."""

from __future__ import annotations

import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import oracle, topics
from tests.python.support.children import run, succeed
from tests.python.support.places import Place, obs_place, s3_settings

from pipeline_core import csv_to_kafka, kafka_to_parquet, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.kafka import KafkaSasl

NOWHERE = "127.0.0.1:1"
ROWS = 2000


def failed(folder: Path, pipeline: str, **settings: object) -> tuple[int, str, dict[str, Any]]:
    """Run a command that fails: its exit code, the error's kind and the error."""
    ended = run(folder, pipeline, log_format="json", **settings)
    error = ended.error
    assert error["event"], error
    assert error.get("hint"), f"What should be done about it? {error}"
    return ended.code, error["kind"], error


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "orders.csv"
    path.write_text("a,b\n1,2\n")
    return path


@pytest.fixture(scope="module")
def noise(kafka) -> str:
    """A topic of 2 MB that nothing compresses."""
    dice = random.Random(1)
    topic = kafka.new_topic()
    topics.send(kafka, topic, (b'{"a":"%s"}' % dice.randbytes(500).hex().encode() for _ in range(ROWS)))
    return topic


LOGIN = ("security_protocol", "sasl_mechanism", "sasl_username", "sasl_password", "ssl_ca_location")


def login(kafka: KafkaSasl, **changed: object) -> dict[str, object]:
    return {
        "bootstrap_servers": kafka.bootstrap,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": kafka.mechanism,
        "sasl_username": kafka.user,
        "sasl_password": kafka.password,
        "ssl_ca_location": kafka.ca,
        **changed,
    }


UNREACHABLE = {
    "nothing there": ({"bootstrap_servers": NOWHERE}, "unavailable"),
    "a wrong password": ({"sasl_password": "wrong-horse"}, "access"),
    "a wrong user": ({"sasl_username": "nobody"}, "access"),
    "no CA": ({"ssl_ca_location": None}, "access"),
    "no encryption": (dict.fromkeys(LOGIN), "unavailable"),
}
COMMANDS = ("csv-to-kafka", "csv-to-kafka --exactly-once", "kafka-to-parquet", "verify")


@pytest.fixture(scope="module")
def unreached(kafka_sasl, tmp_path_factory) -> dict[tuple[str, str], tuple[int, str, dict[str, Any]]]:
    """How each command ends for each kind of broker that lets nobody in. All at once: most of it is waiting."""
    folder = tmp_path_factory.mktemp("unreached")
    (folder / "x.csv").write_text("a,b\n1,2\n")
    places = {"kafka-to-parquet": ("kafka-to-parquet", {"to": folder / "lake"}), "verify": ("verify .", {})}

    def end(case: tuple[str, str]) -> tuple[int, str, dict[str, Any]]:
        changed, _ = UNREACHABLE[case[0]]
        where = {name: value for name, value in login(kafka_sasl, **changed).items() if value is not None}
        pipeline, settings = places.get(case[1], (f"{case[1]} x.csv", {}))
        return failed(folder, pipeline, topic="t", **settings, **where)

    cases = [(name, pipeline) for name in UNREACHABLE for pipeline in COMMANDS]
    with ThreadPoolExecutor(len(cases)) as pool:
        return dict(zip(cases, pool.map(end, cases), strict=True))


@pytest.mark.parametrize("pipeline", COMMANDS)
@pytest.mark.parametrize("name", UNREACHABLE)
def test_a_broker_that_lets_nobody_in_is_said_without_the_password(unreached, name, pipeline) -> None:
    code, kind, error = unreached[name, pipeline]
    assert (code, kind) == (1, UNREACHABLE[name][1]), error
    assert "KAFKA_" in error["hint"]
    assert "wrong-horse" not in str(error)


def test_an_unknown_topic_is_said(kafka, tmp_path) -> None:
    where = {"topic": "nothing-here", "bootstrap_servers": kafka.bootstrap}
    for pipeline, settings in (("kafka-to-parquet", {"to": tmp_path / "lake"}), (f"verify {tmp_path}", {})):
        code, kind, error = failed(tmp_path, pipeline, **where, **settings)
        assert (code, kind, "nothing-here" in error["event"]) == (1, "not_found", True), error
    assert topics.partitions(kafka, "nothing-here") == 0


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_the_right_password_goes_all_the_way(kafka_sasl, tmp_path, csv, mechanism) -> None:
    where = login(kafka_sasl, sasl_mechanism=mechanism, topic=kafka_sasl.new_topic())
    csv.write_text("a,b\n1\n3,4\n")
    assert csv_to_kafka.run(files=csv, exactly_once=True, max_rejected_share=1, **where).rows_written == 1
    lake = tmp_path / "lake"
    assert kafka_to_parquet.run(to=lake, group_id=str(where["topic"]), until="end", **where).rows_written == 1
    assert verify(lake, **where).ok
    assert len(topics.dead_letters(kafka_sasl, str(where["topic"]))) == 1


STORES = {
    "no such S3 bucket": ("s3://b-nowhere", {}, "not_found"),
    "no such OBS bucket": ("obs://b-nowhere", {}, "not_found"),
    "no such GCS bucket": ("gs://b-nowhere", {}, "not_found"),
    "a wrong secret": ("s3://{bucket}", {"s3_secret_access_key": "wrong-horse"}, "access"),
    "no store there": ("s3://{bucket}", {"s3_endpoint": f"http://{NOWHERE}"}, "unavailable"),
    "no OBS endpoint": ("obs://{bucket}", {"obs_endpoint": None}, "settings"),
    "no such scheme": ("ftp://host/lake", {}, "settings"),
    "no bucket named": ("s3://", {}, "settings"),
    "no credentials file": ("gs://b", {"gcs_endpoint": None, "gcs_credentials_path": "/nowhere.json"}, "settings"),
}


@pytest.mark.parametrize("case", STORES)
def test_a_store_that_lets_nobody_in_is_said(kafka, topic, s3, bucket, gcs, tmp_path, case) -> None:
    url, changed, kind = STORES[case]
    url = url.format(bucket=bucket)
    known = {**s3_settings(s3), **obs_place(s3).settings, "gcs_endpoint": gcs.url, **changed}
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    where |= {name: value for name, value in known.items() if value is not None}
    for pipeline, settings in (("kafka-to-parquet", {"to": url}), (f"csv-to-kafka {url}/in.csv", {})):
        code, found, error = failed(tmp_path, pipeline, **settings, **where)
        assert (code, found) == (2 if kind == "settings" else 1, kind), error
        assert "wrong-horse" not in str(error)


def test_a_file_that_is_not_in_its_bucket_is_said(kafka, topic, s3, bucket, tmp_path) -> None:
    url = f"s3://{bucket}/in/orders.csv"
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap, **s3_settings(s3)}
    code, kind, error = failed(tmp_path, f"csv-to-kafka {url}", **where)
    assert (code, kind, url in error["event"]) == (1, "not_found", True)


@pytest.mark.parametrize(
    ("pipeline", "settings", "said"),
    [
        ("kafka-to-parquet", {}, "'to'"),
        ("csv-to-kafka", {}, "'files'"),
        ("kafka-to-parquet", {"to": "x", "flush_bytes": "many"}, "'flush_bytes'"),
        ("kafka-to-parquet", {"to": "x", "until": "tomorrow"}, "'until'"),
        ("kafka-to-parquet", {"to": "x", "partition_by": "date=%Q"}, "partition_by"),
        ("csv-to-kafka x.csv", {"security_protocol": "SASL_SSL"}, "sasl_username"),
        ("csv-to-kafka x.csv", {"properties": {"no.such.property": "1"}}, "no.such.property"),
        ("csv-to-kafka x.csv", {"config": "nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_said(kafka, tmp_path, pipeline, settings, said) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    code, kind, error = failed(tmp_path, pipeline, bootstrap_servers=kafka.bootstrap, **settings)
    assert (code, kind) == (2, "settings"), error
    assert said in error["event"]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk; again with other options while it is mounted."""
    if os.geteuid() != 0:
        pytest.skip("Only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        again = "remount," if folder.is_mount() else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", folder], check=True, timeout=30)
        return folder

    try:
        yield mount
    finally:
        if folder.is_mount():
            subprocess.run(["umount", "-l", folder], check=True, timeout=30)


@pytest.mark.parametrize("which", ["to", "spill_dir"])
def test_a_full_disk_is_said_and_nothing_is_lost(kafka, noise, tmp_path, mounted, which) -> None:
    disk = mounted("size=600k")
    place = Place(str(disk if which == "to" else tmp_path / "lake"))
    where = {"topic": noise, "bootstrap_servers": kafka.bootstrap}
    given = {**where, "to": place.url, "group_id": place.url, "until": "end", "compression": "none"}
    given |= {"session_timeout_seconds": 1, "spill_dir": disk if which == "spill_dir" else tmp_path / "spill"}
    code, kind, error = failed(tmp_path, "kafka-to-parquet", **given)
    assert (code, kind) == (1, "capacity"), error
    assert str(disk) in error["event"]
    assert all(oracle.NAME.fullmatch(name) for name in place.names())
    mounted("size=64m")
    succeed(tmp_path, "kafka-to-parquet", **given)
    offsets = [offset for table in oracle.tables(place).values() for offset in table["offset"].to_pylist()]
    assert sorted(offsets) == list(range(ROWS))
    assert verify(place.url, **where).ok


@pytest.mark.parametrize("which", ["to", "spill_dir", "state_dir"])
def test_a_folder_that_may_only_be_read_is_said(kafka, noise, csv, tmp_path, mounted, which) -> None:
    disk = mounted("size=1m,ro")
    where = {"topic": noise, "bootstrap_servers": kafka.bootstrap}
    if which == "state_dir":
        where["topic"] = kafka.new_topic()
        ended = failed(tmp_path, f"csv-to-kafka {csv}", **where, state_dir=disk / "state", resume=True)
    else:
        given = {"to": tmp_path / "lake", "spill_dir": tmp_path / "spill", which: disk}
        dice = f"{noise}-{which}"
        # A small limit, so that the file does not stay in memory.
        ended = failed(tmp_path, "kafka-to-parquet", **where, **given, group_id=dice, until="end", memory_limit="16MB")
    assert ended[:2] == (1, "access"), ended
    assert str(disk) in ended[2]["event"]


@pytest.mark.usefixtures("csv")
@pytest.mark.parametrize("to", ["orders.csv", "orders.csv/lake"])
def test_a_file_where_a_folder_should_be_is_said(kafka, topic, tmp_path, to) -> None:
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    _, kind, error = failed(tmp_path, "kafka-to-parquet", to=tmp_path / to, **where)
    assert kind in {"settings", "conflict", "access"}, error
    assert "orders.csv" in error["event"]
