"""The settings that pipelines share: how to reach Kafka, object stores, Walmart's API and databases."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from typing_extensions import Self, TypedDict, override

from pipeline_core.exceptions import SettingsError
from pipeline_core.fields import Joined, Metavar, Pairs, Place, Port, Seconds, Short, Text, Upper
from pipeline_core.layers import Env, Found
from pipeline_core.mapping import EMPLOYEES, Mapping, MappingDocument, from_text
from pipeline_core.settings import PipelineSettings
from pipeline_core.settings_file import ACCOUNTS

DEFAULT_TOPIC = "supply-chain-orders"
TASK_TOPIC = "file-processing-tasks"
ORDER_TOPIC = "walmart_order_raw"
CHANGE_TOPIC = "bf_employee_cdc"

Tls = Literal["disabled", "preferred", "required", "verify_ca", "verify_identity"]

# Where the Walmart original keeps its settings.
_USUAL_FILE = Path("config/config.yml")
_MYSQL_URL = re.compile(r"mysql://(.*@)?[^@/?#]+([/?#].*)?", re.DOTALL)
_POSTGRES_URL = re.compile(r"postgres(ql)?://(.*@)?[^@/?#]+([/?#].*)?", re.DOTALL)
_TLS = (
    "Encryption: disabled, preferred (where the server can), required, verify_ca (and a known CA), or verify_identity"
    " (and the host's name)."
)
_CREDENTIALS = ("walmart_token", "client_id", "client_secret")


def _mysql_url(value: object) -> object:
    if isinstance(value, str) and not _MYSQL_URL.fullmatch(value):
        message = "Write it as mysql://user:password@host:port"
        raise ValueError(message)
    return value


def _postgres_url(value: object) -> object:
    if isinstance(value, str) and not _POSTGRES_URL.fullmatch(value):
        message = "Write it as postgresql://user:password@host:port/database"
        raise ValueError(message)
    return value


_PostgresUrl = Annotated[
    str | None,
    Metavar("URL"),
    BeforeValidator(_postgres_url),
    Field(
        repr=False,
        description="Server, as postgresql://user:password@host:port/database; wins over the settings below.",
    ),
]
_MysqlUrl = Annotated[
    str | None,
    Metavar("URL"),
    BeforeValidator(_mysql_url),
    Field(repr=False, description="Server, as mysql://user:password@host:port; wins over the settings below."),
]
_Host = Annotated[str, Field(min_length=1, description="Host.")]
_DatabasePort = Annotated[Port, Field(description="Port.")]
_User = Annotated[str, Text, Field(min_length=1, description="User.")]
_Password = Annotated[SecretStr | None, Text, Field(description="Password.")]
_Database = Annotated[str, Text, Field(min_length=1, description="Database.")]
_Encryption = Annotated[Tls, Metavar("MODE"), Field(description=_TLS)]
_CaFile = Annotated[Place | None, Metavar("FILE"), Field(description="PEM file of the CA that signed the server.")]


def _with_scheme(value: object) -> object:
    return f"http://{value}" if isinstance(value, str) and value and "://" not in value else value


class KafkaSettings(PipelineSettings):
    """How to reach Kafka."""

    block: ClassVar[str] = "kafka"

    bootstrap_servers: Annotated[
        str,
        Joined,
        Field(min_length=1, description="Brokers, as host:port,host:port."),
        Env("KAFKA_BOOTSTRAP_SERVERS"),
    ] = "localhost:9092"
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None,
        Metavar("NAME"),
        Upper,
        Field(description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; without it PLAINTEXT, as in librdkafka."),
        Env("KAFKA_SECURITY_PROTOCOL"),
    ] = None
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None,
        Metavar("NAME"),
        Upper,
        Field(description="How to log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."),
        Env("KAFKA_SASL_MECHANISM"),
    ] = None
    sasl_username: Annotated[str | None, Field(description="User to log in as."), Env("KAFKA_SASL_USERNAME")] = None
    sasl_password: Annotated[SecretStr | None, Field(description="Password."), Env("KAFKA_SASL_PASSWORD")] = None
    ssl_ca_location: Annotated[
        Place | None,
        Metavar("FILE"),
        Field(description="PEM file of the CA that signed the brokers."),
        Env("KAFKA_SSL_CA_LOCATION"),
    ] = None
    ssl_certificate_location: Annotated[
        Place | None,
        Metavar("FILE"),
        Field(description="PEM file of the client's certificate."),
        Env("KAFKA_SSL_CERTIFICATE_LOCATION"),
    ] = None
    ssl_key_location: Annotated[
        Place | None, Metavar("FILE"), Field(description="PEM file of the client's key."), Env("KAFKA_SSL_KEY_LOCATION")
    ] = None
    ssl_key_password: Annotated[
        SecretStr | None, Field(description="Password of the client's key."), Env("KAFKA_SSL_KEY_PASSWORD")
    ] = None
    properties: Annotated[
        Pairs, Field(repr=False, description="Any librdkafka property; may be repeated."), Env("KAFKA_PROPERTIES")
    ] = {}

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        """Refuse half a login, which a broker would answer with a timeout only."""
        protocol = self.security_protocol or self.properties.get("security.protocol", "").upper()
        username = self.sasl_username or self.properties.get("sasl.username")
        password = self.sasl_password or self.properties.get("sasl.password")
        if username and not protocol.startswith("SASL"):
            message = "Setting 'sasl_username' needs 'security_protocol' to be SASL_SSL or SASL_PLAINTEXT"
            raise ValueError(message)
        mechanism = self.sasl_mechanism or self.properties.get("sasl.mechanism", self.properties.get("sasl.mechanisms"))
        needs_password = mechanism in {None, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
        if protocol.startswith("SASL") and needs_password and not (username and password):
            wanted = "'sasl_password' (KAFKA_SASL_PASSWORD)" if username else "'sasl_username' (KAFKA_SASL_USERNAME)"
            message = f"Setting 'security_protocol' is {protocol}: it also needs {wanted}"
            raise ValueError(message)
        return self


class StoreSettings(PipelineSettings):
    """How to reach object stores; what is not set is found as the store's own tools find it."""

    block: ClassVar[str] = "store"

    s3_endpoint: Annotated[
        str | None,
        Field(description="S3 server other than Amazon's, as http(s)://host:port."),
        Env("AWS_ENDPOINT_URL_S3"),
        Env("AWS_ENDPOINT_URL"),
    ] = None
    s3_region: Annotated[str | None, Field(description="S3 region."), Env("AWS_REGION"), Env("AWS_DEFAULT_REGION")] = (
        None
    )
    s3_access_key_id: Annotated[str | None, Field(description="S3 access key."), Env("AWS_ACCESS_KEY_ID")] = None
    s3_secret_access_key: Annotated[
        SecretStr | None, Field(description="S3 secret key."), Env("AWS_SECRET_ACCESS_KEY")
    ] = None
    s3_session_token: Annotated[SecretStr | None, Field(description="S3 session token."), Env("AWS_SESSION_TOKEN")] = (
        None
    )
    s3_virtual_hosted: Annotated[
        bool, Field(description="Put the bucket into the S3 host name."), Env("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")
    ] = False
    obs_endpoint: Annotated[
        str | None,
        Field(description="Huawei OBS server, as https://host."),
        Env("OBS_SERVER"),
        Env("OBS_ENDPOINT"),
    ] = None
    obs_region: Annotated[str | None, Field(description="OBS region."), Env("OBS_REGION")] = None
    obs_access_key_id: Annotated[
        str | None, Field(description="OBS access key."), Env("OBS_ACCESS_KEY"), Env("OBS_ACCESS_KEY_ID")
    ] = None
    obs_secret_access_key: Annotated[
        SecretStr | None, Field(description="OBS secret key."), Env("OBS_SECRET_KEY"), Env("OBS_SECRET_ACCESS_KEY")
    ] = None
    obs_virtual_hosted: Annotated[bool, Field(description="Put the bucket into the OBS host name.")] = True
    gcs_credentials_path: Annotated[
        Place | None,
        Metavar("FILE"),
        Field(description="JSON key file of a Google service account."),
        Env("GCS_CREDENTIALS_PATH"),
        Env("GOOGLE_APPLICATION_CREDENTIALS"),
    ] = None
    gcs_endpoint: Annotated[
        str | None,
        BeforeValidator(_with_scheme),
        Field(description="GCS server other than Google's, as http(s)://host:port."),
        Env("GCS_ENDPOINT"),
        Env("STORAGE_EMULATOR_HOST"),
    ] = None
    allow_http: Annotated[
        bool, Field(description="Allow object stores without TLS, for servers of your own."), Env("AWS_ALLOW_HTTP")
    ] = False
    timeout_seconds: Annotated[Seconds, Field(description="How long one request to a store may take.")] = 60


