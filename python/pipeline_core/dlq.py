"""Dead letters of every pipeline: what is in a topic of them, and sending them again once the cause is mended.

```python
from pipeline_core import dlq

print(dlq.show("bf_employee_cdc_dlq"))
report = dlq.replay("bf_employee_cdc_dlq", reason="emp_dob", dry_run=True)
```
"""

import json
import logging
import os
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field
from typing_extensions import Unpack, override

from pipeline_core import _core, cdc_to_postgres, engine, kafka_to_parquet, obs_worker, walmart_to_mysql
from pipeline_core.config import KafkaArguments, KafkaSettings
from pipeline_core.dead_letters import LetterSummary, ReplayReport
from pipeline_core.exceptions import SettingsError
from pipeline_core.fields import Since
from pipeline_core.layers import ArgumentOnly, Found
from pipeline_core.settings import CONFIG_FILE, PipelineSettings

_TRIED = (cdc_to_postgres, kafka_to_parquet, obs_worker, walmart_to_mysql)

_log = logging.getLogger(__name__)


class Config(KafkaSettings):
    """Which dead letters, and what to do with them. Only Kafka's address comes from the environment."""

    pipeline: ClassVar[str] = "dlq"

    topic: Annotated[str, ArgumentOnly(), Field(min_length=1, description="Topic of the dead letters.")]
    reason: Annotated[
        str | None, ArgumentOnly(), Field(description="Letters whose reason contains this text, in any case, only.")
    ] = None
    key: Annotated[str | None, ArgumentOnly(), Field(description="Letters of this key only.")] = None
    since: Annotated[
        Since | None,
        ArgumentOnly(),
        Field(
            description="Letters written since then only: 2026-01-31T12:00:00Z, 2026-01-31, or 2h for two hours ago."
        ),
    ] = None
    limit: Annotated[int | None, ArgumentOnly(), Field(gt=0, description="Letters at most, the oldest first.")] = None
    examples: Annotated[int, ArgumentOnly(), Field(ge=0, description="Letters shown for each reason.")] = 3
    max_replays: Annotated[
        int, ArgumentOnly(), Field(gt=0, description="How often one message is sent again at most.")
    ] = 3
    again: Annotated[bool, ArgumentOnly(), Field(description="Send those, too, that were sent again before.")] = False
    to: Annotated[
        str | None,
        ArgumentOnly(),
        Field(min_length=1, description="Topic to send to; without it, where each was read."),
    ] = None
    dry_run: Annotated[
        bool, ArgumentOnly(), Field(description="Send nothing, and tell which letters would succeed now.")
    ] = False

    @classmethod
    @override
    def layers(cls, arguments: dict[str, Any]) -> list[dict[str, Found]]:
        """What each place sets; a file's `to` or `key` counts in a table of its own only, for others have them, too.

        Raises:
            SettingsError: A name is unknown, or the file could not be read.
        """
        given, *others = super().layers(arguments)
        own = f"[{cls.pipeline}]"
        of_kafka = KafkaSettings.model_fields
        return [
            given,
            *(
                {name: found for name, found in layer.items() if name in of_kafka or found.origin.endswith(own)}
                for layer in others
            ),
        ]


class ShowArguments(KafkaArguments, total=False):
    """Keyword arguments of `show`."""

    config_file: str | os.PathLike[str]
    reason: str | None
    key: str | None
    since: str | date | datetime | timedelta | None
    examples: int


class Arguments(ShowArguments, total=False):
    """Keyword arguments of `replay`: the fields of `Config`, and a settings file."""

    limit: int | None
    max_replays: int
    again: bool
    to: str | None
    dry_run: bool


def show(
    topic: str | None = None,
    *,
    config: Config | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[ShowArguments],
) -> LetterSummary:
    """Count the letters of a topic by reason, pipeline and origin, with examples; the topic stays as it is.

    Args:
        topic: The topic of dead letters.
        config: All settings at once, instead of `topic` and `settings`.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name, e.g. `reason="emp_dob", since="2h"`.

    Raises:
        SettingsError: A setting is missing or wrong.
        NotFoundError: There is no such topic.
        PipelineError: The topic could not be read.

    Example:
        >>> from pipeline_core import dlq
        >>> dlq.show("bf_employee_cdc_dlq").letters  # doctest: +SKIP
        12
    """
    arguments = dict(settings) if topic is None else {**settings, "topic": topic}
    config = engine.configured(Config, config, arguments)
    return LetterSummary.from_json(engine.run(_core.dlq_show, config.document(), stop=stop))


def replay(
    topic: str | None = None,
    *,
    config: Config | None = None,
    trial: Iterable[PipelineSettings] | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> ReplayReport:
    """Send letters to the topics they were read from, byte for byte, each once however often this is called.

    A message that was refused `max_replays` times again stays where it is. With `dry_run` nothing is sent: each letter
    is tried against the pipeline that refused it, a database in a transaction that is rolled back.

    Args:
        topic: The topic of dead letters.
        config: All settings at once, instead of `topic` and `settings`.
        trial: With `dry_run`: settings of the pipelines to try the letters against; without it `settings_now`.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name, e.g. `reason="emp_dob", dry_run=True`.

    Raises:
        SettingsError: A setting is missing or wrong; nothing was sent.
        NotFoundError: There is no such topic.
        PipelineError: Anything else; the same call goes on from there.

    Example:
        >>> from pipeline_core import dlq
        >>> dlq.replay("bf_employee_cdc_dlq", reason="emp_dob", dry_run=True).would_succeed  # doctest: +SKIP
        11
    """
    arguments = dict(settings) if topic is None else {**settings, "topic": topic}
    chosen = engine.configured(Config, config, arguments)
    if trial is None and chosen.dry_run:
        trial = settings_now(settings.get(CONFIG_FILE))
    documents = {own.pipeline: json.loads(own.document()) for own in trial or ()}
    text = json.dumps(documents, ensure_ascii=False)
    native: engine.Native = lambda document, stop, beat: _core.dlq_replay(document, text, stop, beat)  # noqa: E731
    return ReplayReport.from_json(engine.run(native, chosen.document(), stop=stop))


def settings_now(config_file: str | os.PathLike[str] | None = None) -> list[PipelineSettings]:
    """The settings of the pipelines that can try a letter, as the environment, `.env` and a settings file have them.

    Those whose settings are wrong are left out, and logged.
    """
    file = {} if config_file is None else {CONFIG_FILE: config_file}
    found: list[PipelineSettings] = []
    for module in _TRIED:
        config: type[PipelineSettings] = module.Config
        try:
            # Where a pipeline writes to is of no account to the form of a message.
            needed = {name for name, field in config.model_fields.items() if field.is_required()}
            found.append(config(**file, **dict.fromkeys(needed - config.found(**file).keys(), "-")))
        except SettingsError as error:
            _log.info("Letters of %s are not tried: %s", config.pipeline, error.message)
    return found
