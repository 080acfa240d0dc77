"""The settings that pipelines share: how to reach Kafka and the object stores."""

import os
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from typing_extensions import Self, TypedDict

from pipeline_core.fields import Metavar, Pairs, Place, Seconds, Upper
from pipeline_core.layers import Env
from pipeline_core.settings import PipelineSettings

DEFAULT_TOPIC = "supply-chain-orders"
TASK_TOPIC = "file-processing-tasks"


def _with_scheme(value: object) -> object:
    return f"http://{value}" if isinstance(value, str) and value and "://" not in value else value


class KafkaSettings(PipelineSettings):
    """How to reach Kafka."""

    block: ClassVar[str] = "kafka"

    bootstrap_servers: Annotated[
        str, Field(min_length=1, description="Brokers, as host:port,host:port."), Env("KAFKA_BOOTSTRAP_SERVERS")
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


class KafkaArguments(TypedDict, total=False):
    """Keyword arguments that set `KafkaSettings`."""

    bootstrap_servers: str
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
