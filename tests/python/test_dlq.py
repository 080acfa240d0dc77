"""Dead letters of real pipelines counted, and sent again byte for byte, each once, whatever is killed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from confluent_kafka import Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from tests.python.support import orders, topics
from tests.python.support.children import Child, succeed
from tests.python.support.loads import Load

from pipeline_core import csv_to_kafka, dlq, kafka_to_parquet, obs_worker, walmart_to_mysql
from pipeline_core.exceptions import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline_core.report import Report

BINARY = b"\xff\x00\xfe"
REPLAYS = "pipeline_core.replays"
SENT_BEFORE = "it was sent again before"
TOO_OFTEN = "it was sent again and refused too often (max_replays)"


class Sent(NamedTuple):
    """A message as it stands on a topic, all bytes of it."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int = 0


HEADERS = (("trace", b"1"), ("trace", BINARY), ("none", None), ("empty", b""), ("\u00e9\u4e2d", "ü".encode()))
# What `kafka_to_parquet` refuses, whatever else it holds.
ODD = [
    Sent(b"bad", b"k", HEADERS),
    Sent(BINARY, BINARY, HEADERS, 1),
    Sent(None, b"k", HEADERS, 2),
    Sent(b"", None, (), 1),
    Sent(b"", b"", (("pipeline_core.generation", b"3"),), 2),
    Sent(None),
]


def put(kafka, topic: str, messages: Sequence[Sent]) -> None:
    producer = Producer({**kafka.properties(), "message.max.bytes": 16_000_000})
    for message in messages:
        producer.produce(topic, message.value, message.key, message.partition, headers=list(message.headers))
    assert producer.flush(60) == 0


def taken(kafka, topic: str, skip: int = 0) -> list[Sent]:
    """All that a `read_committed` reader sees, without the first so many of each partition."""
    found: dict[int, list[Sent]] = {number: [] for number in range(topics.partitions(kafka, topic))}
    settings = {"group.id": "oracle", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({**kafka.properties(), **settings, "isolation.level": "read_committed"})
    unread = set(found)
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in found])
        while unread:
            message = consumer.poll(60)
            assert message is not None, f"{topic}: partitions {unread} were not read to their end"
            if message.error() is None:
                sent = Sent(message.value(), message.key(), tuple(message.headers() or ()), message.partition())
                found[message.partition()].append(sent)
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - the public name of that code
                unread.discard(message.partition())
    finally:
        consumer.close()
    return [message for messages in found.values() for message in messages[skip:]]


def to_parquet(kafka, topic: str, folder: Path, **settings: Any) -> Report:
    """Read the topic to its end."""
    given = {"topic": topic, "group_id": topic, "bootstrap_servers": kafka.bootstrap, "to": str(folder / "lake")}
    return kafka_to_parquet.run(**{**given, "until": "end", "max_rejected_share": 1.0, **settings})


def replay(kafka, topic: str, **settings: Any) -> dlq.ReplayReport:
    return dlq.replay(f"{topic}_dlq", bootstrap_servers=kafka.bootstrap, **settings)


def show(kafka, topic: str, **settings: Any) -> dlq.LetterSummary:
    return dlq.show(f"{topic}_dlq", bootstrap_servers=kafka.bootstrap, **settings)


def original(topic: str, offset: int, key: str | None, value: str | None) -> bytes:
    """A letter of the original program: all of it is in the value."""
    document = {
        "original_topic": topic,
        "original_partition": 0,
        "original_offset": offset,
        "original_key": key,
        "original_value": value,
        "error_reason": "Max retries exceeded after 3 attempts",
        "timestamp": 1700000000000,
    }
    return json.dumps(document).encode()


@pytest.fixture
def refused(kafka, tmp_path) -> str:
    """A topic of three partitions with one good message, whose others `kafka_to_parquet` has refused."""
    topic = kafka.new_topic(3)
    put(kafka, topic, [Sent(b'{"a":1}'), *ODD])
    assert to_parquet(kafka, topic, tmp_path).rows_rejected == len(ODD)
    return topic