class WalmartSettings(PipelineSettings):
    """How to reach Walmart's API as one account."""

    block: ClassVar[str] = "walmart"
    usual_file: ClassVar[Path | None] = _USUAL_FILE

    account_tag: Annotated[
        str,
        Short("-a"),
        Field(min_length=1, description="Account; its token may stand in the settings file."),
        Env("WALMART_ACCOUNT_TAG"),
    ] = "eForCity"
    walmart_token: Annotated[
        SecretStr | None, Field(description="Base64 of clientId:clientSecret."), Env("WALMART_TOKEN")
    ] = None
    client_id: Annotated[
        str | None,
        Field(min_length=1, description="Client id, with a client secret in place of a token."),
        Env("WALMART_CLIENT_ID"),
    ] = None
    client_secret: Annotated[
        SecretStr | None, Field(description="Client secret of the client id."), Env("WALMART_CLIENT_SECRET")
    ] = None
    base_url: Annotated[
        str,
        Metavar("URL"),
        Field(min_length=1, description="Where the API is, with its version."),
        Env("WALMART_BASE_URL"),
    ] = "https://marketplace.walmartapis.com/v3"
    request_timeout_seconds: Annotated[Seconds, Field(description="How long one request may take.")] = 60
    max_requests_per_second: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False, description="Requests a second at most; the API's own limits count as well."),
    ] = None

    @classmethod
    @override
    def layers(cls, arguments: dict[str, Any]) -> list[dict[str, Found]]:
        """What each place sets, with the account's token in place of the accounts of a file.

        Raises:
            SettingsError: A name is unknown, the file could not be read, or it does not hold the account.
        """
        layers = super().layers(arguments)
        for place, layer in enumerate(layers):
            accounts = layer.get("walmart_token")
            if accounts is None or not accounts.origin.endswith(f"{ACCOUNTS}]"):
                continue
            del layer["walmart_token"]
            is_decided = any(name in stronger for stronger in layers[:place] for name in _CREDENTIALS)
            if not is_decided:
                found = [other["account_tag"].value for other in layers if "account_tag" in other]
                tag = str(found[0] if found else cls.model_fields["account_tag"].default)
                layer["walmart_token"] = _of_account(tag, accounts)
        return layers

    @model_validator(mode="after")
    def _credentials_are_one(self) -> Self:
        """Refuse half a pair, and two ways to log in at once."""
        if (self.client_id is None) != (self.client_secret is None):
            message = (
                "Settings 'client_id' (WALMART_CLIENT_ID) and 'client_secret' (WALMART_CLIENT_SECRET) need each other"
            )
            raise ValueError(message)
        if self.walmart_token and self.client_id:
            message = (
                "Setting 'walmart_token' (WALMART_TOKEN) excludes 'client_id' (WALMART_CLIENT_ID): give one of them"
            )
            raise ValueError(message)
        return self


