"""`dlq show` and `dlq replay`, for the dead letters of every pipeline."""

from typing import Any

import typer

from pipeline_core import dlq
from pipeline_core.cli import commands, flags
from pipeline_core.cli.output import Output
from pipeline_core.config import KafkaSettings

_SHOWN = {"topic", "reason", "key", "since", "examples", *KafkaSettings.model_fields}
_REPLAYED = set(dlq.Config.model_fields) - {"examples"}

_SHOW = """
[bold]Examples[/bold]

pipeline-core dlq show bf_employee_cdc_dlq

pipeline-core dlq show walmart_order_raw_dlq --reason price --since 24h --examples 10

pipeline-core dlq show bf_employee_cdc_dlq --key 17 --json
"""
_REPLAY = """
[bold]Examples[/bold]

pipeline-core dlq replay bf_employee_cdc_dlq --dry-run      [dim]# which would succeed now?[/dim]

pipeline-core dlq replay bf_employee_cdc_dlq --reason emp_dob --since 2026-01-31

pipeline-core dlq replay walmart_order_raw_dlq --limit 100 --to walmart_order_again

A letter that was sent again is left out the next time. --dry-run takes the settings of the pipelines from the
environment, .env and --config.
"""


def add_to(app: typer.Typer) -> None:
    """Put `dlq` into the application."""
    letters = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    title = "Count the letters of a dead-letter topic by reason, with examples."
    letters.command("show", help=title, epilog=_SHOW)(flags.add(commands.parameters(dlq.Config, _SHOWN), _show))
    title = "Send dead letters to the topics they were read from, each once."
    own = commands.parameters(dlq.Config, _REPLAYED)
    letters.command("replay", help=title, epilog=_REPLAY)(flags.add(own, _replay))
    app.add_typer(letters, name="dlq", help="Look at dead letters, and send them again.")


def _show(**given: Any) -> None:  # noqa: ANN401 - typer fills it
    def tell(config: dlq.Config, output: Output) -> None:
        commands.show(dlq.show(config=config), output)

    commands.run(dlq.Config, tell, given)


def _replay(**given: Any) -> None:  # noqa: ANN401 - typer fills it
    def send(config: dlq.Config, output: Output) -> None:
        trial = dlq.settings_now(given["config_file"]) if config.dry_run else None
        commands.show(dlq.replay(config=config, trial=trial), output)

    commands.run(dlq.Config, send, given)
