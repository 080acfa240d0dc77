"""Are Parquet files what their rules say? Reads every row, with the checks of pandera.

It needs `pip install 'pipeline-core[validate]'`; `import pipeline_core` loads none of that.
"""

import os
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field
from typing_extensions import Unpack

from pipeline_core import _core, engine, termination
from pipeline_core.exceptions import NotFoundError, SettingsError
from pipeline_core.fields import ColumnType, ColumnTypes, Metavar, Names, Place
from pipeline_core.layers import Env
from pipeline_core.progress import OnProgress
from pipeline_core.verify import Arguments as VerifyArguments
from pipeline_core.verify import Config as VerifyConfig
from pipeline_core.verify import verify

if TYPE_CHECKING:
    import polars as pl

    from pipeline_core.validation.verdict import ValidationReport

_EXTRA = ("obstore", "pandera", "polars")


class Config(VerifyConfig):
    """What `validate` looks at, and by which rules."""

    pipeline: ClassVar[str] = "validate"

    to: Annotated[
        Place,
        Field(
            min_length=1, description="Where the files are: a folder, a file, or a gs://, s3://, obs:// or file:// URL."
        ),
        Env("GCS_BUCKET_NAME", form="gs://{}", is_fallback=True),
    ]
    prefix: Annotated[str, Field(description="Files below that place whose path begins so only.")] = ""
    with_topic: Annotated[bool, Field(description="Compare with the topic as it is now, too, as verify does.")] = False
    rules: Annotated[
        Names,
        Field(
            description="Rule sets beside any: supply_chain, walmart, or FILE.py:NAME of a pandera schema. Repeatable."
        ),
    ] = []
    unique: Annotated[Names, Field(description="Columns that are unique together, over all files.")] = []
    not_null: Annotated[Names, Field(description="Columns that must have a value.")] = []
    column_types: Annotated[ColumnTypes, Field(description="What a column's values must be, text or not.")] = {}
    same_columns: Annotated[bool, Field(description="All files of a topic must have the same columns.")] = True
    html: Annotated[
        Place | None, Metavar("FILE"), Field(description="Write the report as a page to this file, too.")
    ] = None


class Arguments(VerifyArguments, total=False):
    """Keyword arguments of `validate`: the fields of `Config`, and a settings file."""

    rules: str | Sequence[str]
    unique: str | Sequence[str]
    not_null: str | Sequence[str]
    column_types: dict[str, ColumnType]
    same_columns: bool
    html: str | os.PathLike[str] | None


def validate(
    url: str | os.PathLike[str] | None = None,
    *,
    schema: object = None,
    config: Config | None = None,
    stop: _core.Stop | None = None,
    on_progress: OnProgress | None = None,
    **settings: Unpack[Arguments],
) -> "ValidationReport":
    """Read the Parquet files below a place and check every row.

    Memory holds a batch of rows, and the keys of what must be unique.

    Args:
        url: The folder, file or URL; without it, from the other settings.
        schema: A `pandera.polars` schema or model of your own, beside `rules`.
        config: All settings at once, instead of `url` and `settings`.
        stop: Ends the comparison with the topic early.
        on_progress: Called with the counts after each file.
        **settings: Fields of `Config` by name, e.g. `rules="supply_chain"`.

    Returns:
        Every check, and how many rows broke it with an example; `ok` says whether none was broken. What is wrong
        with the data never raises.

    Raises:
        SettingsError: A setting is missing or wrong, or the extra `validate` is not installed.
        NotFoundError: There is no such place.
        PipelineError: The place or the topic could not be read.

    Example:
        >>> from pipeline_core import validate
        >>> validate("s3://my-bucket/lake", rules="supply_chain").ok  # doctest: +SKIP
        True
    """
    arguments = dict(settings) if url is None else {**settings, "to": url}
    config = engine.configured(Config, config, arguments)
    _need_extra("validate")
    with termination.raising():
        report = _report(config, schema, stop, on_progress)
    if config.html:
        page: Any = import_module("pipeline_core.validation.page")
        Path(config.html).write_text(page.of(report), encoding="utf-8")
    return report


def read_parquet(
    url: str | os.PathLike[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    config: Config | None = None,
    **settings: Unpack[Arguments],
) -> "pl.DataFrame":
    """Read the Parquet files below a place into one frame, with the columns that their folders name.

    Args:
        url: The folder, file or URL; without it, from the other settings.
        columns: The columns that are wanted; all without it.
        config: All settings at once, instead of `url` and `settings`.
        **settings: Fields of `Config` by name: `prefix`, and how to reach the store.

    Returns:
        All rows, in the order of the files' names; a column that a file does not have is null there.

    Raises:
        SettingsError: A setting is missing or wrong, or the extra `validate` is not installed.
        NotFoundError: There is no such place, or no file in it.
        PipelineError: The place could not be read.
    """
    arguments = dict(settings) if url is None else {**settings, "to": url}
    config = engine.configured(Config, config, arguments)
    _need_extra("read_parquet")
    place = _part("place").Place(config.to, config)
    found = place.files(config.prefix)
    if not found:
        message = f"There is no Parquet file in {config.to}"
        raise NotFoundError(message, "Look at the URL and the prefix.")
    with termination.raising():
        return _part("frames").joined(place.read(found), columns)


def _need_extra(what: str) -> None:
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        message = f"{what} needs {' and '.join(missing)}"
        raise SettingsError(message, "pip install 'pipeline-core[validate]'")


def _report(
    config: Config, schema: object, stop: _core.Stop | None, on_progress: OnProgress | None
) -> "ValidationReport":
    # What they import belongs to the extra.
    place_, rules, sweep, tally_, verdict = (_part(name) for name in ("place", "rules", "sweep", "tally", "verdict"))
    started_at, began = datetime.now(timezone.utc), time.monotonic()
    sets = rules.named(config.rules)
    sets += [rules.of_schema("schema", schema)] if schema is not None else []
    of_settings = rules.of_settings(config.unique, config.not_null, config.column_types)
    sets += [of_settings] if of_settings else []
    place = place_.Place(config.to, config)
    found = place.files(config.prefix)
    tally = tally_.Tally()
    looked = sweep.Sweep(sets, tally, has_same_columns=config.same_columns)
    columns = looked.run(place, found, on_progress)
    checks = tally.checks()
    topic = None
    if config.with_topic:
        of_verify = {name: getattr(config, name) for name in VerifyConfig.model_fields}
        topic = verify(config=VerifyConfig(**of_verify), stop=stop)
    return verdict.ValidationReport(
        url=config.to,
        rules=[rules.ANY, *(one.name for one in sets)],
        ok=not any(check.failed for check in checks) and (topic is None or topic.ok),
        files=len(found),
        rows=looked.rows,
        bytes=sum(file.size for file in found),
        started_at=started_at,
        seconds=time.monotonic() - began,
        checks=checks,
        columns=columns,
        topic=topic,
    )


def _part(name: str) -> Any:  # noqa: ANN401 - a module
    return import_module(f"pipeline_core.validation.{name}")