def test_letters_are_counted_by_reason_with_examples(kafka, refused) -> None:
    summary = show(kafka, refused, examples=2)
    assert (summary.topic, summary.letters) == (f"{refused}_dlq", len(ODD))
    assert (summary.pipelines, summary.origins) == ({"kafka_to_parquet": len(ODD)}, {refused: len(ODD)})
    assert summary.first is not None
    assert summary.last is not None
    assert summary.first <= summary.last
    counts = [reason.count for reason in summary.reasons]
    assert sum(counts) == len(ODD)
    assert counts == sorted(counts, reverse=True)
    assert all(len(reason.examples) == min(2, reason.count) for reason in summary.reasons)
    (null,) = (reason for reason in summary.reasons if "tombstone" in reason.reason)
    assert null.count == 2
    example = next(example for example in null.examples if example.key == "k")
    assert (example.value, example.replays) == (None, 0)
    assert example.origin == f"{refused}, partition 2, offset 0"


def test_reasons_that_differ_in_numbers_and_values_count_as_one(kafka, topic, tmp_path) -> None:
    file = tmp_path / "ragged.csv"
    rows = ["a,b"] + ["1,2,3"] * 4 + ["1,2,3,4"] * 3 + ['1,"x']
    file.write_text("\n".join(rows) + "\n")
    report = csv_to_kafka.run(files=[str(file)], topic=topic, bootstrap_servers=kafka.bootstrap, max_rejected_share=1.0)
    assert report.rows_rejected == 8
    summary = show(kafka, topic)
    assert [reason.count for reason in summary.reasons] == [7, 1]
    assert summary.reasons[0].reason == "The row has N cells, the header N"
    assert summary.reasons[0].examples[0].reason == "The row has 3 cells, the header 2"
    assert (summary.pipelines, summary.origins) == ({"csv_to_kafka": 8}, {str(file): 8})
    again = replay(kafka, topic)
    assert (again.chosen, again.replayed, sum(again.skipped.values())) == (8, 0, 8)
    assert [why for why in again.skipped if "file" in why]
    assert taken(kafka, topic) == []


def test_letters_are_chosen_by_reason_key_and_time(kafka, refused) -> None:
    assert show(kafka, refused, reason="TOMBstone").letters == 2
    assert show(kafka, refused, key="k").letters == 2
    assert show(kafka, refused, key="").letters == 1
    assert show(kafka, refused, key="k", reason="tombstone").letters == 1
    assert show(kafka, refused, since="1h").letters == len(ODD)
    assert show(kafka, refused, since="2999-01-01").letters == 0
    report = replay(kafka, refused, key="k", reason="tombstone")
    assert (report.chosen, report.replayed) == (1, 1)
    with pytest.raises(NotFoundError):
        dlq.show("t-nowhere", bootstrap_servers=kafka.bootstrap)
    with pytest.raises(NotFoundError):
        dlq.replay("t-nowhere", bootstrap_servers=kafka.bootstrap)
    assert topics.partitions(kafka, "t-nowhere_replayed") == 0


def test_a_replayed_message_has_every_byte_that_it_had(kafka, refused) -> None:
    before = taken(kafka, refused)
    report = replay(kafka, refused)
    assert (report.chosen, report.replayed, report.to, report.skipped) == (len(ODD), len(ODD), {refused: len(ODD)}, {})
    after = taken(kafka, refused)
    assert [message for message in after if REPLAYS not in dict(message.headers)] == before
    again = [message for message in after if REPLAYS in dict(message.headers)]
    expected = [message._replace(headers=(*message.headers, (REPLAYS, b"1"))) for message in ODD]
    assert sorted(again, key=repr) == sorted(expected, key=repr)
    second = replay(kafka, refused)
    assert (second.replayed, second.skipped) == (0, {SENT_BEFORE: len(ODD)})
    assert taken(kafka, refused) == after
    third = replay(kafka, refused, again=True, limit=2)
    assert third.replayed == 2


def test_a_limit_takes_the_next_letters_each_time(kafka, refused) -> None:
    assert [replay(kafka, refused, limit=4).replayed for _ in range(3)] == [4, 2, 0]


