"""Items of one MySQL or MariaDB database into another, as a task says; it may be repeated, and killed at any time.

```python
from pipeline_core import mysql_to_mysql

here = {"source_url": "mysql://root:password@localhost:3306", "target_url": "mysql://root:password@other:3306"}
mysql_to_mysql.init_db(**here)
report = mysql_to_mysql.run(**here, dry_run=True)
```
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Unpack

from pipeline_core import _core, engine
from pipeline_core.config import MysqlSourceSettings, MysqlTargetSettings, SourceArguments, TargetArguments
from pipeline_core.fields import Metavar, Seconds
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.migration import Task, TaskDocument, tasks_from_text
from pipeline_core.progress import OnProgress
from pipeline_core.report import DatabaseReport, Report

_WITH_DATABASE = re.compile(r"(mysql://(?:.*@)?[^@/?#]+)/([^/?#]+)(.*)", re.DOTALL)


class Config(MysqlSourceSettings, MysqlTargetSettings, MetricsSettings):
    """What `mysql_to_mysql` does, and with what."""

    pipeline: ClassVar[str] = "mysql_to_mysql"

    task: Annotated[str, Field(min_length=1, description="What to migrate: nfsc_task, or one of tasks.")] = "nfsc_task"
    tasks: Annotated[
        dict[str, Task],
        Metavar("JSON"),
        BeforeValidator(tasks_from_text),
        Field(
            description="More tasks by their name, as a JSON object; longer ones stand in tables tasks.<name> of a"
            " settings file."
        ),
    ] = {}
    chunk_rows: Annotated[int, Field(gt=0, description="Items of one transaction.")] = 500
    on_rejected: Annotated[
        Literal["leave-out", "stop"],
        Field(description="What a row does that the target refuses: it is left out and reported, or ends the run."),
    ] = "leave-out"
    update: Annotated[
        bool, Field(description="Write items again that have changed in the source; otherwise only new ones.")
    ] = True
    dry_run: Annotated[bool, Field(description="Try all and change nothing: each transaction is rolled back.")] = False
    max_retries: Annotated[
        int, Field(ge=0, description="How often a transaction is tried again after a deadlock or a lock timeout.")
    ] = 10
    statement_timeout_seconds: Annotated[Seconds, Field(description="How long one statement may take.")] = 60
    stats_interval_seconds: Annotated[Seconds, Field(description="How often a line of statistics is logged.")] = 10

    @model_validator(mode="before")
    @classmethod
    def _a_url_may_name_the_database(cls, data: object) -> object:
        """Take the database out of a URL, unless it is set by itself."""
        values = dict(cast("Mapping[str, Any]", data)) if isinstance(data, Mapping) else {}
        for side in ("source", "target"):
            found = _WITH_DATABASE.fullmatch(str(values.get(f"{side}_url")))
            if found:
                values[f"{side}_url"] = found[1] + found[3]
                values.setdefault(f"{side}_database", found[2])
        return values


class Arguments(SourceArguments, TargetArguments, MetricsArguments, total=False):
    """Keyword arguments of `run`, `arun` and `init_db`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    task: str
    tasks: Mapping[str, Task | TaskDocument]
    chunk_rows: int
    on_rejected: Literal["leave-out", "stop"]
    update: bool
    dry_run: bool
    max_retries: int
    statement_timeout_seconds: float | str
    stats_interval_seconds: float | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Migrate the items of a task, whatever is killed on the way; what is there already is not written again.

    Each chunk of items is one transaction of the target, with the rows they refer to and those that belong to them.
    Items that are deleted in the source are left out, and stay in the target where they are there. The children of an
    item are made equal to the source's: those that it no longer has are removed. Rows that items refer to are
    inserted where they are missing, and never changed. Ctrl-C, SIGTERM and `stop` end the run after a whole chunk.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `source_host="old", target_host="new"`.

    Returns:
        `rows_read` and `rows_written` count items; `rows_rejected` counts rows of all tables. In `details` `tables`,
        the rows of each table of the target that were read, written, unchanged, skipped, removed and rejected, and
        `rejected`, the first twenty rows that were refused, with table, key and reason.

    Raises:
        SettingsError: A setting is missing or wrong, or the tables do not fit the task; nothing was written.
        NotFoundError: There is no such database or table.
        AccessDeniedError: A server refused the credentials or the permission.
        RejectedError: A row was refused, and `on_rejected` is `stop`.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the chunk.
        SystemExit: SIGTERM (143), after the chunk.

    Example:
        >>> from pipeline_core import mysql_to_mysql
        >>> report = mysql_to_mysql.run(source_host="old", target_host="new")  # doctest: +SKIP
        >>> report.details["tables"]["nfsc_info_list"]["written"]  # doctest: +SKIP
        1250
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.mysql_to_mysql, config.document(), stop=stop, on_progress=on_progress))


async def arun(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """`run` without blocking the event loop. Cancelling it ends the chunk first, then raises CancelledError.

    `on_progress` is called on the event loop's thread.

    Example:
        >>> report = await mysql_to_mysql.arun(source_host="old", target_host="new")  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.mysql_to_mysql, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)


def init_db(
    config: Config | None = None, *, stop: _core.Stop | None = None, **settings: Unpack[Arguments]
) -> DatabaseReport:
    """Create the target's database and tables of `nfsc_task` that are missing; a second call changes nothing.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name, e.g. `target_host="db", target_database="nfsc"`.

    Returns:
        What was created, and the statements that did it.

    Raises:
        SettingsError: A setting is wrong; nothing was changed.
        AccessDeniedError: The database refused the credentials or the permission.
        PipelineError: Anything else; see `retryable` and `hint`.

    Example:
        >>> from pipeline_core import mysql_to_mysql
        >>> mysql_to_mysql.init_db(target_host="db").created  # doctest: +SKIP
        ['nfsc', 'nfsc.nfsc_resource_source', ...]
    """
    config = engine.configured(Config, config, settings)
    return DatabaseReport.from_json(engine.run(_core.init_mysql_to_mysql, config.document(), stop=stop))
