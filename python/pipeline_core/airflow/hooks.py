"""The settings of a pipeline out of Airflow connections."""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook, mask_secret

from pipeline_core.airflow.connections import Connection, KeyFile, Settings, settings_of
from pipeline_core.exceptions import SettingsError
from pipeline_core.settings import PipelineSettings, is_secret, sounds_secret


class PipelineHook(BaseHook):
    """Makes the settings of a pipeline out of connections and of what a task says itself, which wins.

    Args:
        pipeline: Whose settings, such as `kafka_to_parquet`; `verify` too.
        conn_ids: Ids of connections by what they reach: `kafka`, `s3`, `gcs`, `obs`, `walmart`, `mysql`, `source`,
            `target`, `mongodb`. What has none, or an empty one, is set by the environment as anywhere else.

    Example:
        >>> hook = PipelineHook("kafka_to_parquet", {"kafka": "kafka_default"})
        >>> with hook.configured(to="./lake", until="end") as config:  # doctest: +SKIP
        ...     kafka_to_parquet.run(config)
    """

    hook_name = "pipeline_core"

    def __init__(self, pipeline: str, conn_ids: Mapping[str, str | None] | None = None) -> None:
        super().__init__()
        self.pipeline = pipeline.replace("-", "_")
        self.conn_ids = {role: conn_id for role, conn_id in (conn_ids or {}).items() if conn_id}

    def get_conn(self) -> dict[str, Any]:
        """What the connections set, secrets in clear and masked in the logs; a key file's text is a `KeyFile`.

        Raises:
            SettingsError: A connection does not fit the pipeline.
        """
        return self._settings({role: self.get_connection(conn_id) for role, conn_id in self.conn_ids.items()})

    async def aget_conn(self) -> dict[str, Any]:
        """`get_conn` for an event loop, as a trigger has one."""
        found = {role: await self.aget_connection(conn_id) for role, conn_id in self.conn_ids.items()}
        return self._settings(found)

    @contextmanager
    def configured(self, **settings: Any) -> Generator[PipelineSettings]:  # noqa: ANN401 - checked by the Config
        """The pipeline's `Config`; while it is in use, keys that a connection holds are in files of their own.

        Args:
            **settings: Fields of the `Config` by name; they win over the connections. One that is None is left to
                them and to the environment.

        Raises:
            SettingsError: A setting or a connection is missing or wrong.
        """
        with self.configured_by(self.get_conn(), settings) as config:
            yield config

    @contextmanager
    def configured_by(self, found: Mapping[str, Any], settings: Mapping[str, Any]) -> Generator[PipelineSettings]:
        """`configured`, with what `get_conn` or `aget_conn` has found."""
        given = {name: value for name, value in settings.items() if value is not None}
        merged = {**found, **given}
        if isinstance(found.get("properties"), dict) and isinstance(given.get("properties"), dict):
            merged["properties"] = {**found["properties"], **given["properties"]}
        with TemporaryDirectory(prefix="pipeline_core-") as folder:
            for name, value in merged.items():
                if isinstance(value, KeyFile):
                    merged[name] = _written(Path(folder) / f"{name}.json", value.text)
            yield self.config(**merged)

    @property
    def config(self) -> type[PipelineSettings]:
        """The class of the settings.

        Raises:
            SettingsError: There is no such pipeline.
        """
        name = f"pipeline_core.{self.pipeline}"
        module = import_module(name) if self.pipeline.isidentifier() and find_spec(name) else None
        config = getattr(module, "Config", None)
        if config is None:
            message = f"There is no pipeline {self.pipeline!r}"
            raise SettingsError(message, "`pipeline-core --help` has their names.")
        return cast("type[PipelineSettings]", config)

    def _settings(self, connections: Mapping[str, Any]) -> Settings:
        config = self.config
        found: Settings = {}
        for role, connection in connections.items():
            found |= settings_of(config, role, cast("Connection", connection))
        for secret in _secrets(config, found):
            mask_secret(secret)
        return found


def _secrets(config: type[PipelineSettings], found: Settings) -> list[str]:
    """What must not stand in a log."""
    secrets: list[str] = []
    for name, value in found.items():
        if isinstance(value, KeyFile):
            secrets += [value.text, *_private_key(value.text)]
        elif isinstance(value, dict):
            properties = cast("dict[str, object]", value)
            secrets += [str(text) for key, text in properties.items() if sounds_secret(key)]
        elif is_secret(config, name):
            password = urlsplit(str(value)).password if "://" in str(value) else None
            secrets += [str(value), *([password] if password else [])]
    return secrets


def _private_key(text: str) -> list[str]:
    try:
        key = cast("object", json.loads(text))
    except ValueError:
        return []
    secret = cast("dict[str, object]", key).get("private_key") if isinstance(key, dict) else None
    return [str(secret)] if secret else []


def _written(path: Path, text: str) -> str:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return str(path)