def test_letters_go_to_another_topic_if_asked_to(kafka, refused) -> None:
    other = kafka.new_topic(2)
    report = replay(kafka, refused, to=other)
    assert (report.replayed, report.to) == (len(ODD), {other: len(ODD)})
    assert sorted((message.key or b"", message.value or b"") for message in taken(kafka, other)) == sorted(
        (message.key or b"", message.value or b"") for message in ODD
    )
    with pytest.raises(NotFoundError):
        replay(kafka, refused, to="t-nowhere", again=True)


@pytest.mark.parametrize("fault", ["before_commit:1", "after_commit:1", "before_commit:2", "after_commit:2"])
def test_a_killed_replay_that_is_run_again_sends_each_letter_once(kafka, tmp_path, fault) -> None:
    topic = kafka.new_topic(2)
    bad = [Sent(b"bad %d" % number, b"%d" % number, (("n", b"%d" % number),), number % 2) for number in range(800)]
    put(kafka, topic, bad)
    assert to_parquet(kafka, topic, tmp_path).rows_rejected == len(bad)
    command = f"dlq replay {topic}_dlq"
    with Child(tmp_path, command, fault=f"{fault}:kill", bootstrap_servers=kafka.bootstrap) as child:
        child.wait_until_killed()
    done = succeed(tmp_path, command, bootstrap_servers=kafka.bootstrap, json=True)
    sent_before = {"before_commit:1": 0, "after_commit:1": 500, "before_commit:2": 500, "after_commit:2": 800}[fault]
    assert done.report["replayed"] == len(bad) - sent_before
    topics.wait_until_settled(kafka, topic)
    again = taken(kafka, topic, skip=400)
    assert sorted(again) == sorted(message._replace(headers=(*message.headers, (REPLAYS, b"1"))) for message in bad)


def test_a_frozen_replay_that_wakes_sends_nothing_twice(kafka, refused, tmp_path) -> None:
    command = f"dlq replay {refused}_dlq"
    with Child(
        tmp_path, command, fault="before_commit:1:stop", bootstrap_servers=kafka.bootstrap, log_format="json"
    ) as child:
        child.wait_until_frozen()
        assert replay(kafka, refused).replayed == len(ODD)
        child.wake()
        ended = child.wait()
    assert (ended.code, ended.error["kind"]) == (1, "conflict"), ended.err
    assert len(taken(kafka, refused)) == 1 + 2 * len(ODD)


def test_what_is_refused_again_and_again_is_not_sent_for_ever(kafka, topic, tmp_path) -> None:
    put(kafka, topic, [Sent(b"bad", b"k", (("trace", b"1"),))])
    for times in range(4):
        assert to_parquet(kafka, topic, tmp_path).rows_rejected == 1
        assert [letter.headers.get(REPLAYS) for letter in topics.dead_letters(kafka, topic)] == [
            None if number == 0 else str(number) for number in range(times + 1)
        ]
        report = replay(kafka, topic)
        assert report.replayed == (times < 3)
    assert report.skipped == {SENT_BEFORE: 3, TOO_OFTEN: 1}
    assert taken(kafka, topic)[-1].headers == (("trace", b"1"), (REPLAYS, b"3"))
    assert replay(kafka, topic, max_replays=4).replayed == 1


