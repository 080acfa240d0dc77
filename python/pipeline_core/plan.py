"""A file of pipelines that run side by side: what each is, its settings, and when it is started again.

```toml
[defaults]
bootstrap_servers = "localhost:9092"

[pipelines.producer]
pipeline = "csv_to_kafka"
files = "orders.csv"

[pipelines.consumer]
pipeline = "kafka_to_parquet"
to = "./lake"
restart = "on-failure"
```
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from pipeline_core import (
    bucket_to_kafka,
    cdc_to_postgres,
    csv_to_kafka,
    kafka_to_parquet,
    mongo_to_kafka,
    mysql_to_mysql,
    obs_worker,
    postgres_to_kafka,
    settings_file,
    walmart_to_kafka,
    walmart_to_mysql,
)
from pipeline_core.exceptions import SettingsError
from pipeline_core.fields import Seconds
from pipeline_core.layers import closest
from pipeline_core.settings import CONFIG_FILE, PipelineSettings

Table = Mapping[str, Any]

PIPELINES: dict[str, type[PipelineSettings]] = {
    module.Config.pipeline: module.Config
    for module in (
        bucket_to_kafka,
        cdc_to_postgres,
        csv_to_kafka,
        kafka_to_parquet,
        mongo_to_kafka,
        mysql_to_mysql,
        obs_worker,
        postgres_to_kafka,
        walmart_to_kafka,
        walmart_to_mysql,
    )
}

_KEYS = ("defaults", "logs_dir", "pipelines")
_NAME = re.compile(r"\w[\w.-]*")


class Restarts(BaseModel):
    """When a pipeline is started again.

    Attributes:
        restart: `never`, `on-failure` (but not for a wrong setting), or `always`: also when it is complete.
        max_restarts: How often at most.
        restart_seconds: Pause before it; doubles with each failure that follows.
        restart_max_seconds: The longest pause; a run that lasted longer begins with the shortest again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    restart: Literal["never", "on-failure", "always"] = "never"
    max_restarts: Annotated[int | None, Field(ge=0)] = None
    restart_seconds: Seconds = 1
    restart_max_seconds: Seconds = 60


@dataclass(frozen=True)
class Job:
    """One of the pipelines.

    Attributes:
        name: What it is called here.
        config: Its settings.
        restarts: When it is started again.
    """

    name: str
    config: PipelineSettings
    restarts: Restarts


@dataclass(frozen=True)
class Plan:
    """Pipelines that run side by side.

    Attributes:
        jobs: Each of them.
        logs_dir: The folder of their logs and reports.
    """

    jobs: tuple[Job, ...]
    logs_dir: Path = Path("logs")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], logs_dir: str | os.PathLike[str] | None = None) -> Self:
        """Read a TOML or YAML file.

        A table `[pipelines.NAME]` is as the flags of a command: it is stronger than the environment. `[defaults]` is as
        a settings file, which is weaker.

        Args:
            path: The file.
            logs_dir: Instead of what it says.

        Raises:
            SettingsError: The file could not be read, or something in it is wrong; one line for each.
        """
        path = Path(path)
        data = settings_file.read(path)
        problems = [
            f"{path.name}: Unknown setting {name!r}{closest(name, _KEYS)}" for name in data if name not in _KEYS
        ]
        tables, defaults, logs = data.get("pipelines"), data.get("defaults", {}), data.get("logs_dir", "logs")
        if not isinstance(tables, dict) or not tables:
            problems.append(f"{path.name}: Setting 'pipelines' names no pipeline")
        if not isinstance(defaults, dict):
            problems.append(f"{path.name}: Setting 'defaults' must be a table")
        if not isinstance(logs, str) or not logs:
            problems.append(f"{path.name}: Setting 'logs_dir' must be the path of a folder")
        jobs: list[Job] = []
        if not problems:
            common = _flat(cast("Table", defaults))
            named = cast("Table", tables)
            jobs = list(_jobs(named, common, path.name, problems))
            problems += _unused(common, named, path.name) if not problems else []
            problems += _same_ports(jobs, path.name)
        if problems:
            raise SettingsError("\n".join(problems), "Write a table [pipelines.NAME] for each, with its `pipeline`.")
        return cls(tuple(jobs), Path(logs_dir or cast("str", logs)))


def _jobs(tables: Table, defaults: Table, file: str, problems: list[str]) -> Iterator[Job]:
    """Those that are right; what is wrong with the others goes to the problems."""
    for name, table in tables.items():
        place = f"{file} [pipelines.{name}]"
        try:
            yield _job(name, table, defaults)
        except SettingsError as error:
            problems += [f"{place}: {line}" for line in error.message.splitlines()]


def _job(name: str, table: object, defaults: Table) -> Job:
    if not isinstance(table, dict):
        message = "It must be a table with the key 'pipeline'"
        raise SettingsError(message)
    if not _NAME.fullmatch(name):
        message = f"The name {name!r} cannot be that of a file: use letters, digits, dots, dashes and underscores"
        raise SettingsError(message)
    own = _flat(cast("Table", table))
    kind = _kind(own.pop("pipeline", None))
    restarts = _restarts({key: own.pop(key, defaults.get(key)) for key in Restarts.model_fields})
    own = {**{key: value for key, value in defaults.items() if key == CONFIG_FILE}, **own}
    found = kind.found(**own)
    weak = {key: value for key, value in defaults.items() if key in kind.model_fields and key not in found}
    return Job(name, kind(**own, **weak), restarts)


def _flat(table: Table) -> dict[str, Any]:
    """The settings of a table and of the shared tables in it, such as `kafka`."""
    tables = frozenset(PipelineSettings.blocks)
    return {entry.name: entry.value for entry in settings_file.entries(table, "", tables, frozenset())}


def _kind(pipeline: object) -> type[PipelineSettings]:
    if pipeline is None:
        message = "Setting 'pipeline' is missing"
        raise SettingsError(message)
    kind = PIPELINES.get(str(pipeline).replace("-", "_"))
    if kind is None:
        message = f"Setting 'pipeline': It must be one of {', '.join(PIPELINES)}, not {pipeline!r}"
        raise SettingsError(message)
    return kind


def _restarts(given: Table) -> Restarts:
    try:
        return Restarts(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        lines = [f"Setting {detail['loc'][0]!r}: {detail['msg']}" for detail in error.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None


def _unused(defaults: Table, tables: Table, file: str) -> list[str]:
    """What none of the pipelines has."""
    known = {CONFIG_FILE, *Restarts.model_fields}
    for table in tables.values():
        known |= _kind(table["pipeline"]).model_fields.keys()
    place = f"{file} [defaults]: Unknown setting"
    return [f"{place} {key!r}{closest(key, known)}; no pipeline of the file has it" for key in defaults.keys() - known]


def _same_ports(jobs: list[Job], file: str) -> list[str]:
    seen: dict[int, str] = {}
    problems: list[str] = []
    for job in jobs:
        port: int | None = getattr(job.config, "metrics_port", None)
        if port in seen:
            place = f"{file} [pipelines.{job.name}]"
            problems.append(f"{place}: Setting 'metrics_port' is {port} for {seen[port]!r}, too: each needs its own")
        elif port is not None:
            seen[port] = job.name
    return problems
