"""The base of every pipeline's `Config`: merges the layers, explains what is wrong, writes the engine's document."""

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast, get_args

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline_core import settings_file
from pipeline_core.exceptions import SettingsError
from pipeline_core.layers import PREFIX, Found, Layer, closest, environment, variables, warn_of_unknown

CONFIG_FILE = "config_file"
DOTENV = Path(".env")
_FILE_VARIABLE = PREFIX + CONFIG_FILE.upper()
_BLOCK_OF = {settings_file.ACCOUNTS: "walmart"}
_SHOWN = 60
_USERINFO = re.compile(r"(//)[^/@\s]+@")
_ADDRESS = re.compile(r"(\w+://)(.*@)?(\[[\da-fA-F:]+\]|[\w.-]+)?(:\d+)?(/[\w$]*)?", re.ASCII | re.DOTALL)
_HIDDEN = "********"

_log = logging.getLogger(__name__)

_left_out: set[tuple[str, str]] = set()


class Registry(Mapping[str, "type[PipelineSettings]"]):
    """Every pipeline's settings by its name; who looks at it gets those, too, that were not imported yet."""

    def __init__(self) -> None:
        self._imported: dict[str, type[PipelineSettings]] = {}

    def add(self, settings: type["PipelineSettings"]) -> None:
        """Take in the settings of one more pipeline."""
        self._imported[settings.pipeline] = settings

    def __getitem__(self, pipeline: str) -> type["PipelineSettings"]:
        return self._all()[pipeline]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, type["PipelineSettings"]]:
        package = import_module("pipeline_core")
        for name in cast("list[str]", package.__all__):
            getattr(package, name)
        return self._imported


