"""`KafkaProducer`: all arrive, once and in order, and what does not is raised."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import get_type_hints

import pytest
from pydantic import BaseModel, Field
from tests.python.support import topics
from tests.python.support.children import wait_until
from tests.python.support.fetches import murmur2

from pipeline_core import EmbeddedKafka, KafkaProducer, kafka_producer
from pipeline_core.exceptions import RejectedError, SettingsError, UnavailableError

pytestmark = pytest.mark.usefixtures("no_settings")

MIB = 2**20
# Nobody listens there.
NOWHERE = "127.0.0.1:1"


def values(kafka, topic):
    return [message.value for message in topics.messages(kafka, topic)]


def numbers_by_key(kafka, topic):
    """What stands under each key, in the order of its partition."""
    found = defaultdict(list)
    for message in sorted(topics.messages(kafka, topic), key=lambda message: (message.partition, message.offset)):
        found[message.key].append(int(message.value))
    return found


@pytest.fixture
def make(kafka):
    """A producer for the shared broker; closed at the end."""
    made = []

    def make(topic, *arguments, **settings):
        producer = KafkaProducer(topic, *arguments, **{"bootstrap_servers": kafka.bootstrap, **settings})
        made.append(producer)
        return producer

    yield make
    for producer in made:
        producer.close(0)


class Page(BaseModel):
    uid: str = Field(alias="_id")
    name: str


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        ("名", "名".encode()),
        ("", b""),
        (None, None),
        ({"a": 1, "名": ["é", None, 1.5]}, '{"a":1,"名":["é",null,1.5]}'.encode()),
        ({"t": datetime(2026, 1, 31, 22, 56), "d": Decimal("1.10")}, b'{"t":"2026-01-31T22:56:00","d":"1.10"}'),  # noqa: DTZ001 - without a zone
        ([1, {"n": float("nan")}], b'[1,{"n":null}]'),
        (7, b"7"),
        (Page(_id="x", name="名"), '{"uid":"x","name":"名"}'.encode()),
    ],
)
def test_a_value_is_bytes_or_becomes_compact_json(kafka, topic, make, value, sent):
    with make(topic) as producer:
        producer.send(value)
    assert values(kafka, topic) == [sent]


def test_a_key_and_headers_travel_with_the_value(kafka, topic, make):
    with make(topic) as producer:
        producer.send(b"1", "名", {"source": "a", "empty": b""})
        producer.send(b"2", b"\x01", [("source", "b"), ("null", None)])
    first, second = topics.messages(kafka, topic)
    assert (first.key, first.headers) == ("名".encode(), {"source": "a", "empty": ""})
    assert (second.key, second.headers) == (b"\x01", {"source": "b", "null": ""})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((b"", 7), TypeError), ((b"", None, {"a": 1}), TypeError), ((object(),), ValueError), (("\ud800",), ValueError)],
)
def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(kafka, topic, make, arguments, error):
    with make(topic) as producer:
        with pytest.raises(error):
            producer.send(*arguments)
        producer.send(b"good")
    assert values(kafka, topic) == [b"good"]


def test_many_threads_send_each_message_once_and_in_order_per_key(kafka, make):
    topic = kafka.new_topic(partitions=4)
    keys, count = [f"key-{number}" for number in range(8)], 5_000

    def send(key):
        for number in range(count):
            producer.send(str(number), key)

    with make(topic) as producer, ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(send, keys))
        producer.flush()
    assert numbers_by_key(kafka, topic) == {key.encode(): list(range(count)) for key in keys}


def test_keys_choose_the_partitions_of_kafka_python(kafka, make):
    topic = kafka.new_topic(partitions=7)
    with make(topic) as producer:
        for number in range(50):
            producer.send(b"", f"key-{number}")
    found = {message.key: message.partition for message in topics.messages(kafka, topic)}
    assert len(found) == 50
    assert found == {key: (murmur2(key) & 0x7FFFFFFF) % 7 for key in found}


@pytest.mark.parametrize("retries", [{}, {"retries": 5}], ids=["as it is", "with the original's retries"])
def test_a_broker_that_is_killed_and_comes_back_costs_nothing(own_kafka, retries):
    kafka = own_kafka.plain
    topic = kafka.new_topic(partitions=3)
    config = {"bootstrap_servers": [kafka.bootstrap], "acks": 1, "linger_ms": 5, **retries}
    is_over = threading.Event()

    def trouble():
        for _ in range(2):
            time.sleep(1.5)
            own_kafka.server.kill()
            time.sleep(1.5)
            own_kafka.server.start()
        is_over.set()

    count = 0
    with KafkaProducer(topic, config) as producer, ThreadPoolExecutor(1) as pool:
        troubled = pool.submit(trouble)
        while not is_over.is_set():
            producer.send(str(count), f"key-{count % 10}")
            count += 1
            time.sleep(0.0005)
        troubled.result()
        for number in range(count, count + 100):
            producer.send(str(number), f"key-{number % 10}")
    found = numbers_by_key(kafka, topic)
    assert found == {f"key-{key}".encode(): list(range(key, count + 100, 10)) for key in range(10)}


def test_a_message_that_is_too_large_is_raised_at_once_and_the_others_arrive(kafka, make):
    topic = kafka.new_topic(max_message_bytes="100000")
    with make(topic) as producer:
        producer.send(b"before")
        with pytest.raises(RejectedError, match='of the key "big" has 200000 bytes, more than topic') as caught:
            producer.send(b"x" * 200_000, "big")
        assert "max.message.bytes" in caught.value.hint
        producer.send(b"after")
    assert values(kafka, topic) == [b"before", b"after"]


def test_what_only_the_broker_finds_too_large_is_raised_later_and_the_others_arrive(kafka, make):
    topic = kafka.new_topic(max_message_bytes="100000")
    # The user says that the topic takes more than it does.
    producer = make(topic, {"max_request_size": 10 * MIB, "batch_size": 1000}, compression="none")
    producer.send(b"before")
    producer.flush()
    producer.send(b"x" * 200_000, "big")
    with pytest.raises(RejectedError, match='of the key "big" has 200000 bytes'):
        producer.flush()
    producer.send(b"x" * 300_000, "bigger")
    producer.send(b"x" * 300_000, "bigger")
    with pytest.raises(RejectedError, match=r'of the key "bigger" has 300000 bytes, .*; and 1 more'):
        producer.flush()
    producer.send(b"x" * 200_000, "big")
    time.sleep(2)
    with pytest.raises(RejectedError, match='of the key "big" has 200000 bytes'):
        producer.send(b"not sent")
    producer.send(b"after")
    producer.close()
    assert values(kafka, topic) == [b"before", b"after"]


def test_a_message_that_is_never_acknowledged_is_raised_and_none_is_forgotten(own_kafka):
    kafka = own_kafka.plain
    topic = kafka.new_topic()
    properties = {"message.timeout.ms": "1000"}
    producer = KafkaProducer(topic, bootstrap_servers=kafka.bootstrap, properties=properties)
    own_kafka.server.pause()
    for number in range(3):
        producer.send(str(number))
    with pytest.raises(UnavailableError, match=r"not accepted.*nor were 2 others"):
        producer.flush()

    def send_on() -> None:
        for _ in range(600):
            producer.send(b"3")
            time.sleep(0.05)

    with pytest.raises(UnavailableError, match="not accepted"):
        send_on()
    producer.send(b"4")
    with pytest.raises(UnavailableError, match="not accepted"):
        producer.flush()
    producer.flush()
    producer.send(b"5")
    with pytest.raises(UnavailableError, match="not accepted"):
        producer.close()
    own_kafka.server.resume()


def test_a_flush_that_runs_out_of_time_says_so_and_the_messages_stay_on_their_way(own_kafka):
    kafka = own_kafka.plain
    topic = kafka.new_topic()
    with KafkaProducer(topic, bootstrap_servers=kafka.bootstrap) as producer:
        own_kafka.server.pause()
        producer.send(b"1")
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=r"1 messages for .* are not acknowledged after 0\.5 s"):
            producer.flush(0.5)
        assert time.monotonic() - began < 5
        own_kafka.server.resume()
    assert values(kafka, topic) == [b"1"]


def test_an_exception_in_the_block_passes_and_what_was_sent_arrives(kafka, topic, make):
    def block():
        with make(topic, {"linger_ms": 60_000}) as producer:
            producer.send(b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert values(kafka, topic) == [b"1"]


def test_sending_waits_while_the_memory_is_used_up(own_kafka):
    kafka = own_kafka.plain
    topic = kafka.new_topic()
    settings = {"bootstrap_servers": kafka.bootstrap, "memory_limit": "2MiB", "compression": "none"}
    with KafkaProducer(topic, **settings) as producer:
        own_kafka.server.pause()
        sent = []

        def send():
            for number in range(100):
                producer.send(b"x" * 100_000, str(number))
                sent.append(number)

        sender = threading.Thread(target=send)
        sender.start()
        wait_until(lambda: len(sent) >= 15, "the memory is used up")
        time.sleep(1)
        assert 15 <= len(sent) <= 25
        own_kafka.server.resume()
        sender.join(60)
    assert [int(message.key) for message in topics.messages(kafka, topic)] == list(range(100))


def test_a_program_ends_and_its_messages_are_there_though_nobody_closed_the_producer(kafka, topic):
    program = (
        "from pipeline_core import KafkaProducer\n"
        f"producer = KafkaProducer({topic!r}, {{'linger_ms': 60000}}, bootstrap_servers={kafka.bootstrap!r})\n"
        "producer.send(b'1')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" in done.stderr
    assert f"<KafkaProducer of the topic '{topic}'> was not closed" in done.stderr
    assert values(kafka, topic) == [b"1"]


def test_a_forgotten_producer_goes_with_a_warning_in_a_bounded_time(own_kafka, caplog):
    kafka = own_kafka.plain
    producer = KafkaProducer(kafka.new_topic(), bootstrap_servers=kafka.bootstrap)
    own_kafka.server.pause()
    producer.send(b"1")
    owners, began = [producer], time.monotonic()
    del producer
    with pytest.warns(ResourceWarning, match="was not closed"):
        owners.clear()
    assert time.monotonic() - began < 10
    assert "1 messages were given up" in caplog.text
    own_kafka.server.resume()


def test_a_closed_producer_says_so_and_may_be_closed_again(topic, make):
    producer = make(topic)
    producer.flush_and_close()
    producer.close()
    with pytest.raises(SettingsError, match="This KafkaProducer is closed"):
        producer.send(b"1")
    with pytest.raises(SettingsError, match="This KafkaProducer is closed"):
        producer.flush()


FORKED = """
import os, signal, sys
from pipeline_core import KafkaProducer