class MysqlSettings(PipelineSettings):
    """How to reach MySQL or MariaDB."""

    block: ClassVar[str] = "mysql"
    usual_file: ClassVar[Path | None] = _USUAL_FILE

    mysql_url: Annotated[_MysqlUrl, Env("MYSQL_URL")] = None
    mysql_host: Annotated[_Host, Env("MYSQL_HOST")] = "localhost"
    mysql_port: Annotated[_DatabasePort, Env("MYSQL_PORT")] = 3306
    mysql_user: Annotated[_User, Env("MYSQL_USER")] = "root"
    mysql_password: Annotated[_Password, Env("MYSQL_PASSWORD")] = None
    mysql_charset: Annotated[str, Field(min_length=1, description="Character set of the connection.")] = "utf8mb4"
    mysql_tls: Annotated[_Encryption, Env("MYSQL_TLS")] = "preferred"
    mysql_ca_location: Annotated[_CaFile, Env("MYSQL_CA_LOCATION")] = None


class SourceSettings(PipelineSettings):
    """How to reach the PostgreSQL database that changes are read from."""

    block: ClassVar[str] = "source"
    block_prefix: ClassVar[str] = "source_"

    source_url: Annotated[_PostgresUrl, Env("SOURCE_URL")] = None
    source_host: Annotated[_Host, Env("SOURCE_HOST")] = "localhost"
    source_port: Annotated[_DatabasePort, Env("SOURCE_PORT")] = 5432
    source_user: Annotated[_User, Env("SOURCE_USER")] = "postgres"
    source_password: Annotated[_Password, Env("SOURCE_PASSWORD")] = None
    source_database: Annotated[_Database, Env("SOURCE_DATABASE")] = "postgres"
    source_tls: Annotated[_Encryption, Env("SOURCE_TLS")] = "preferred"
    source_ca_location: Annotated[_CaFile, Env("SOURCE_CA_LOCATION")] = None


