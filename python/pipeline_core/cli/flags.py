"""Command-line flags made from the fields of a pipeline's `Config`: each setting has one, and none is said twice."""

import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from pipeline_core.fields import Metavar, Short
from pipeline_core.layers import Env
from pipeline_core.settings import PipelineSettings

_PANELS = {
    "flink": "Flink",
    "kafka": "Kafka",
    "metrics": "Metrics and health",
    "mongodb": "MongoDB",
    "mysql": "MySQL",
    "source": "Source database",
    "store": "Object stores",
    "target": "Target database",
    "walmart": "Walmart's API",
}
_SINGULAR = {
    "column_types": "column-type",
    "columns": "column",
    "flink_properties": "flink-property",
    "jdbc_properties": "jdbc-property",
    "properties": "property",
}
_METAVARS = {bool: "", float: "N", int: "N", str: "TEXT"}
_MIB = 2**20


def add(signature: Iterable[inspect.Parameter], function: Callable[..., None]) -> Callable[..., None]:
    """Give a function of `**given` the parameters that typer shall see."""
    parameters = list(signature)
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def of(config: type[PipelineSettings], arguments: tuple[str, ...] = ()) -> Iterator[inspect.Parameter]:
    """One parameter for each setting that is no secret; what is not given is None.

    Args:
        config: The pipeline's settings.
        arguments: Names of the fields that are positional.
    """
    hints = get_type_hints(config, include_extras=True)
    tables = ["", *config.blocks]
    for name in sorted(
        config.model_fields, key=lambda name: (tables.index(_block(config, name)), name not in arguments)
    ):
        base, marks = _unwrapped(hints[name])
        if base is not SecretStr:
            annotation = _annotation(config, name, base, marks, is_argument=name in arguments)
            yield parameter(name, annotation, None)


def parameter(name: str, annotation: object, default: object) -> inspect.Parameter:
    """A parameter for typer."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _annotation(
    config: type[PipelineSettings],
    name: str,
    base: Any,  # noqa: ANN401 - types have no type
    marks: list[object],
    *,
    is_argument: bool,
) -> object:
    field = config.model_fields[name]
    metavar = _metavar(marks)
    is_many = get_origin(base) in {list, dict}
    kind = list[str] if is_many else base if base is bool or get_origin(base) is Literal or not metavar else str
    metavar = _METAVARS.get(base) if metavar is None else metavar
    text = f"{field.description} {_fine_print(field, marks)}".strip()
    if is_argument:
        return Annotated[kind | None, typer.Argument(help=text, metavar=metavar)]
    flag = f"--{_SINGULAR.get(name, name).replace('_', '-')}"
    names = f"{flag}/--no-{flag[2:]}" if base is bool else flag
    panel = _PANELS.get(_block(config, name))
    shorts = [mark.text for mark in marks if isinstance(mark, Short)]
    option = typer.Option(names, *shorts, help=text, metavar=metavar, rich_help_panel=panel, case_sensitive=False)
    return Annotated[kind | None, option]


def _fine_print(field: FieldInfo, marks: list[object]) -> str:
    """The default and the environment's names for a setting, dimmed."""
    parts: list[str] = ["required"] if field.is_required() else []
    if not field.is_required() and field.default not in (None, "", [], {}) and not isinstance(field.default, bool):
        parts.append(f"default {with_unit(field.default, marks)}")
    names = [mark.name for mark in marks if isinstance(mark, Env)]
    parts += [f"env {', '.join(names)}"] if names else []
    return f"[dim]({'; '.join(parts)})[/dim]" if parts else ""


def with_unit(value: object, marks: Iterable[object]) -> object:
    """A number as the flag of its kind takes it: `128MiB`, `60s`; anything else unchanged."""
    match value, _metavar(marks):
        case int(), "SIZE" if value % _MIB == 0:
            return f"{value // _MIB}MiB"
        case int() | float(), "DURATION":
            return f"{value:g}s"
        case _:
            return value


def _metavar(marks: Iterable[object]) -> str | None:
    return next((mark.text for mark in marks if isinstance(mark, Metavar)), None)


def _block(config: type[PipelineSettings], name: str) -> str:
    """The name of the shared block that a field belongs to, or nothing."""
    return next((table for table, block in config.blocks.items() if name in block.model_fields), "")


def _unwrapped(hint: Any) -> tuple[Any, list[object]]:  # noqa: ANN401 - types have no type
    """The plain type below `Annotated` and `| None`, and the marks met on the way."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        base, more = _unwrapped(inner)
        return base, [*marks, *more]
    if get_origin(hint) in {Union, types.UnionType}:
        return _unwrapped(next(arg for arg in get_args(hint) if arg is not type(None)))
    return hint, []
