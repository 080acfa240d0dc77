"""The Kafka broker of the tests does what the product's tests build on."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.kafka import Broker, Kafka, KafkaSasl

SECONDS = 20


@pytest.fixture(params=["kafka", "kafka_sasl"])
def listener(request: pytest.FixtureRequest) -> Kafka:
    """Either listener of the session's broker."""
    return request.getfixturevalue(request.param)


def produce(kafka: Kafka, topic: str, values: list[bytes]) -> None:
    """Put `values` on the topic; returns when the broker has them."""
    producer = Producer(kafka.properties())
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(SECONDS) == 0


def consume(kafka: Kafka, topic: str, count: int) -> Iterator[Message]:
    """The first `count` messages of the topic's partition 0."""
    consumer = Consumer({**kafka.properties(), "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        for _ in range(count):
            message = consumer.poll(SECONDS)
            assert message is not None
            assert message.error() is None
            yield message
    finally:
        consumer.close()


def test_what_is_produced_is_consumed(listener: Kafka) -> None:
    topic = listener.new_topic()
    produce(listener, topic, [b"one", b"two"])
    assert [message.value() for message in consume(listener, topic, 2)] == [b"one", b"two"]


def test_a_group_gets_its_first_partitions_at_once(kafka: Kafka, topic: str) -> None:
    produce(kafka, topic, [b"one"])
    consumer = Consumer({**kafka.properties(), "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    begun = time.monotonic()
    message = consumer.poll(SECONDS)
    took = time.monotonic() - begun
    # What the group asks is answered first, or the closing may wait for ever (librdkafka's issue 4884).
    consumer.unsubscribe()
    while consumer.poll(0.02) is not None:
        pass
    consumer.close()
    assert message is not None
    assert took < SECONDS / 4


def test_an_aborted_transaction_is_not_read(listener: Kafka) -> None:
    topic = listener.new_topic()
    producer = Producer({**listener.properties(), "transactional.id": topic})
    producer.init_transactions(SECONDS)
    for value, ends in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(SECONDS)
        ends(SECONDS)
    assert [message.value() for message in consume(listener, topic, 1)] == [b"committed"]


def test_the_metadata_of_a_commit_comes_back(listener: Kafka) -> None:
    topic = listener.new_topic()
    consumer = Consumer({**listener.properties(), "group.id": topic})
    consumer.commit(offsets=[TopicPartition(topic, 0, 7, "cut=9")], asynchronous=False)
    [stored] = consumer.committed([TopicPartition(topic, 0)], SECONDS)
    consumer.close()
    assert (stored.offset, stored.metadata) == (7, "cut=9")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_every_mechanism_lets_the_right_password_in(kafka_sasl: KafkaSasl, mechanism: str) -> None:
    producer = Producer({**kafka_sasl.properties(), "sasl.mechanism": mechanism})
    assert producer.list_topics(timeout=SECONDS).brokers


def test_a_wrong_password_is_refused(kafka_sasl: KafkaSasl) -> None:
    errors: list[KafkaError] = []
    wrong = {"sasl.password": "wrong", "error_cb": errors.append, "log_level": 0}
    producer = Producer({**kafka_sasl.properties(), **wrong})
    with pytest.raises(KafkaException):
        producer.list_topics(timeout=3)
    producer.poll(0)
    assert KafkaError._AUTHENTICATION in [error.code() for error in errors]  # noqa: SLF001


def test_a_topic_is_never_made_by_asking_for_it(kafka: Kafka) -> None:
    name = f"never-made-{os.getpid()}"
    producer = Producer(kafka.properties())
    for _ in range(2):
        error = producer.list_topics(name, SECONDS).topics[name].error
        assert error is not None
        assert error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restarted_broker_still_has_its_data(own_kafka: Broker, end: str) -> None:
    topic = own_kafka.plain.new_topic()
    produce(own_kafka.plain, topic, [b"one"])
    getattr(own_kafka.server, end)()
    own_kafka.server.start()
    produce(own_kafka.sasl, topic, [b"two"])
    assert [message.value() for message in consume(own_kafka.plain, topic, 2)] == [b"one", b"two"]


def test_a_frozen_broker_goes_on_when_woken(own_kafka: Broker) -> None:
    topic = own_kafka.plain.new_topic()
    producer = Producer({**own_kafka.plain.properties(), "log_level": 0})
    own_kafka.server.pause()
    producer.produce(topic, b"one")
    assert producer.flush(1) == 1
    own_kafka.server.resume()
    assert producer.flush(SECONDS) == 0