class PipelineSettings(BaseSettings):
    """Settings from a file, `.env`, the environment and arguments, the later the stronger.

    `Config(topic="orders", config_file="pipeline.toml")` merges and checks at once and is immutable after.
    Secrets are masked in its `repr`.

    Raises:
        SettingsError: A setting is missing, unknown or wrong; one line for each.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, env_file=None)

    pipeline: ClassVar[str] = ""
    """The pipeline's name; empty in a block of shared settings."""

    block: ClassVar[str] = ""
    """The name of a block of shared settings, set in the class that holds them."""

    block_prefix: ClassVar[str] = ""
    """What the names of a block's fields begin with, and those in the engine's document do not."""

    blocks: ClassVar[dict[str, type["PipelineSettings"]]] = {}
    """Shared settings by the name of their table in a file and in the engine's document."""

    registry: ClassVar[Registry] = Registry()
    """Every pipeline's settings by its name."""

    usual_file: ClassVar[Path | None] = None
    """The settings file that is read when none is named and it exists."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - pydantic's
        super().__pydantic_init_subclass__(**kwargs)
        if "block" in vars(cls):
            cls.blocks[cls.block] = cls
        if cls.pipeline:
            cls.registry.add(cls)

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - checked by pydantic
        if path := self._unnamed_file(settings):
            _log.info("Settings file %s is read, for none is named", path)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise explained(type(self), error, self.found(**settings)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Our own layers in place of pydantic-settings' ones, the strongest first."""
        del env_settings, dotenv_settings, file_secret_settings
        return tuple(Layer(settings_cls, found) for found in cls.layers(init_settings()))

    @classmethod
    def layers(cls, arguments: dict[str, Any]) -> list[dict[str, Found]]:
        """What each place sets, the strongest first.

        Raises:
            SettingsError: A name is unknown, or the file could not be read.
        """
        given = {name: Found(value, "argument") for name, value in arguments.items() if name != CONFIG_FILE}
        cls._refuse_unknown([(name, "") for name in given if name not in cls.model_fields])
        dotenv = dotenv_values(DOTENV) if DOTENV.is_file() else {}
        warn_of_unknown({*os.environ, *dotenv}, _variables(cls), lambda: _variables(*cls.registry.values()))
        path = _named_file(arguments) or cls._unnamed_file(arguments)
        return [
            given,
            environment(cls, os.environ, "environment"),
            environment(cls, dotenv, ".env"),
            cls._from_file(Path(path).expanduser()) if path else {},
            environment(cls, os.environ, "environment", is_fallback=True),
            environment(cls, dotenv, ".env", is_fallback=True),
        ]

    @classmethod
    def _unnamed_file(cls, arguments: dict[str, Any]) -> Path | None:
        """The usual file, if no other is named and it exists."""
        usual = cls.usual_file
        return usual if usual and not _named_file(arguments) and usual.is_file() else None

    @classmethod
    def found(cls, **arguments: Any) -> dict[str, Found]:  # noqa: ANN401 - raw values
        """The raw value that wins for each field that is set anywhere, and its origin."""
        merged: dict[str, Found] = {}
        for layer in reversed(cls.layers(arguments)):
            merged.update(layer)
        return merged

    def document(self) -> str:
        """The JSON document for the engine. It holds the secrets in clear: give it to nothing else."""
        values = {name: _revealed(getattr(self, name)) for name in type(self).model_fields}
        for table, block in self.blocks.items():
            # A field of the block's own name is the whole block.
            if isinstance(self, block) and table not in block.model_fields:
                own = {name: values.pop(name) for name in block.model_fields}
                values[table] = {name.removeprefix(block.block_prefix): value for name, value in own.items()}
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def _from_file(cls, path: Path) -> dict[str, Found]:
        found: dict[str, Found] = {}
        unknown: list[tuple[str, str]] = []
        pipelines, tables = frozenset(cls.registry), frozenset(cls.blocks)
        data = settings_file.read(path)
        for name, value, within in settings_file.entries(data, cls.pipeline, tables, pipelines):
            place = f"{path.name} [{'.'.join(within)}]" if within else path.name
            block = cls.blocks.get(_BLOCK_OF.get(within[-1], within[-1])) if within else None
            if name not in (block or cls).model_fields:
                unknown.append((name, f" in {place}"))
            elif name in cls.model_fields:
                found[name] = Found(value, place)
        if settings_file.is_of_the_original(data) or path == cls.usual_file:
            _leave_out(unknown)
        else:
            cls._refuse_unknown(unknown)
        return found

    @classmethod
    def _refuse_unknown(cls, names: list[tuple[str, str]]) -> None:
        if not names:
            return
        lines: list[str] = []
        for name, place in names:
            owners = [other for other, settings in cls.registry.items() if name in settings.model_fields]
            if owners and place:
                advice = f"; it belongs to {owners[0]}: move it into a table [{owners[0]}]"
            elif owners:
                advice = f"; it belongs to {' and '.join(owners)}"
            else:
                advice = closest(name, cls.model_fields)
            lines.append(f"Unknown setting {name!r}{place}{advice}")
        raise SettingsError("\n".join(lines), _see_all(cls))


def _variables(*classes: type[PipelineSettings]) -> set[str]:
    """The environment variables that set something of these."""
    fields = (item for settings in classes for item in settings.model_fields.items())
    return {_FILE_VARIABLE, *(variable.name for name, field in fields for variable in variables(name, field))}


def explained(settings: type[PipelineSettings], error: ValidationError, found: dict[str, Found]) -> SettingsError:
    """One line for each wrong setting: its name, where it was set, what it must be. Never a secret."""
    lines = [_line(settings, detail, found) for detail in error.errors(include_url=False)]
    missing = [detail["loc"] for detail in error.errors(include_url=False) if detail["type"] == "missing"]
    if len(lines) == len(missing) == len(missing[0] if missing else ()) == 1:
        return SettingsError(lines[0], _how_to_set(settings, str(missing[0][0])))
    return SettingsError("\n".join(lines), _see_all(settings))


