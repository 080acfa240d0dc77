"""`config show`: the merged settings, where each came from, secrets masked."""

from typing import Annotated, Literal

import typer

from pipeline_core.cli.flags import with_unit
from pipeline_core.cli.output import ConfigOption, JsonOption, Output
from pipeline_core.exceptions import SettingsError
from pipeline_core.settings import CONFIG_FILE, PipelineSettings, shown

Pipeline = Literal[
    "bucket-to-kafka",
    "cdc-to-postgres",
    "csv-to-kafka",
    "dlq",
    "kafka-to-parquet",
    "mongo-to-kafka",
    "mysql-to-mysql",
    "obs-worker",
    "postgres-to-kafka",
    "read-batches",
    "validate",
    "verify",
    "walmart-to-kafka",
    "walmart-to-mysql",
]

Row = tuple[str, str, str]

_EPILOG = """
[bold]Examples[/bold]

pipeline-core config show

pipeline-core config show kafka-to-parquet --config pipeline.toml

Order: settings file, .env, environment, arguments; the later is the stronger.
"""


def add_to(app: typer.Typer) -> None:
    """Put `config show` into the application."""
    commands = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    commands.command("show", epilog=_EPILOG)(show)
    app.add_typer(commands, name="config", help="Look at the settings.")
    commands.callback()(lambda: None)


def show(
    pipeline: Annotated[
        Pipeline | None, typer.Argument(metavar="PIPELINE", help="Whose settings; all without it.")
    ] = None,
    config_file: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Show the merged settings and where each came from; secrets are masked."""
    output = Output(json=json)
    arguments = {CONFIG_FILE: config_file} if config_file else {}
    names = [pipeline.replace("-", "_")] if pipeline else list(PipelineSettings.registry)
    with output.exit_codes():
        sections: dict[str, list[Row]] = {}
        problems: list[SettingsError] = []
        for name in names:
            config = PipelineSettings.registry[name]
            try:
                for section, rows in _sections(config, arguments).items():
                    title = section if sections.setdefault(section, rows) == rows else f"{name}.{section}"
                    sections[title] = rows
                _try(config, arguments)
            except SettingsError as error:
                problems.append(error)
        output.result(_table(sections), {title: _data(rows) for title, rows in sections.items()})
        for problem in problems[:-1]:
            output.fail(problem.message, None)
        if problems:
            raise problems[-1]


def _sections(config: type[PipelineSettings], arguments: dict[str, str]) -> dict[str, list[Row]]:
    """A pipeline's settings by the table they belong to."""
    found = config.found(**arguments)
    sections: dict[str, list[Row]] = {table: [] for table in (*config.blocks, config.pipeline)}
    for name, field in config.model_fields.items():
        table = next((table for table, block in config.blocks.items() if name in block.model_fields), config.pipeline)
        default = None if field.is_required() else field.default
        value, origin = found.get(name, (default, "required" if field.is_required() else "default"))
        sections[table].append((name, shown(config, name, with_unit(value, field.metadata)), origin))
    return {table: rows for table, rows in sections.items() if rows}


def _try(config: type[PipelineSettings], arguments: dict[str, str]) -> None:
    """Find what is wrong with the settings, but for those that are given with each command."""
    missing = {name for name, field in config.model_fields.items() if field.is_required()} - config.found(
        **arguments
    ).keys()
    config(**arguments, **dict.fromkeys(missing, "-"))


def _table(sections: dict[str, list[Row]]) -> str:
    rows = [row for section in sections.values() for row in section]
    names = max((len(name) for name, _, _ in rows), default=0)
    values = min(40, max((len(value) for _, value, _ in rows), default=0))
    lines: list[str] = []
    for title, section in sections.items():
        lines.append(f"[{title}]")
        lines += [f"  {name:<{names}}  {value:<{values}}  {origin}" for name, value, origin in section]
    return "\n".join(lines)


def _data(rows: list[Row]) -> dict[str, dict[str, str]]:
    return {name: {"value": value, "from": origin} for name, value, origin in rows}
