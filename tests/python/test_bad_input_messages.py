"""Messages that make no row: each is in the dead letters, bytes unchanged, with reason and origin; the run goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer
from tests.python.support import oracle, topics
from tests.python.support.places import Place

from pipeline_core import kafka_to_parquet, verify
from pipeline_core.exceptions import CapacityError, DataLossError, RejectedError, SettingsError

REFUSED = {
    "no JSON": (b"hello", "not JSON"),
    "nothing": (b"", "not JSON"),
    "cut off": (b'{"a":"1', "not JSON"),
    "more after its end": (b'{"a":"1"} {"a":"2"}', "not JSON"),
    "an array": (b'[{"a":"1"}]', "not an object"),
    "a string": (b'"a"', "not an object"),
    "a number": (b"17", "not an object"),
    "null": (b"null", "not an object"),
    "a tombstone": (None, "tombstone"),
    "no UTF-8": (b'{"a":"\xe1"}', "not JSON"),
    "no UTF-8 at all": (b"\xff\xfe\x00", "not JSON"),
    "UTF-16": ('{"a":"1"}'.encode("utf-16"), "not JSON"),
    "half a letter": (b'{"a":"\\ud800"}', "not JSON"),
    "a line break in a string": (b'{"a":"x\ny"}', "not JSON"),
    "not a number": (b'{"a":NaN}', "not JSON"),
    "100,000 brackets": (b'{"a":' + b"[" * 100_000, "not JSON"),
    "a key that is no text": ((b"\xff", b'{"a":"1"}'), "key is not UTF-8"),
}
TAKEN = {
    "nested": (b'{"a":{"b":[1,{"c":null}]}}', '{"b":[1,{"c":null}]}'),
    "100,000 levels": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "[" * 100_000 + "]" * 100_000),
    "900 KB": (b'{"a":"%s"}' % (b"x" * 900_000), "x" * 900_000),
    "a field twice": (b'{"a":"1","a":"2"}', "2"),
    "blanks around it": (b' \n{ "a" : "1" }\r\n ', "1"),
    "escapes": (b'{"\\u0061":"\\u00e1\\ud83d\\ude00\\u0000\\n"}', "á😀\x00\n"),
    "a long number": (b'{"a":1e400}', "1e400"),
    "null in it": (b'{"a":null}', None),
    "an empty object": (b"{}", None),
    "an empty key": ((b"", b'{"a":"1"}'), "1"),
}


@dataclass(frozen=True)
class Sink:
    """Writes the test's topic into the test's folder."""

    kafka: object
    topic: str
    place: Place

    def run(self, **settings):
        merged = {"group_id": self.topic, "until": "end", "max_rejected_share": 1, **settings}
        where = {"topic": self.topic, "bootstrap_servers": self.kafka.bootstrap}
        report = kafka_to_parquet.run(to=self.place.url, **where, **merged)
        verified = verify(self.place.url, **where)
        assert verified.ok, verified.problems
        return report

    def rows(self) -> list[dict[str, object]]:
        found = [row for table in oracle.tables(self.place).values() for row in table.to_pylist()]
        return sorted(found, key=lambda row: row["offset"])


@pytest.fixture
def sink(kafka, topic, tmp_path) -> Sink:
    return Sink(kafka, topic, Place(str(tmp_path / "lake")))


def put(kafka, topic: str, messages: list[object]) -> None:
    producer = Producer(kafka.properties())
    for message in messages:
        key, value = message if isinstance(message, tuple) else (b"key", message)
        producer.produce(topic, value, key)
        producer.poll(0)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("is_typed", [False, True], ids=["text", "typed"])
def test_messages_that_make_no_row_go_to_the_dead_letters_and_the_run_goes_on(kafka, topic, sink, is_typed) -> None:
    good = b'{"a":"good"}'
    put(kafka, topic, [part for message, _ in REFUSED.values() for part in (good, message)] + [good])
    report = sink.run(typed=is_typed)
    assert (report.status, report.rows_read) == ("complete", 2 * len(REFUSED) + 1)
    assert (report.rows_written, report.rows_rejected) == (len(REFUSED) + 1, len(REFUSED))
    assert [(row["offset"], row["a"]) for row in sink.rows()] == [
        (at, "good") for at in range(0, 2 * len(REFUSED) + 1, 2)
    ]
    letters = topics.dead_letters(kafka, topic)
    assert len(letters) == len(REFUSED)
    for at, (name, (message, reason)) in enumerate(REFUSED.items()):
        key, value = message if isinstance(message, tuple) else (b"key", message)
        headers = letters[at].headers
        assert reason in headers["__connect.errors.exception.message"], name
        assert (letters[at].key, letters[at].value) == (key, value), name
        origin = [headers[f"__connect.errors.{word}"] for word in ("topic", "partition", "offset")]
        assert origin == [topic, "0", str(2 * at + 1)], name


def test_unusual_messages_are_rows_all_the_same(kafka, topic, sink) -> None:
    put(kafka, topic, [message for message, _ in TAKEN.values()])
    report = sink.run()
    assert (report.rows_written, report.rows_rejected) == (len(TAKEN), 0)
    found = [row["a"] for row in sink.rows()]
    assert dict(zip(TAKEN, found, strict=True)) == {name: text for name, (_, text) in TAKEN.items()}


def test_a_schema_may_change_back_and_forth(kafka, topic, sink) -> None:
    messages = [{"a": str(n), f"c{n % 3}": n, **({"a": None} if n % 7 == 0 else {})} for n in range(20_000)]
    put(kafka, topic, [json.dumps(message).encode() for message in messages])
    sink.run(flush_rows=3000)
    rows = sink.rows()
    assert len(rows) == len(messages)
    for row, message in zip(rows, messages, strict=True):
        assert {
            name: value for name, value in row.items() if name in ["a", "c0", "c1", "c2"] and value is not None
        } == {name: str(value) for name, value in message.items() if value is not None}


def test_a_value_of_another_type_than_its_typed_column_goes_to_the_dead_letters(kafka, topic, sink) -> None:
    put(kafka, topic, [b'{"a":1,"b":true}'])
    sink.run(typed=True)
    put(kafka, topic, [b'{"a":"x","b":true}', b'{"a":2,"b":false}', b'{"a":3.5,"b":true}', b'{"a":4,"b":"maybe"}'])
    sink.run(typed=True)
    assert [(row["a"], row["b"]) for row in sink.rows()] == [(1, True), (2, False)]
    letters = topics.dead_letters(kafka, topic)
    assert [letter.headers["__connect.errors.offset"] for letter in letters] == ["1", "3", "4"]
    assert all("does not fit" in letter.headers["__connect.errors.exception.message"] for letter in letters)


def test_a_topic_of_refused_messages_alone_is_read_to_its_end(kafka, topic, sink) -> None:
    put(kafka, topic, [b"bad"] * 50)
    report = sink.run()
    assert (report.rows_written, report.rows_rejected) == (0, 50)
    assert sink.run().rows_read == 0
    assert len(topics.dead_letters(kafka, topic)) == 50


def test_dead_letters_go_where_the_setting_says(kafka, topic, sink) -> None:
    put(kafka, topic, [b"bad"])
    sink.run(dead_letter_topic=f"{topic}-elsewhere")
    assert [letter.value for letter in topics.messages(kafka, f"{topic}-elsewhere")] == [b"bad"]
    assert topics.dead_letters(kafka, topic) == []


def test_more_bad_messages_than_allowed_end_the_run_and_are_in_the_dead_letters(kafka, topic, sink) -> None:
    put(kafka, topic, [b'{"a":"1"}', b"bad"] * 300)
    with pytest.raises(RejectedError, match="more than max_rejected_share") as failed:
        sink.run(max_rejected_share=0.1)
    assert failed.value.hint
    assert len(topics.dead_letters(kafka, topic)) >= 100


def test_a_field_called_as_a_metadata_column_is_one_clear_error(kafka, topic, sink) -> None:
    put(kafka, topic, [b'{"offset":"1"}'])
    with pytest.raises(SettingsError, match='"offset", which is the name of a metadata') as failed:
        sink.run()
    assert "--metadata-prefix" in (failed.value.hint or "")
    assert sink.run(metadata_prefix="kafka_").rows_written == 1


def test_more_fields_than_a_broker_can_note_are_one_clear_error(kafka, topic, sink) -> None:
    put(kafka, topic, [json.dumps({f"field-{n * 2654435761 % 2**32:08x}": "1" for n in range(3000)}).encode()])
    with pytest.raises(CapacityError, match="columns") as failed:
        sink.run()
    assert failed.value.hint


def test_messages_that_were_deleted_before_they_were_read_are_said_and_not_skipped(kafka, topic, sink) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    put(kafka, topic, [b'{"a":"1"}'] * 10)
    sink.run()
    put(kafka, topic, [b'{"a":"2"}'] * 10)
    admin = AdminClient(kafka.properties())
    [deleted] = admin.delete_records([TopicPartition(topic, 0, 15)]).values()
    assert deleted.result(30).low_watermark == 15
    with pytest.raises(DataLossError, match="Offsets 10 to 14") as failed:
        sink.run()
    assert failed.value.hint