def shown(settings: type[PipelineSettings], name: str, value: object) -> str:
    """A value for people: secrets masked, long text cut."""
    if value is None:
        return ""
    if is_secret(settings, name):
        return _HIDDEN
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return ", ".join(f"{key}={_HIDDEN if sounds_secret(key) else masked(entry)}" for key, entry in pairs)
    if isinstance(value, (list, tuple)):
        return ", ".join(masked(entry) for entry in cast("list[object]", value))
    return masked(value) if settings.model_fields[name].repr else without_login(str(value))


def masked(value: object) -> str:
    """Text without the user and password that a URL may carry."""
    if isinstance(value, bool):
        return str(value).lower()
    return _USERINFO.sub(r"\1***@", str(value))


def without_login(url: str) -> str:
    """A URL without its user and password, whatever they hold; nothing of a text that may hold them elsewhere."""
    match = _ADDRESS.fullmatch(url)
    if not match:
        return _HIDDEN
    scheme, login, host, port, path = match.groups(default="")
    return f"{scheme}{'***@' if login else ''}{host}{port}{path}"


def is_secret(settings: type[PipelineSettings], name: str) -> bool:
    """Whether a field holds a secret."""
    return "SecretStr" in str(settings.model_fields[name].annotation)


def sounds_secret(property_name: str) -> bool:
    """Whether the name of a librdkafka property says that its value is a secret."""
    return any(
        word in property_name.lower() for word in ("password", "secret", "token", "jaas", ".pem", "oauthbearer.config")
    )


def _named_file(arguments: dict[str, Any]) -> str | os.PathLike[str] | None:
    return arguments.get(CONFIG_FILE) or os.environ.get(_FILE_VARIABLE)


def _leave_out(names: list[tuple[str, str]]) -> None:
    """Say once of each that it sets nothing: the file is another program's, too."""
    for name, place in names:
        if (name, place) not in _left_out:
            _left_out.add((name, place))
            _log.warning("%r%s is no setting of this pipeline and sets nothing", name, place)


def _line(settings: type[PipelineSettings], detail: ErrorDetails, found: dict[str, Found]) -> str:
    reason = detail["msg"].removeprefix("Value error, ").replace("Input should be", "It must be", 1)
    reason = reason.partition(", unable to parse")[0]
    if detail["type"] == "too_short":
        reason = "Give at least one"
    if not detail["loc"]:
        return reason
    name = str(detail["loc"][0])
    path = name + _within(settings, name, detail["loc"][1:])
    origin = found[name].origin if name in found else "default"
    place = "" if origin == "argument" else f" ({origin})"
    if detail["type"] == "missing":
        return f"Setting {path!r} is missing" if path == name else f"Setting {path!r}{place} is missing"
    value = detail["input"]
    is_hidden = is_secret(settings, name) or not settings.model_fields[name].repr
    if is_hidden or isinstance(value, (BaseModel, dict, list, type)):
        return f"Setting {path!r}{place}: {reason}"
    text = masked(value)
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"Setting {path!r}{place}: {reason}, not {cut!r}"


def _within(settings: type[PipelineSettings], name: str, steps: tuple[int | str, ...]) -> str:
    """Where in a setting that has parts: `.columns[0].type`; nothing in another."""
    annotation = settings.model_fields[name].annotation
    kinds: list[object] = [annotation, *get_args(annotation)]
    has_parts = any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds)
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps) if has_parts else ""


def _how_to_set(settings: type[PipelineSettings], name: str) -> str:
    names = " or ".join(variable.name for variable in variables(name, settings.model_fields[name]))
    environ = f", in the environment ({names})" if names else ""
    return f"Set {name!r} as an argument{environ} or in a settings file."


def _see_all(settings: type[PipelineSettings]) -> str:
    command = f"pipeline-core config show {settings.pipeline.replace('_', '-')}".rstrip()
    return f"`{command}` lists every setting and where it comes from."


def _revealed(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {name: _revealed(entry) for name, entry in cast("dict[str, object]", value).items()}
    return value.get_secret_value() if isinstance(value, SecretStr) else value
