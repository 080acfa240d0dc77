"""Airflow connections as settings: of Kafka, Amazon, Google, MySQL, PostgreSQL and MongoDB, and HTTP for Walmart.

They have the shapes that the providers of these systems give them. What a connection says and a pipeline cannot do is
refused, never passed over.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import quote, quote_plus, urlencode

from pipeline_core.config import (
    KafkaSettings,
    MysqlSettings,
    SourceSettings,
    StoreSettings,
    TargetSettings,
    WalmartSettings,
)
from pipeline_core.exceptions import SettingsError
from pipeline_core.mongodb import MongodbSettings
from pipeline_core.settings import PipelineSettings

Settings = dict[str, Any]

# Settings of their own; the others of the extra are passed on as they are.
_KAFKA = {
    "bootstrap.servers": "bootstrap_servers",
    "security.protocol": "security_protocol",
    "sasl.username": "sasl_username",
    "sasl.password": "sasl_password",
    "ssl.ca.location": "ssl_ca_location",
    "ssl.certificate.location": "ssl_certificate_location",
    "ssl.key.location": "ssl_key_location",
    "ssl.key.password": "ssl_key_password",
}
# Functions of Python, which the engine does not call.
_CALLBACKS = ("error_cb", "throttle_cb", "stats_cb", "log_cb", "oauth_cb", "on_commit")
# The pipeline decides these, so that no offset is committed before its rows are safe.
_OFFSETS = ("enable.auto.commit", "enable.auto.offset.store", "auto.commit.interval.ms")

_MYSQL_TLS = {name.upper(): name for name in ("disabled", "preferred", "required", "verify_ca", "verify_identity")}
_POSTGRES_TLS = {
    "disable": "disabled",
    "allow": "preferred",
    "prefer": "preferred",
    "require": "required",
    "verify-ca": "verify_ca",
    "verify-full": "verify_identity",
}


class Connection(Protocol):
    """What is read of an Airflow connection."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """What stands in its extra."""
        ...


@dataclass(frozen=True)
class KeyFile:
    """A key that a connection holds, for a setting that is the path of a file."""

    text: str


def settings_of(config: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    """The settings that a connection stands for.

    Args:
        config: The pipeline's settings.
        role: What it reaches: `kafka`, `s3`, `gcs`, `obs`, `walmart`, `mysql`, `source`, `target` or `mongodb`.
        connection: The connection.

    Raises:
        SettingsError: The pipeline has nothing of that role, or the connection is of another kind or says what the
            pipeline cannot do.
    """
    fitting = [name for name, (block, _) in _ROLES.items() if issubclass(config, block)]
    if role not in fitting:
        message = f"{config.pipeline} has no connection {role!r}; it has {', '.join(fitting)}"
        raise SettingsError(message, "Give conn_ids as a dict of these names and the ids of Airflow connections.")
    found = _ROLES[role][1](config, role, connection)
    return {name: value for name, value in found.items() if value not in (None, "")}


def _kafka(config: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    extra = _extra(connection, {"kafka"}, role, refused=_CALLBACKS)
    if not extra.get("bootstrap.servers"):
        message = f"Connection {connection.conn_id!r} has no bootstrap.servers in its extra"
        raise SettingsError(message, 'Write librdkafka\'s properties there: {"bootstrap.servers": "host:9092"}.')
    found: Settings = {_KAFKA[name]: value for name, value in extra.items() if name in _KAFKA}
    others = {name: value for name, value in extra.items() if name not in {*_KAFKA, *_OFFSETS}}
    for name, setting in (("group.id", "group_id"), ("auto.offset.reset", "auto_offset_reset")):
        value = others.pop(name, None)
        if setting in config.model_fields:
            found[setting] = value
    found["properties"] = others or None
    return found


def _s3(_: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    found = _amazon(role, connection)
    endpoint = str(found["endpoint"] or "")
    return {
        **{f"s3_{name}": value for name, value in found.items()},
        "allow_http": True if endpoint.startswith("http://") else None,
    }


def _obs(_: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    found = _amazon(role, connection)
    if found.pop("session_token"):
        raise _cannot(connection, "aws_session_token")
    if not found["endpoint"]:
        message = f"Connection {connection.conn_id!r} has no endpoint_url in its extra"
        raise SettingsError(message, 'Write it there: {"endpoint_url": "https://obs.example.com"}.')
    is_plain = str(found["endpoint"]).startswith("http://")
    return {**{f"obs_{name}": value for name, value in found.items()}, "allow_http": True if is_plain else None}


def _amazon(role: str, connection: Connection) -> Settings:
    refused = ("role_arn", "profile_name", "session_kwargs", "assume_role_method", "verify")
    extra = _extra(connection, {"aws"}, role, refused)
    services = cast("Mapping[str, Mapping[str, Any]]", extra.get("service_config") or {})
    is_whole = connection.login and connection.password
    return {
        "endpoint": services.get("s3", {}).get("endpoint_url") or extra.get("endpoint_url"),
        "region": extra.get("region_name"),
        "access_key_id": connection.login if is_whole else extra.get("aws_access_key_id"),
        "secret_access_key": connection.password if is_whole else extra.get("aws_secret_access_key"),
        "session_token": extra.get("aws_session_token"),
    }


def _gcs(_: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    prefix = "extra__google_cloud_platform__"
    refused = ("credential_config_file", "impersonation_chain", "is_anonymous", "key_secret_name")
    extra = _extra(connection, {"google_cloud_platform"}, role, (*refused, *(prefix + name for name in refused)))

    def field(name: str) -> Any:  # noqa: ANN401 - of a JSON object
        return extra.get(name) or extra.get(prefix + name)

    key = field("keyfile_dict")
    if key:
        return {"gcs_credentials_path": KeyFile(key if isinstance(key, str) else json.dumps(key))}
    return {"gcs_credentials_path": field("key_path")}


def _walmart(_: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    extra = _extra(connection, {"http", "https", "generic", "walmart"}, role)
    host = connection.host or ""
    if host and "://" not in host:
        port = f":{connection.port}" if connection.port else ""
        host = f"{connection.schema or 'https'}://{host}{port}"
    found: Settings = {"base_url": host, "account_tag": extra.get("account_tag")}
    if connection.login:
        return {**found, "client_id": connection.login, "client_secret": connection.password}
    return {**found, "walmart_token": connection.password}


def _mysql(_: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    return {
        **_of_mysql(role, connection),
        "mysql_charset": connection.extra_dejson.get("charset"),
        "database": connection.schema,
    }


def _side(config: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    """A database that rows are read from or written to."""
    is_mysql = config.pipeline == "mysql_to_mysql"
    found = _of_mysql(role, connection) if is_mysql else _of_postgres(role, connection)
    return {**found, f"{role}_database": connection.schema}


def _of_mysql(role: str, connection: Connection) -> Settings:
    extra = _extra(connection, {"mysql"}, role, refused=("iam", "unix_socket", "ssl_cert", "ssl_key"))
    mode = str(extra.get("ssl_mode") or "").upper()
    if mode and mode not in _MYSQL_TLS:
        raise _cannot(connection, f"ssl_mode {mode}")
    given: Any = extra.get("ssl") or {}
    files = cast("dict[str, Any]", json.loads(given) if isinstance(given, str) else given)
    if files.get("cert") or files.get("key"):
        raise _cannot(connection, "ssl.cert")
    # MySQL's own clients verify the server as soon as they are given a CA.
    ca = files.get("ca") or extra.get("ssl_ca")
    return _of_server(role, connection, _MYSQL_TLS.get(mode) or ("verify_ca" if ca else None), ca)


def _of_postgres(role: str, connection: Connection) -> Settings:
    refused = ("iam", "azure_conn_id", "options", "service", "sslcert", "sslkey", "hostaddr")
    extra = _extra(connection, {"postgres"}, role, refused)
    mode = str(extra.get("sslmode") or "")
    if mode and mode not in _POSTGRES_TLS:
        raise _cannot(connection, f"sslmode {mode}")
    return _of_server(role, connection, _POSTGRES_TLS.get(mode), extra.get("sslrootcert"))


def _of_server(role: str, connection: Connection, tls: str | None, ca: object) -> Settings:
    return {
        f"{role}_host": connection.host,
        f"{role}_port": connection.port,
        f"{role}_user": connection.login,
        f"{role}_password": connection.password,
        f"{role}_tls": tls,
        f"{role}_ca_location": ca,
    }


def _mongodb(_: type[PipelineSettings], role: str, connection: Connection) -> Settings:
    extra = _extra(connection, {"mongo"}, role)
    is_srv = _is_true(extra.pop("srv", False))
    is_encrypted = _is_true(extra.pop("ssl", False)) | _is_true(extra.pop("tls", False))
    if _is_true(extra.pop("allow_insecure", False)):
        raise _cannot(connection, "allow_insecure")
    login = ""
    if connection.login is not None and connection.password is not None:
        login = f"{quote_plus(connection.login)}:{quote_plus(connection.password)}@"
    port = f":{connection.port}" if connection.port else ""
    options = {name: str(value).lower() if isinstance(value, bool) else value for name, value in extra.items()}
    if is_encrypted:
        options["tls"] = "true"
    scheme = "mongodb+srv" if is_srv else "mongodb"
    path = f"{quote(connection.schema or '', safe='')}{'?' if options else ''}{urlencode(options)}"
    return {
        "mongodb_uri": f"{scheme}://{login}{connection.host or 'localhost'}{port}/{path}",
        "mongodb_database": connection.schema,
    }


_ROLES: dict[str, tuple[type[PipelineSettings], Callable[[type[PipelineSettings], str, Connection], Settings]]] = {
    "kafka": (KafkaSettings, _kafka),
    "s3": (StoreSettings, _s3),
    "gcs": (StoreSettings, _gcs),
    "obs": (StoreSettings, _obs),
    "walmart": (WalmartSettings, _walmart),
    "mysql": (MysqlSettings, _mysql),
    "source": (SourceSettings, _side),
    "target": (TargetSettings, _side),
    "mongodb": (MongodbSettings, _mongodb),
}


def _extra(connection: Connection, kinds: set[str], role: str, refused: tuple[str, ...] = ()) -> dict[str, Any]:
    """A copy of the extra of a connection of one of these kinds, which has none of the refused names."""
    if connection.conn_type not in kinds:
        wanted = " or ".join(sorted(kinds))
        message = f"Connection {connection.conn_id!r} is of type {connection.conn_type!r}, and {role} needs {wanted}"
        raise SettingsError(message, "Name another connection in conn_ids, or change its type.")
    extra = dict(connection.extra_dejson)
    for name in refused:
        if extra.get(name) not in (None, "", False):
            raise _cannot(connection, name)
    return extra


def _cannot(connection: Connection, what: str) -> SettingsError:
    message = f"Connection {connection.conn_id!r} has {what}, which the pipeline cannot do"
    return SettingsError(message, "Leave it out, and give what it stands for as settings.")


def _is_true(value: object) -> bool:
    return str(value).lower() in {"true", "1"}