producer = KafkaProducer(sys.argv[1], bootstrap_servers=sys.argv[2])
producer.send(b"1")
if os.fork() == 0:
    signal.alarm(20)
    try:
        producer.send(b"2")
    except RuntimeError as error:
        print(error, flush=True)
        sys.exit(7)
    os._exit(8)
_, status = os.wait()
assert os.waitstatus_to_exitcode(status) == 7, status
producer.close()
"""


def test_a_fork_is_told_and_ends_in_silence_and_the_parent_goes_on(kafka, topic):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, topic, kafka.bootstrap],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "fork" in done.stdout
    assert values(kafka, topic) == [b"1"]


INTERRUPTED = """
import signal, sys, time
from pipeline_core import KafkaProducer

signal.signal(signal.SIGINT, signal.default_int_handler)
producer = KafkaProducer(sys.argv[1], bootstrap_servers=sys.argv[2], memory_limit="1MiB", compression="none")
print("ready", flush=True)
sys.stdin.readline()
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    producer.close(0.1)
"""
WAITS = {
    "send": "[producer.send(b'x' * 100000) for _ in range(100)]",
    "flush": "producer.send(b'1'); producer.flush()",
}


@pytest.mark.parametrize("call", WAITS)
def test_ctrl_c_ends_a_call_that_waits(own_kafka, call):
    kafka = own_kafka.plain
    topic = kafka.new_topic()
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(call=WAITS[call]), topic, kafka.bootstrap],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            own_kafka.server.pause()
            process.stdin.write("go\n")
            process.stdin.flush()
            time.sleep(1)
            assert process.poll() is None, process.stderr.read()
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            assert time.monotonic() - began < 5
            _, err = process.communicate(timeout=30)
            assert "not acknowledged" in err
        finally:
            process.kill()
            own_kafka.server.resume()


def test_with_the_embedded_broker_nothing_else_is_needed():
    kafka = EmbeddedKafka()
    try:
        with KafkaProducer("made", bootstrap_servers=kafka.bootstrap_servers) as producer:
            for number in range(30):
                producer.send(os.urandom(100_000), str(number))
        assert topics.partitions(_Embedded(kafka.bootstrap_servers), "made") == 1
    finally:
        kafka.close()


class _Embedded:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def properties(self):
        return {"bootstrap.servers": self.bootstrap}


def test_where_no_broker_answers_it_cannot_be_made():
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="Cannot reach Kafka at"):
        KafkaProducer("t", bootstrap_servers=NOWHERE)
    assert time.monotonic() - began < 30


def test_the_keywords_are_the_fields_of_its_settings():
    assert set(get_type_hints(kafka_producer.Arguments)) == {"config_file", *kafka_producer.Settings.model_fields} - {
        "topic"
    }


class InformationProducer(KafkaProducer):
    """As a subclass of the original's base class is written."""

    def transform(self, doc):
        return Page(_id=str(doc["_id"]), name=doc.get("info_name", ""))

    def value_serialize(self, message):
        return message.model_dump_json().encode("utf-8")

    def sync(self, documents):
        for document in documents:
            self.send_message(self.transform(document))
        self.flush_and_close(timeout=30)


