"""Where settings come from: file < .env < environment < arguments, each a layer that knows the origin of its values."""

import difflib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

PREFIX = "PIPELINE_CORE_"

# Of our build and our tests: no settings, and no mistakes.
_OURS = {f"{PREFIX}CACHE", f"{PREFIX}FAULT"}
_OF_TESTS = f"{PREFIX}TEST_"

_log = logging.getLogger(__name__)

_warned: set[str] = set()


@dataclass(frozen=True)
class Env:
    """Marks a field with an environment variable that sets it, besides `PIPELINE_CORE_<FIELD>`.

    Attributes:
        name: The variable's name.
        form: What the field gets, with `{}` for the variable's text.
        is_fallback: Whether it counts only when nothing else sets the field, not even a file.
    """

    name: str
    form: str = "{}"
    is_fallback: bool = False


@dataclass(frozen=True)
class ArgumentOnly:
    """Marks a field that neither the environment nor `.env` sets."""


class Found(NamedTuple):
    """A raw value and where it was found, in words."""

    value: Any
    origin: str


class Layer(PydanticBaseSettingsSource):
    """One place that settings come from, as a source of pydantic-settings."""

    def __init__(self, settings: type[BaseSettings], found: Mapping[str, Found]) -> None:
        super().__init__(settings)
        self.found = found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one field; part of pydantic-settings' contract."""
        del field
        value = self.found[field_name].value if field_name in self.found else None
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values by field."""
        return {name: found.value for name, found in self.found.items()}


def variables(name: str, field: FieldInfo) -> list[Env]:
    """The environment variables that set a field, the strongest first."""
    if any(isinstance(mark, ArgumentOnly) for mark in field.metadata):
        return []
    return [Env(PREFIX + name.upper()), *(mark for mark in field.metadata if isinstance(mark, Env))]


def environment(
    settings: type[BaseSettings], environ: Mapping[str, str | None], label: str, *, is_fallback: bool = False
) -> dict[str, Found]:
    """The fields that environment variables set. An empty variable counts as not set."""
    found: dict[str, Found] = {}
    for name, field in settings.model_fields.items():
        for variable in variables(name, field):
            text = environ.get(variable.name)
            if text and variable.is_fallback == is_fallback:
                found[name] = Found(variable.form.format(text), f"{label} {variable.name}")
                break
    return found


def warn_of_unknown(environ: Iterable[str], own: Iterable[str], known: Callable[[], Iterable[str]]) -> None:
    """Log, once, each `PIPELINE_CORE_` variable that sets nothing, with the one that may have been meant.

    Args:
        environ: Names of variables.
        own: Names of those that set something here.
        known: Gives the names of those that set something anywhere; asked only if there are others.
    """
    doubtful = {name for name in environ if name.startswith(PREFIX) and not name.startswith(_OF_TESTS)}
    doubtful -= {*own, *_OURS, *_warned}
    if not doubtful:
        return
    names = {name for name in known() if name.startswith(PREFIX)}
    for variable in sorted(doubtful - names):
        _warned.add(variable)
        advice = closest(variable, names, prefix=PREFIX)
        _log.warning("Environment variable %s is unknown and sets nothing%s", variable, advice)


def closest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean 'x'?` for the known name nearest to a mistyped one, or nothing.

    Args:
        name: The mistyped one.
        known: Those that there are.
        prefix: What all begin with; left out of the comparison, for with it any two names are close.
    """
    endings = sorted(other.removeprefix(prefix) for other in known)
    matches = difflib.get_close_matches(name.removeprefix(prefix), endings, n=1, cutoff=0.75)
    return f"; did you mean {prefix + matches[0]!r}?" if matches else ""