class TargetSettings(PipelineSettings):
    """How to reach the PostgreSQL database that changes are written to."""

    block: ClassVar[str] = "target"
    block_prefix: ClassVar[str] = "target_"

    target_url: Annotated[_PostgresUrl, Env("TARGET_URL")] = None
    target_host: Annotated[_Host, Env("TARGET_HOST")] = "localhost"
    target_port: Annotated[_DatabasePort, Env("TARGET_PORT")] = 5433
    target_user: Annotated[_User, Env("TARGET_USER")] = "postgres"
    target_password: Annotated[_Password, Env("TARGET_PASSWORD")] = None
    target_database: Annotated[_Database, Env("TARGET_DATABASE")] = "postgres"
    target_tls: Annotated[_Encryption, Env("TARGET_TLS")] = "preferred"
    target_ca_location: Annotated[_CaFile, Env("TARGET_CA_LOCATION")] = None


class MysqlSourceSettings(SourceSettings):
    """How to reach the MySQL or MariaDB database that rows are read from."""

    source_url: Annotated[_MysqlUrl, Env("SOURCE_MYSQL_URL")] = None
    source_host: Annotated[_Host, Env("SOURCE_MYSQL_HOST")] = "localhost"
    source_port: Annotated[_DatabasePort, Env("SOURCE_MYSQL_PORT")] = 3306
    source_user: Annotated[_User, Env("SOURCE_MYSQL_USER")] = "root"
    source_password: Annotated[_Password, Env("SOURCE_MYSQL_PASSWORD")] = None
    source_database: Annotated[_Database, Env("SOURCE_MYSQL_DATABASE")] = "info"
    source_tls: Annotated[_Encryption, Env("SOURCE_MYSQL_TLS")] = "preferred"
    source_ca_location: Annotated[_CaFile, Env("SOURCE_MYSQL_CA_LOCATION")] = None


class MysqlTargetSettings(TargetSettings):
    """How to reach the MySQL or MariaDB database that rows are written to."""

    target_url: Annotated[_MysqlUrl, Env("TARGET_MYSQL_URL")] = None
    target_host: Annotated[_Host, Env("TARGET_MYSQL_HOST")] = "localhost"
    target_port: Annotated[_DatabasePort, Env("TARGET_MYSQL_PORT")] = 3306
    target_user: Annotated[_User, Env("TARGET_MYSQL_USER")] = "root"
    target_password: Annotated[_Password, Env("TARGET_MYSQL_PASSWORD")] = None
    target_database: Annotated[_Database, Env("TARGET_MYSQL_DATABASE")] = "nfsc"
    target_tls: Annotated[_Encryption, Env("TARGET_MYSQL_TLS")] = "preferred"
    target_ca_location: Annotated[_CaFile, Env("TARGET_MYSQL_CA_LOCATION")] = None


