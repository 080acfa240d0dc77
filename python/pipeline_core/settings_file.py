"""Settings in a TOML or YAML file: top-level keys, `[kafka]`, `[store]` and such tables, and one table per pipeline.

The Walmart original's `config/config.yml` is read as it is: its table `mysql` has shorter names, and its table
`walmart_token` holds accounts. The tables `metrics`, `mongodb`, `source` and `target` have shorter names, too.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from pipeline_core.exceptions import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


# The original's names in its table `mysql`; ours have the table's name before them.
_OF_MYSQL = frozenset({"host", "port", "user", "password", "charset"})

# The names of these tables need not stand before the names in them.
_SHORT = frozenset({"metrics", "mongodb", "source", "target"})

ACCOUNTS = "walmart_token"
"""The original's table of accounts, each a table with a `token`."""

# Tables that are one setting each.
_WHOLE = frozenset({ACCOUNTS, "mapping"})


class Entry(NamedTuple):
    """One key of a file, with the table it stands in, as the path of table names."""

    name: str
    value: Any
    tables: tuple[str, ...]


def read(path: Path) -> dict[str, Any]:
    """The file's contents as nested dictionaries.

    Raises:
        SettingsError: The file is missing, unreadable or not of its format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"Settings file {path} could not be read: {reason}"
        raise SettingsError(message, "Check the path given with --config or config_file.") from None
    match path.suffix.lower():
        case ".toml":
            return _toml(path, text)
        case ".yaml" | ".yml":
            return _yaml(path, text)
        case other:
            message = f"Settings file {path} has the unknown ending {other!r}"
            raise SettingsError(message, "Name it .toml, .yaml or .yml.")


def entries(
    data: Mapping[str, Any], pipeline: str, tables: frozenset[str], pipelines: frozenset[str]
) -> Iterator[Entry]:
    """The keys that concern one pipeline, the weakest first: its own table overrides the top level.

    Args:
        data: What `read` gave.
        pipeline: Whose keys.
        tables: Names of the shared tables, such as `kafka`.
        pipelines: Names of all pipelines; the others' tables are left out.
    """
    own: Mapping[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict) and name in _WHOLE:
            yield Entry(name, value, (name,))
        elif isinstance(value, dict) and name in tables:
            yield from (Entry(_ours(name, key), entry, (name,)) for key, entry in cast("dict[str, Any]", value).items())
        elif isinstance(value, dict) and name == pipeline:
            own = cast("dict[str, Any]", value)
        elif not isinstance(value, dict) or name not in pipelines:
            yield Entry(name, value, ())
    for entry in entries(own, pipeline, tables, frozenset()) if own else ():
        yield entry._replace(tables=(pipeline, *entry.tables))


def is_of_the_original(data: Mapping[str, Any]) -> bool:
    """Whether a file has the shape of the Walmart original's, which may hold much that no pipeline knows."""
    mysql = cast("object", data.get("mysql"))
    names = cast("dict[str, Any]", mysql).keys() if isinstance(mysql, dict) else set[str]()
    return isinstance(data.get(ACCOUNTS), dict) or bool(_OF_MYSQL & names)


def _ours(table: str, key: str) -> str:
    is_short = key in _OF_MYSQL if table == "mysql" else table in _SHORT and not key.startswith(f"{table}_")
    return f"{table}_{key}" if is_short else key


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"Settings file {path} is not valid TOML: {error}"
        raise SettingsError(message, "Correct the file at that place.") from None


def _yaml(path: Path, text: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - most commands read none

    try:
        data: object = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        place = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        message = f"Settings file {path} is not valid YAML: {error.problem or 'it could not be parsed'}{place}"
        raise SettingsError(message, "Correct the file at that place.") from None
    except yaml.YAMLError:
        message = f"Settings file {path} is not valid YAML"
        raise SettingsError(message, "Remove control characters from the file.") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        message = f"Settings file {path} must hold names and values, not a {type(data).__name__}"
        raise SettingsError(message, "Write one `name: value` per line.")
    return {str(name): value for name, value in cast("dict[object, Any]", data).items()}
