"""The settings of a Kafka producer under kafka-python's names, as the MongoDB original has them, in ours."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, cast

from pipeline_core.exceptions import SettingsError
from pipeline_core.layers import closest

_SETTINGS = {
    "security_protocol": "security_protocol",
    "sasl_mechanism": "sasl_mechanism",
    "sasl_plain_username": "sasl_username",
    "sasl_plain_password": "sasl_password",
    "ssl_cafile": "ssl_ca_location",
    "ssl_certfile": "ssl_certificate_location",
    "ssl_keyfile": "ssl_key_location",
    "ssl_password": "ssl_key_password",
}
_NUMBERS = {
    "batch_size": "batch.size",
    "linger_ms": "linger.ms",
    "max_request_size": "message.max.bytes",
    "request_timeout_ms": "request.timeout.ms",
    "retries": "message.send.max.retries",
    "retry_backoff_ms": "retry.backoff.ms",
}
# librdkafka refuses less of these, the last since its retries make no doubles.
_LEAST = {"batch.size": 1, "message.max.bytes": 1000, "request.timeout.ms": 1, "message.send.max.retries": 1}
_COMPRESSIONS = ("gzip", "lz4", "snappy", "zstd", "none")
_KNOWN = {"acks", "bootstrap_servers", "client_id", "compression_type", *_SETTINGS, *_NUMBERS}

_log = logging.getLogger(__name__)


def translate(producer_config: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings for those of kafka-python: fields of `KafkaSettings`, and `compression`.

    Args:
        producer_config: `bootstrap_servers` (text or a list), `compression_type`, `retries`, `acks`, `batch_size`,
            `linger_ms`, and those for TLS and a login. `acks` is raised to all, with a warning.

    Returns:
        Only what it sets; what has no field of its own stands in `properties`, under librdkafka's name.

    Raises:
        SettingsError: A name is unknown or a value wrong.
    """
    unknown = [name for name in producer_config if name not in _KNOWN]
    if unknown:
        lines = [f"Unknown setting {name!r} in 'producer_config'{closest(name, _KNOWN)}" for name in map(str, unknown)]
        hint = "It takes kafka-python's names; any librdkafka property may stand in 'properties'."
        raise SettingsError("\n".join(lines), hint)
    given = dict(producer_config)
    _raise_acks(given.pop("acks", "all"))
    settings = {ours: given[name] for name, ours in _SETTINGS.items() if given.get(name) is not None}
    if "bootstrap_servers" in given:
        settings["bootstrap_servers"] = _servers(given["bootstrap_servers"])
    if "compression_type" in given:
        settings["compression"] = _compression(given["compression_type"])
    properties = {_NUMBERS[name]: _number(name, given[name]) for name in _NUMBERS if given.get(name) is not None}
    if given.get("client_id"):
        properties["client.id"] = str(given["client_id"])
    # kafka-python writes no limit as infinity, which is librdkafka's default.
    properties = {name: value for name, value in properties.items() if value}
    return {**settings, "properties": properties} if properties else settings


def _raise_acks(acks: object) -> None:
    if str(acks) in {"all", "-1"}:
        return
    if str(acks) not in {"0", "1"}:
        _refuse("acks", "all", acks)
    _log.warning("acks=%s is raised to all: less loses messages when a broker fails", acks)


def _servers(value: object) -> str:
    servers = list(cast("Iterable[object]", value)) if isinstance(value, (list, tuple, set, frozenset)) else [value]
    texts = [str(server).strip() for server in servers if isinstance(server, str)]
    if not texts or not all(texts) or len(texts) < len(servers):
        _refuse("bootstrap_servers", "host:port, or a list of them", servers)
    return ",".join(texts)


def _compression(value: object) -> str:
    compression = "none" if value is None else value
    if compression not in _COMPRESSIONS:
        _refuse("compression_type", " or ".join(_COMPRESSIONS), value)
    return str(compression)


def _number(name: str, value: object) -> str:
    """The text of a property; none of infinity."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value == float("inf"):
        return ""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        _refuse(name, "a whole number", value)
    return str(max(value, _LEAST.get(_NUMBERS[name], 0)))


def _refuse(name: str, wanted: str, value: object) -> NoReturn:
    message = f"Setting 'producer_config': {name!r} must be {wanted}, not {value!r}"
    raise SettingsError(message, "It takes the values that kafka-python does.")
