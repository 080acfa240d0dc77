"""kafka-python's settings in ours."""

from __future__ import annotations

import logging

import pytest

from pipeline_core import producer_config
from pipeline_core.exceptions import SettingsError

MIB = 2**20


def test_the_original_s_settings_are_translated():
    given = {
        "bootstrap_servers": ["a:1", "b:2"],
        "compression_type": None,
        "retries": 5,
        "acks": "all",
        "batch_size": 512 * 1024,
        "linger_ms": 1000,
        "max_request_size": 10 * MIB,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "user",
        "sasl_plain_password": "secret",
        "ssl_cafile": "ca.pem",
        "client_id": "mine",
    }
    assert producer_config.translate(given) == {
        "bootstrap_servers": "a:1,b:2",
        "compression": "none",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "user",
        "sasl_password": "secret",
        "ssl_ca_location": "ca.pem",
        "properties": {
            "batch.size": "524288",
            "linger.ms": "1000",
            "message.max.bytes": "10485760",
            "message.send.max.retries": "5",
            "client.id": "mine",
        },
    }


@pytest.mark.parametrize(
    ("given", "translated"),
    [
        ({}, {}),
        ({"bootstrap_servers": "a:1"}, {"bootstrap_servers": "a:1"}),
        ({"retries": float("inf")}, {}),
        ({"retries": 0}, {"properties": {"message.send.max.retries": "1"}}),
        ({"linger_ms": 0, "batch_size": 0}, {"properties": {"linger.ms": "0", "batch.size": "1"}}),
    ],
)
def test_what_is_not_said_is_left_alone_and_what_librdkafka_refuses_is_raised(given, translated):
    assert producer_config.translate(given) == translated


@pytest.mark.parametrize("acks", [0, 1, "1"])
def test_less_acknowledgements_are_raised_to_all_with_a_warning(acks, caplog):
    with caplog.at_level(logging.WARNING):
        assert producer_config.translate({"acks": acks}) == {}
    assert f"acks={acks} is raised to all" in caplog.text


@pytest.mark.parametrize("acks", ["all", -1, "-1"])
def test_all_is_all(acks, caplog):
    assert producer_config.translate({"acks": acks}) == {}
    assert not caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"linger": 1}, "Unknown setting 'linger' in 'producer_config'; did you mean 'linger_ms'?"),
        ({"value_serializer": str}, "Unknown setting 'value_serializer'"),
        ({"acks": 2}, "'acks' must be all, not 2"),
        ({"acks": []}, "'acks' must be all"),
        ({"bootstrap_servers": []}, "'bootstrap_servers' must be host:port"),
        ({"bootstrap_servers": ["a:1", 7]}, "'bootstrap_servers' must be host:port"),
        ({"retries": "many"}, "'retries' must be a whole number"),
        ({"linger_ms": -1}, "'linger_ms' must be a whole number"),
        ({"linger_ms": True}, "'linger_ms' must be a whole number"),
        ({"compression_type": "zip"}, "'compression_type' must be gzip or"),
    ],
)
def test_a_wrong_setting_is_explained(given, message):
    with pytest.raises(SettingsError) as caught:
        producer_config.translate(given)
    assert message in caught.value.message
    assert caught.value.hint
