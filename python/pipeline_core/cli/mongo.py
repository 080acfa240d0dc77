"""`mongo-to-kafka`, and its `cursor`."""

import inspect
from itertools import pairwise
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperGroup
from typing_extensions import override

from pipeline_core import mongo_to_kafka
from pipeline_core.cli import commands, flags
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import Output
from pipeline_core.config import KafkaSettings
from pipeline_core.exceptions import SettingsError

_CURSOR_SETTINGS = {"topic", "collection", "mode", "cursor_field", "exactly_once", "runtime_dir"}
_VALUE = Annotated[str, typer.Argument(metavar="VALUE", help="An ObjectId of 24 digits, or a value as extended JSON.")]
_ACTIONS: dict[mongo_to_kafka.Action, str] = {
    "show": "Show how far the runs have come.",
    "set": "Let the next run begin after a value.",
    "reset": "Let the next run begin at the beginning.",
}
# In the original these had values, of which any text was true.
_WITHOUT_VALUE = ("--full-amount", "--debug")

_MONGO_TO_KAFKA = """
[bold]Examples[/bold]

pipeline-core mongo-to-kafka --topic information --mongodb-host db      [dim]# what is new since the last run[/dim]

pipeline-core mongo-to-kafka --topic information --data-type information --full-amount

pipeline-core mongo-to-kafka --topic orders --collection orders --data-type raw --cursor-field updated_at

pipeline-core mongo-to-kafka --topic orders --collection orders --data-type raw --mode stream --until stopped

pipeline-core mongo-to-kafka --topic articles --data-type article --data-types article=my_models:Article

pipeline-core mongo-to-kafka cursor show --topic information      [dim]# where the next run begins[/dim]

Flags of the original may be written with underscores: --data_type, --full_amount. Passwords have no flags: set
MONGODB_URI or MONGODB_PASSWORD, KAFKA_SASL_PASSWORD and the like.
"""
_CURSOR = """
[bold]Examples[/bold]

pipeline-core mongo-to-kafka cursor show --topic information

pipeline-core mongo-to-kafka cursor set 6560cf7e1f2b3c4d5e6f7081 --topic information

pipeline-core mongo-to-kafka cursor set '{"$date": "2026-01-01T00:00:00Z"}' --topic orders --cursor-field updated_at

pipeline-core mongo-to-kafka cursor reset --topic information      [dim]# the next run begins at the beginning[/dim]
"""


class _Group(TyperGroup):
    """Takes what the original's users type."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for flag, value in pairwise([*args, ""]):
            name, equals, own = flag.partition("=")
            text = own if equals else value
            is_value = bool(equals) or not (text.startswith("-") or text in {"", *self.commands})
            if is_value and _dashed(name) in _WITHOUT_VALUE:
                _refuse(_dashed(name), text)
        return super().parse_args(ctx, _with_form(args))


def add_to(app: typer.Typer) -> None:
    """Put the commands of this module into the application."""
    group = typer.Typer(cls=_Group, rich_markup_mode="rich", context_settings={"token_normalize_func": _dashed})
    context = flags.parameter("context", typer.Context, inspect.Parameter.empty)
    parameters = commands.parameters(mongo_to_kafka.Config)
    title = "Send the documents of a MongoDB collection to a Kafka topic: what is new, or every change."
    group.callback(invoke_without_command=True, help=title, epilog=_MONGO_TO_KAFKA)(
        flags.add([context, *parameters], _mongo_to_kafka)
    )
    cursor = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    own = commands.parameters(mongo_to_kafka.Config, _CURSOR_SETTINGS | KafkaSettings.model_fields.keys())
    value = flags.parameter("value", _VALUE, inspect.Parameter.empty)
    for action, title in _ACTIONS.items():
        needed = [context, value, *own] if action == "set" else [context, *own]
        cursor.command(action, help=title, epilog=_CURSOR)(flags.add(needed, _acting(action)))
    group.add_typer(cursor, name="cursor", help="Look at the place where the next run begins, or set it.")
    app.add_typer(group, name="mongo-to-kafka")


def _mongo_to_kafka(context: typer.Context, **given: Any) -> None:  # noqa: ANN401 - typer fills it
    if given["debug"]:
        given["log_level"] = "debug"
    context.obj = dict(given)
    if context.invoked_subcommand is None:
        commands.run(mongo_to_kafka.Config, _send, given)


def _send(config: mongo_to_kafka.Config, output: Output) -> None:
    with Bar(config.topic, output.console) as bar:
        report = mongo_to_kafka.run(config, on_progress=bar)
    commands.show(report, output)


def _acting(action: mongo_to_kafka.Action) -> Any:  # noqa: ANN401
    def act(context: typer.Context, *, value: str | None = None, **given: Any) -> None:  # noqa: ANN401 - typer fills it
        def tell(config: mongo_to_kafka.Config, output: Output) -> None:
            commands.show(mongo_to_kafka.cursor(action, value, config), output)

        commands.run(mongo_to_kafka.Config, tell, commands.inherited(context, given))

    return act


def _dashed(name: str) -> str:
    """The original's flags have underscores."""
    return name.replace("_", "-")


def _with_form(args: list[str]) -> list[str]:
    """`--json plain` is `--json-form plain`; alone it is about the report, as with every command."""
    forms = get_args(mongo_to_kafka.JsonForm)
    return [
        arg.replace("--json", "--json-form", 1)
        if (arg == "--json" and value in forms) or arg in {f"--json={form}" for form in forms}
        else arg
        for arg, value in pairwise([*args, ""])
    ]


def _refuse(flag: str, value: str) -> None:
    """End it: it would not do what the value says."""
    with Output().exit_codes():
        message = f"{flag} is a flag without a value, but got {value!r}"
        raise SettingsError(message, f"Write {flag} for yes, and --no-{flag[2:]} or nothing for no.")