def test_a_letter_of_the_original_program_is_unwrapped(kafka, topic) -> None:
    letters = kafka.new_topic()
    value = '{"emp_id": 1, "emp_FN": "Zoë"}'
    headers = (
        ("trace", b"1"),
        ("__connect.errors.exception.message", b"$.emp_dob: missing"),
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.partition", b"0"),
        ("__connect.errors.offset", b"3"),
        ("pipeline_core.pipeline", b"cdc_to_postgres"),
        ("pipeline_core.dlq_format", b"original"),
    )
    put(
        kafka,
        letters,
        [
            Sent(original(topic, 1, "1", value), b"1"),
            Sent(original(topic, 2, "2", value)),
            Sent(original(topic, 3, "3", None), b"3", headers),
            Sent(original(topic, 4, None, '"quoted"'), None, headers[:-1]),
            Sent(b'{"error": "of others", "original": "x"}', b"5"),
        ],
    )
    summary = dlq.show(letters, bootstrap_servers=kafka.bootstrap)
    assert summary.origins == {topic: 4, "unknown": 1}
    assert summary.pipelines == {"cdc_to_postgres": 2, "unknown": 3}
    assert "no reason is given" in {reason.reason for reason in summary.reasons}
    (of_original,) = (reason for reason in summary.reasons if reason.reason.startswith("Max retries"))
    assert [(example.key, example.value) for example in of_original.examples] == [("1", value), ("2", value)]
    report = dlq.replay(letters, bootstrap_servers=kafka.bootstrap)
    assert (report.chosen, report.replayed, sum(report.skipped.values())) == (5, 4, 1)
    one, own = ((REPLAYS, b"1"),), (("trace", b"1"), (REPLAYS, b"1"))
    assert taken(kafka, topic) == [
        Sent(value.encode(), b"1", one),
        Sent(value.encode(), b"2", one),
        Sent(None, b"3", own),
        # Raw: its value only looks like a letter.
        Sent(original(topic, 4, None, '"quoted"'), None, own),
    ]


def large(kafka, folder: Path) -> tuple[str, Sent]:
    """A topic, and a message on it that is larger than its dead-letter topic takes."""
    topic = kafka.new_topic(max_message_bytes="8000000")
    message = Sent(b"bad" * 1_000_000, b"k", (("trace", b"1"),))
    put(kafka, topic, [Sent(b'{"a":1}'), message])
    assert to_parquet(kafka, topic, folder).rows_rejected == 1
    (letter,) = topics.dead_letters(kafka, topic)
    assert letter.headers["pipeline_core.cut_from_bytes"] == "3000000"
    return topic, message


def test_a_value_that_was_cut_is_sent_whole(kafka, tmp_path) -> None:
    topic, message = large(kafka, tmp_path)
    assert replay(kafka, topic).replayed == 1
    assert taken(kafka, topic, skip=2) == [message._replace(headers=(*message.headers, (REPLAYS, b"1")))]


