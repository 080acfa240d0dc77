"""How to reach MongoDB."""

import os
import re
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from typing_extensions import Self, TypedDict, override

from pipeline_core.fields import Metavar, Place, Port, Text
from pipeline_core.layers import Env, Found
from pipeline_core.settings import PipelineSettings

_HOST = r"(?:\[[\da-fA-F:]+\]|[\w.%-]+)(?::\d+)?"
_URI = re.compile(
    rf"mongodb(?:\+srv)?://(?:[^/?#@]*@)?{_HOST}(?:,{_HOST})*(?:/(?P<database>[^/?#]*))?(?:\?.*)?", re.ASCII
)


def _uri(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not _URI.fullmatch(text):
        message = "Write it as mongodb://user:password@host:port/database, with %40 for an @ in a password"
        raise ValueError(message)
    return value


def _nothing(value: object) -> object:
    """The original's settings have empty text for a server without users."""
    return None if value == "" else value


class MongodbSettings(PipelineSettings):
    """How to reach MongoDB."""

    block: ClassVar[str] = "mongodb"
    block_prefix: ClassVar[str] = "mongodb_"

    mongodb_uri: Annotated[
        SecretStr | None,
        BeforeValidator(_uri),
        Field(
            description="Server, as mongodb://user:password@host:port/database; wins over host, port, user and"
            " password."
        ),
        Env("MONGODB_URI"),
    ] = None
    mongodb_host: Annotated[str, Field(min_length=1, description="Host."), Env("MONGODB_HOST")] = "localhost"
    mongodb_port: Annotated[Port, Field(description="Port."), Env("MONGODB_PORT")] = 27017
    mongodb_user: Annotated[
        str | None, BeforeValidator(_nothing), Text, Field(description="User."), Env("MONGODB_USER")
    ] = None
    mongodb_password: Annotated[
        SecretStr | None, BeforeValidator(_nothing), Text, Field(description="Password."), Env("MONGODB_PASSWORD")
    ] = None
    mongodb_auth_source: Annotated[
        str, Field(min_length=1, description="Database that knows the user."), Env("MONGODB_AUTH_SOURCE")
    ] = "admin"
    mongodb_database: Annotated[
        str,
        Text,
        Field(min_length=1, description="Database; without it, the one in the path of the URI."),
        Env("MONGODB_DATABASE"),
    ] = "raw_data_temp"
    mongodb_direct_connection: Annotated[
        bool | None,
        Field(
            description="Speak to this server alone, whatever its replica set says; without it, where host and port"
            " name it."
        ),
        Env("MONGODB_DIRECT_CONNECTION"),
    ] = None
    mongodb_tls: Annotated[bool, Field(description="Encrypt the connection."), Env("MONGODB_TLS")] = False
    mongodb_ca_location: Annotated[
        Place | None,
        Metavar("FILE"),
        Field(description="PEM file of the CA that signed the server."),
        Env("MONGODB_CA_LOCATION"),
    ] = None
    mongodb_min_pool_size: Annotated[
        int, Field(ge=0, description="Connections that are kept open."), Env("MONGODB_MIN_POOL_SIZE")
    ] = 0
    mongodb_max_pool_size: Annotated[
        int, Field(gt=0, description="Connections at most."), Env("MONGODB_MAX_POOL_SIZE")
    ] = 10

    @classmethod
    @override
    def layers(cls, arguments: dict[str, Any]) -> list[dict[str, Found]]:
        """What each place sets, with the database in the URI's path where no place names one."""
        layers = super().layers(arguments)
        uri = next((layer["mongodb_uri"] for layer in layers if "mongodb_uri" in layer), None)
        if uri and not any("mongodb_database" in layer for layer in layers):
            text = uri.value.get_secret_value() if isinstance(uri.value, SecretStr) else str(uri.value)
            match = _URI.fullmatch(text)
            if match and match["database"]:
                layers[-1]["mongodb_database"] = Found(unquote(match["database"]), uri.origin)
        return layers

    @model_validator(mode="after")
    def _connection_is_whole(self) -> Self:
        """Refuse half a login, and what would be left unused."""
        message = ""
        if not self.mongodb_uri and (self.mongodb_user is None) != (self.mongodb_password is None):
            message = "Settings 'mongodb_user' (MONGODB_USER) and 'mongodb_password' (MONGODB_PASSWORD) need each other"
        elif not self.mongodb_uri and self.mongodb_ca_location and not self.mongodb_tls:
            message = "Setting 'mongodb_ca_location' needs 'mongodb_tls'"
        elif self.mongodb_min_pool_size > self.mongodb_max_pool_size:
            message = "Setting 'mongodb_min_pool_size' is above 'mongodb_max_pool_size'"
        if message:
            raise ValueError(message)
        return self


class MongodbArguments(TypedDict, total=False):
    """Keyword arguments that set `MongodbSettings`."""

    mongodb_uri: str | SecretStr | None
    mongodb_host: str
    mongodb_port: int
    mongodb_user: str | None
    mongodb_password: str | SecretStr | None
    mongodb_auth_source: str
    mongodb_database: str
    mongodb_direct_connection: bool | None
    mongodb_tls: bool
    mongodb_ca_location: str | os.PathLike[str] | None
    mongodb_min_pool_size: int
    mongodb_max_pool_size: int
