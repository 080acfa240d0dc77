"""What `csv_to_kafka` reads and how its messages look: files, encodings, keys, JSON."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from tests.python.support import data, topics
from tests.python.support.places import s3_settings

from pipeline_core import csv_to_kafka

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.s3 import S3

ROWS = 3000


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real rows, and the header for them."""
    folder = tmp_path_factory.mktemp("csv")
    lines = data.dataco(folder).read_bytes().splitlines(keepends=True)
    path = folder / "orders.csv"
    path.write_bytes(b"".join(lines[: ROWS + 1]))
    return path


@pytest.fixture
def send(kafka: Kafka, topic: str) -> Callable[..., list[topics.Message]]:
    """Send files to the test's topic with some settings; what is on the topic then."""

    def sending(files: object, **settings: object) -> list[topics.Message]:
        csv_to_kafka.run(files=files, topic=topic, bootstrap_servers=kafka.bootstrap, **settings)
        return topics.messages(kafka, topic)

    return sending


def values(messages: list[topics.Message]) -> list[object]:
    return [json.loads(message.value or b"") for message in messages]


def test_a_message_is_the_row_with_its_keys_in_the_order_of_the_columns(send, csv) -> None:
    sent = values(send(csv))
    assert sent == data.rows(csv)
    assert all(list(row) == data.header(csv) for row in sent)


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv.zst"])
def test_compressed_files_are_read_as_they_are(send, csv, tmp_path, name) -> None:
    path = tmp_path / name
    whole = csv.read_bytes()
    half = whole.index(b"\n", len(whole) // 2) + 1
    with path.open("wb") as file:
        for part in (whole[:half], whole[half:]):  # Two members in one file, as `cat a.gz b.gz` makes them.
            codec = gzip.compress if name.endswith("gz") else pa.Codec("zstd").compress
            file.write(bytes(codec(part)))
    assert values(send(path)) == data.rows(csv)


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz"])
def test_a_url_is_a_file_too(send, csv, s3: S3, bucket, name) -> None:
    body = gzip.compress(csv.read_bytes()) if name.endswith("gz") else csv.read_bytes()
    s3.client().put_object(Bucket=bucket, Key=f"in/{name}", Body=body)
    assert values(send(f"s3://{bucket}/in/{name}", **s3_settings(s3))) == data.rows(csv)


def parts(csv: Path, into: Path, count: int) -> None:
    first, *lines = csv.read_bytes().splitlines(keepends=True)
    step = -(-len(lines) // count)
    for number in range(count):
        (into / f"part-{number}.csv").write_bytes(first + b"".join(lines[number * step : (number + 1) * step]))


def test_a_glob_is_all_its_files_in_order(send, csv, tmp_path) -> None:
    parts(csv, tmp_path, 4)
    (tmp_path / "other.csv").write_text("nothing of ours\n")
    assert values(send(tmp_path / "part-*.csv")) == data.rows(csv)


@pytest.mark.parametrize("name", ["órdenes 1.csv", "50%.csv", "a%20b.csv", "a#b.csv", "[1].csv"])
def test_files_may_be_called_anything(send, tmp_path, name) -> None:
    (tmp_path / name).write_text("a\n1\n")
    assert values(send(tmp_path / "*.csv")) == [{"a": "1"}]
    assert values(send(tmp_path / name)) == [{"a": "1"}] * 2


def test_a_glob_in_a_bucket_is_all_its_files_in_order(send, csv, s3: S3, bucket, tmp_path) -> None:
    parts(csv, tmp_path, 3)
    for part in tmp_path.glob("*.csv"):
        s3.client().upload_file(str(part), bucket, f"in/{part.name}")
    assert values(send(f"s3://{bucket}/in/part-?.csv", **s3_settings(s3))) == data.rows(csv)


@pytest.mark.parametrize(
    ("encoding", "written", "taken"),
    [
        ("auto", "latin-1", "iso-8859-1"),
        ("auto", "utf-8", "utf-8"),
        ("auto", "utf-8-sig", "utf-8"),
        ("latin-1", "latin-1", "iso-8859-1"),
        ("utf-8", "utf-8-sig", "utf-8"),
        ("windows-1252", "windows-1252", "windows-1252"),
        ("gbk", "gbk", "GBK"),
    ],
)
def test_the_encoding_is_told_or_taken_as_said(kafka, topic, tmp_path, encoding, written, taken) -> None:
    path = tmp_path / "orders.csv"
    city = "北京" if written == "gbk" else "Bogotá, São Paulo"
    path.write_text(f'Order Id,Ciudad\n1,"{city}"\n', encoding=written)
    report = csv_to_kafka.run(files=path, topic=topic, encoding=encoding, bootstrap_servers=kafka.bootstrap)
    assert values(topics.messages(kafka, topic)) == [{"Order Id": "1", "Ciudad": city}]
    assert [file["encoding"].lower() for file in report.details["files"]] == [taken.lower()]


@pytest.mark.parametrize("distance", [0, 1, 2, 600_000])
def test_the_first_letter_beyond_ascii_is_told_right_wherever_it_stands(kafka, topic, tmp_path, distance) -> None:
    """Files are read in pieces of 512 KiB; a letter of two bytes may be cut in two by the end of one."""
    start = 512 * 1024 - 1 - distance if distance < 3 else 512 * 1024 + distance
    head = b"id,text\n" + b"1,plain\n" * ((start - 16) // 8)
    lead = head + b"2," + b"x" * (start - len(head) - 2)
    path = tmp_path / "orders.csv"
    path.write_bytes(lead + "é\n".encode() + b"3,plain\n" * 10)
    assert path.read_bytes()[start : start + 2] == "é".encode()
    report = csv_to_kafka.run(files=path, topic=topic, bootstrap_servers=kafka.bootstrap)
    assert [file["encoding"] for file in report.details["files"]] == ["utf-8"]
    [text] = [row["text"] for row in values(topics.messages(kafka, topic)) if row["id"] == "2"]
    assert text.endswith("xé")


@pytest.mark.parametrize("text", ["Bogotá", "naïve 😀 \t \\ / \" '", "\x7f\x1f\u2028", "", "null"])
def test_python_style_is_json_dumps_byte_for_byte(send, tmp_path, text) -> None:
    path = tmp_path / "orders.csv"
    quoted = text.replace('"', '""')
    path.write_text(f'Order Id,Ciudad é,n\n7,"{quoted}",\n', encoding="utf-8")
    [message] = send(path, json_style="python", encoding="utf-8")
    assert message.value == json.dumps({"Order Id": "7", "Ciudad é": text, "n": ""}).encode()


def test_python_style_of_real_rows_is_json_dumps_byte_for_byte(send, csv) -> None:
    assert [message.value for message in send(csv, json_style="python")] == [
        json.dumps(row).encode() for row in data.rows(csv)
    ]


def test_typed_rows_have_numbers_booleans_nulls_and_times(send, tmp_path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "id,price,zip,ok,day,name,none\n1,9.50,00725,true,1/31/2018 22:56,a,\n-2,1e3,4000,False,2018-02-01 01:02:03,,\n"
    )
    [first, second] = values(send(path, typed=True, key="name"))
    assert first == {
        "id": 1, "price": 9.5, "zip": "00725", "ok": True, "day": "2018-01-31T22:56:00Z", "name": "a", "none": "",
    }  # fmt: skip
    assert second == {
        "id": -2, "price": 1000.0, "zip": "4000", "ok": False, "day": "2018-02-01T01:02:03Z", "name": "", "none": "",
    }  # fmt: skip


def test_types_are_told_from_the_only_row_of_a_file_without_a_last_newline(send, tmp_path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("id,price\n1,2.5")
    assert values(send(path, typed=True)) == [{"id": 1, "price": 2.5}]


def test_a_types_setting_wins_over_what_is_found(send, tmp_path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("id,price\n1,2\n")
    assert values(send(path, typed=True, column_types={"id": "string", "price": "float64"})) == [
        {"id": "1", "price": 2}
    ]


def murmur2(key: bytes) -> int:
    """Kafka's own hash, as `org.apache.kafka.common.utils.Utils.murmur2` has it, without its sign."""
    mixer, mask = 0x5BD1E995, 0xFFFFFFFF
    hashed = (0x9747B28C ^ len(key)) & mask
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * mixer & mask
        word = (word ^ word >> 24) * mixer & mask
        hashed = hashed * mixer & mask ^ word
    if key[whole:]:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * mixer & mask
    hashed = (hashed ^ hashed >> 13) * mixer & mask
    return hashed ^ hashed >> 15


# From UtilsTest.testMurmur2 of Apache Kafka.
@pytest.mark.parametrize(
    ("key", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_the_oracle_of_the_next_test_hashes_as_java_does(key, hashed) -> None:
    assert murmur2(key) == hashed % 2**32


def test_keys_are_placed_as_java_and_kafka_python_place_them(kafka, csv) -> None:
    topic = kafka.new_topic(partitions=7)
    csv_to_kafka.run(files=csv, topic=topic, bootstrap_servers=kafka.bootstrap)
    sent = topics.messages(kafka, topic)
    assert len({message.partition for message in sent}) == 7
    for message in sent:
        key = message.key or b""
        assert key.decode() == json.loads(message.value or b"")["Order Id"]
        assert message.partition == (murmur2(key) & 0x7FFFFFFF) % 7


@pytest.mark.parametrize(("key", "keys"), [(None, [b"5", None]), ("name", [b"\xc3\xa1", b"b"]), ("", [None, None])])
def test_the_key_is_the_cell_that_the_setting_names(send, tmp_path, key, keys) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("Order Id,name\n5,á\n,b\n", encoding="latin-1")
    assert [message.key for message in send(path, key=key)] == keys


def test_a_key_that_the_header_lacks_is_refused(send, csv) -> None:
    with pytest.raises(Exception, match=re.escape('no column "Nothing"')) as refused:
        send(csv, key="Nothing")
    assert refused.value.kind == "settings"


def test_a_missing_topic_is_created_with_the_partitions_asked_for_and_said(kafka, topic, csv, caplog) -> None:
    name = f"{topic}-new"
    caplog.set_level("INFO")
    report = csv_to_kafka.run(files=csv, topic=name, partitions=5, bootstrap_servers=kafka.bootstrap)
    assert topics.partitions(kafka, name) == 5
    assert (report.details["topic_created"], report.details["partitions"]) == (True, 5)
    assert "created the topic" in caplog.text


def test_a_limit_is_the_first_rows(send, csv) -> None:
    assert values(send(csv, limit=17)) == data.rows(csv)[:17]


def test_a_rate_is_kept(kafka, topic, csv) -> None:
    report = csv_to_kafka.run(files=csv, topic=topic, rate=200, limit=200, bootstrap_servers=kafka.bootstrap)
    assert report.rows_written == 200
    assert report.seconds >= 0.9