class MappingSettings(PipelineSettings):
    """Which columns a change has."""

    block: ClassVar[str] = "mapping"

    mapping: Annotated[
        Mapping,
        Metavar("JSON"),
        BeforeValidator(from_text),
        Field(
            description="Columns of the rows, their types and their names in a message, as a JSON object; longer ones"
            " stand in a table mapping of a settings file."
        ),
    ] = EMPLOYEES


class KafkaArguments(TypedDict, total=False):
    """Keyword arguments that set `KafkaSettings`."""

    bootstrap_servers: str | Sequence[str]
    security_protocol: str | None
    sasl_mechanism: str | None
    sasl_username: str | None
    sasl_password: str | SecretStr | None
    ssl_ca_location: str | os.PathLike[str] | None
    ssl_certificate_location: str | os.PathLike[str] | None
    ssl_key_location: str | os.PathLike[str] | None
    ssl_key_password: str | SecretStr | None
    properties: dict[str, str]


class StoreArguments(TypedDict, total=False):
    """Keyword arguments that set `StoreSettings`."""

    s3_endpoint: str | None
    s3_region: str | None
    s3_access_key_id: str | None
    s3_secret_access_key: str | SecretStr | None
    s3_session_token: str | SecretStr | None
    s3_virtual_hosted: bool
    obs_endpoint: str | None
    obs_region: str | None
    obs_access_key_id: str | None
    obs_secret_access_key: str | SecretStr | None
    obs_virtual_hosted: bool
    gcs_credentials_path: str | os.PathLike[str] | None
    gcs_endpoint: str | None
    allow_http: bool
    timeout_seconds: float | str


class WalmartArguments(TypedDict, total=False):
    """Keyword arguments that set `WalmartSettings`."""

    account_tag: str
    walmart_token: str | SecretStr | None
    client_id: str | None
    client_secret: str | SecretStr | None
    base_url: str
    request_timeout_seconds: float | str
    max_requests_per_second: float | None


class MysqlArguments(TypedDict, total=False):
    """Keyword arguments that set `MysqlSettings`."""

    mysql_url: str | None
    mysql_host: str
    mysql_port: int
    mysql_user: str
    mysql_password: str | SecretStr | None
    mysql_charset: str
    mysql_tls: Tls
    mysql_ca_location: str | os.PathLike[str] | None


class SourceArguments(TypedDict, total=False):
    """Keyword arguments that set `SourceSettings`."""

    source_url: str | None
    source_host: str
    source_port: int
    source_user: str
    source_password: str | SecretStr | None
    source_database: str
    source_tls: Tls
    source_ca_location: str | os.PathLike[str] | None


class TargetArguments(TypedDict, total=False):
    """Keyword arguments that set `TargetSettings`."""

    target_url: str | None
    target_host: str
    target_port: int
    target_user: str
    target_password: str | SecretStr | None
    target_database: str
    target_tls: Tls
    target_ca_location: str | os.PathLike[str] | None


class MappingArguments(TypedDict, total=False):
    """Keyword arguments that set `MappingSettings`."""

    mapping: Mapping | MappingDocument


def _of_account(tag: str, found: Found) -> Found:
    """The token of one of a file's accounts."""
    accounts = {str(name): entry for name, entry in cast("dict[object, object]", found.value).items()}
    place = f"{found.origin.removesuffix(']')}.{tag}]"
    if tag not in accounts:
        known = ", ".join(repr(name) for name in sorted(accounts)) or "none"
        message = f"Account {tag!r} is not in {found.origin}, which has {known}"
        raise SettingsError(message, "Name one of them with account_tag (-a), or set WALMART_TOKEN.")
    entry = accounts[tag]
    token = cast("dict[str, object]", entry).get("token") if isinstance(entry, dict) else None
    if not isinstance(token, str) or not token:
        message = f"{place} has no token"
        raise SettingsError(message, "Write the Base64 of clientId:clientSecret there, as text named token.")
    return Found(token, place)