def test_a_subclass_of_the_original_goes_on_working(kafka, topic, caplog):
    config = {
        "bootstrap_servers": [kafka.bootstrap],
        "compression_type": "gzip",
        "retries": 5,
        "acks": 1,
        "batch_size": 512 * 1024,
        "linger_ms": 1000,
    }
    with caplog.at_level(logging.WARNING):
        InformationProducer(topic, config, True).sync([{"_id": 1, "info_name": "名"}, {"_id": 2}])  # noqa: FBT003 - as in the original
    assert "acks=1 is raised to all" in caplog.text
    assert [json.loads(value) for value in values(kafka, topic)] == [
        {"uid": "1", "name": "名"},
        {"uid": "2", "name": ""},
    ]


def test_with_debug_each_message_has_arrived_when_send_returns(kafka, topic, make):
    producer = make(topic, None, True, properties={"linger.ms": "60000"})  # noqa: FBT003 - as in the original
    producer.send(b"1")
    assert values(kafka, topic) == [b"1"]


def test_settings_of_its_own_win_over_the_original_s(kafka, topic):
    config = {"bootstrap_servers": NOWHERE, "linger_ms": 1, "compression_type": "lz4"}
    with KafkaProducer(topic, config, bootstrap_servers=kafka.bootstrap, properties={"linger.ms": "2"}) as producer:
        producer.send(b"1")
    assert values(kafka, topic) == [b"1"]