def test_a_value_that_was_cut_and_is_gone_is_not_sent(kafka, tmp_path) -> None:
    topic, _ = large(kafka, tmp_path)
    admin = AdminClient({**kafka.properties(), "log_level": 0})
    admin.delete_records([TopicPartition(topic, 0, 2)])[TopicPartition(topic, 0)].result(timeout=30)
    report = replay(kafka, topic)
    assert (report.chosen, report.replayed) == (1, 0)
    assert [why for why in report.skipped if "cut" in why]
    part = TopicPartition(topic, 0)
    ends = admin.list_offsets({part: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
    assert ends[part].result(timeout=30).offset == 2


def test_letters_of_a_topic_that_is_gone_stay_where_they_are(kafka, refused) -> None:
    topics.delete(kafka, refused)
    report = replay(kafka, refused)
    assert (report.chosen, report.replayed) == (len(ODD), 0)
    assert [why for why in report.skipped if "gone" in why]
    assert topics.partitions(kafka, refused) == 0


def test_a_dry_run_tries_the_messages_of_kafka_to_parquet(kafka, refused, tmp_path) -> None:
    put(kafka, refused, [Sent(b'{"a":2}', BINARY)])
    assert to_parquet(kafka, refused, tmp_path).rows_rejected == 1
    before = taken(kafka, refused)
    known = {"topic": refused, "bootstrap_servers": kafka.bootstrap, "to": str(tmp_path / "lake")}
    for encoding, succeeding in [("utf8", 0), ("base64", 1)]:
        config = kafka_to_parquet.Config(**known, key_encoding=encoding)
        report = replay(kafka, refused, dry_run=True, trial=[config])
        assert (report.chosen, report.replayed) == (len(ODD) + 1, 0)
        assert (report.would_succeed, report.would_fail) == (succeeding, len(ODD) + 1 - succeeding)
        assert len(report.failures) == report.would_fail
    assert taken(kafka, refused) == before
    assert topics.partitions(kafka, f"{refused}_dlq_replayed") == 0
    unknown = replay(kafka, refused, dry_run=True, trial=[])
    assert (unknown.would_succeed, unknown.would_fail, sum(unknown.skipped.values())) == (0, 0, len(ODD) + 1)


def test_a_dry_run_knows_the_types_of_the_columns_that_kafka_to_parquet_has(kafka, topic, tmp_path) -> None:
    put(kafka, topic, [Sent(b'{"a":1}')])
    to_parquet(kafka, topic, tmp_path, typed=True)
    put(kafka, topic, [Sent(b'{"a":"x"}'), Sent(b'{"a":2}')])
    assert to_parquet(kafka, topic, tmp_path, typed=True).rows_rejected == 1
    known = {"topic": topic, "group_id": topic, "bootstrap_servers": kafka.bootstrap, "to": str(tmp_path / "lake")}
    for is_typed in (True, False):
        report = replay(kafka, topic, dry_run=True, trial=[kafka_to_parquet.Config(**known, typed=is_typed)])
        assert (report.would_succeed, report.would_fail) == (0 if is_typed else 1, 1 if is_typed else 0)


def test_a_dry_run_tries_the_tasks_of_an_obs_worker(kafka, topic) -> None:
    letters = kafka.new_topic()
    headers = (
        ("__connect.errors.exception.message", b"The task names no bucket"),
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.partition", b"0"),
        ("__connect.errors.offset", b"0"),
        ("pipeline_core.pipeline", b"obs_worker"),
    )
    put(kafka, letters, [Sent(b'{"key": "a.csv"}', None, headers), Sent(b"{}", None, headers)])
    for bucket, succeeding in [(None, 0), ("in", 1)]:
        config = obs_worker.Config(bootstrap_servers=kafka.bootstrap, source_bucket=bucket)
        report = dlq.replay(letters, bootstrap_servers=kafka.bootstrap, dry_run=True, trial=[config])
        assert (report.would_succeed, report.would_fail) == (succeeding, 2 - succeeding)


def too_long(number: int) -> bytes:
    return orders.edited(orders.made(number), lambda order: order["shippingInfo"].update(phone="7" * 30))


def test_a_dry_run_tries_the_orders_of_walmart_to_mysql_and_changes_nothing(kafka, mariadb, tmp_path) -> None:
    load = Load(kafka, mariadb, tmp_path)
    load.init()
    page = b"[" + b",".join([orders.made(4), too_long(5), too_long(6)]) + b"]"
    load.send(orders.made(1), too_long(2), (b"3", b"bad"), (b"4", page))
    load.run(max_rejected_share=1.0)
    letters = {"topic": load.letters_topic, "bootstrap_servers": kafka.bootstrap}
    assert dlq.show(**letters).pipelines == {"walmart_to_mysql": 4}
    rows = len(load.rows("order"))
    settings = {**load.settings, "mysql_url": mariadb.url}
    for truncate, succeeding in [(False, 0), (True, 3)]:
        config = walmart_to_mysql.Config(**settings, truncate=truncate)
        report = dlq.replay(**letters, dry_run=True, trial=[config])
        assert (report.chosen, report.replayed) == (4, 0)
        assert (report.would_succeed, report.would_fail) == (succeeding, 4 - succeeding)
        assert len(load.rows("order")) == rows
    assert dlq.replay(**letters, reason="phone").replayed == 3
    report = load.run(truncate=True)
    assert (report.rows_read, report.rows_rejected) == (3, 0)
    found = {row["purchaseOrderId"] for row in load.rows("order")}
    assert found == {orders.FIRST_ID + number for number in (1, 2, 4, 5, 6)}


def test_a_letter_of_a_topic_that_was_made_again_was_not_sent_before(kafka, topic, tmp_path) -> None:
    put(kafka, topic, [Sent(b"bad", b"k")])
    to_parquet(kafka, topic, tmp_path)
    assert replay(kafka, topic).replayed == 1
    topics.delete(kafka, f"{topic}_dlq")
    assert to_parquet(kafka, topic, tmp_path).rows_rejected == 1
    assert show(kafka, topic).letters == 1
    assert replay(kafka, topic).replayed == 1
