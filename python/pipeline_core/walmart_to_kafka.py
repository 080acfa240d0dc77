"""Walmart's orders onto a Kafka topic, each once: of the last hours, of days, or kept up with.

```python
from pipeline_core import walmart_to_kafka

report = walmart_to_kafka.run(start_date="20251111", end_date="20251111")
```
"""

import os
from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self, Unpack

from pipeline_core import _core, engine
from pipeline_core.config import ORDER_TOPIC, KafkaArguments, KafkaSettings, WalmartArguments, WalmartSettings
from pipeline_core.fields import (
    Compression,
    Day,
    Metavar,
    Partitioner,
    Partitions,
    Replicas,
    Seconds,
    ShipNodeType,
    Short,
    Size,
    Until,
    Zone,
)
from pipeline_core.layers import Env
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.progress import OnProgress
from pipeline_core.report import Report


class Config(KafkaSettings, WalmartSettings, MetricsSettings):
    """What `walmart_to_kafka` does, and with what.

    Where no settings file is named, `config/config.yml` of the working folder is read if it exists.
    """

    pipeline: ClassVar[str] = "walmart_to_kafka"

    hours: Annotated[
        int | None,
        Short("-H"),
        Field(gt=0, description="Orders of the last hours; 1 when there are no dates either."),
    ] = None
    start_date: Annotated[
        Day | None,
        Short("-s"),
        Field(description="First day of the orders, as 20251111 or 2025-11-11; needs the last."),
    ] = None
    end_date: Annotated[Day | None, Short("-e"), Field(description="Last day of the orders, which is included.")] = None
    timezone: Annotated[Zone, Field(description="Time zone whose days these are.")] = "America/Los_Angeles"
    ship_node_type: Annotated[
        ShipNodeType | None,
        Metavar("TYPE"),
        Field(description="SellerFulfilled, WFSFulfilled or 3PLFulfilled; all three without it."),
    ] = None
    modified: Annotated[
        bool, Field(description="Ask by the time of the last change, so that status, tracking and refunds arrive too.")
    ] = False
    follow: Annotated[bool, Field(description="Keep polling, from where the last such run came to.")] = False
    poll_seconds: Annotated[Seconds, Field(description="With --follow: pause between two polls.")] = 60
    overlap_seconds: Annotated[
        Seconds, Field(description="With --follow: how far each poll goes back before the end of the last one.")
    ] = 600
    until: Annotated[
        Until,
        Field(
            description="With --follow: when to end: end (after one poll), stopped (by a signal), a duration such as"
            " 8h, or a count such as 500rows."
        ),
    ] = "stopped"
    topic: Annotated[
        str,
        Short("-t"),
        Field(min_length=1, description="Topic to write; created when missing."),
        Env("WALMART_TOPIC"),
    ] = ORDER_TOPIC
    batch_size: Annotated[int, Field(gt=0, description="Orders sent between two looks at the clock.")] = 20
    restart: Annotated[
        bool, Field(description="Begin anew, where an interrupted run of the same range would be resumed.")
    ] = False
    window_orders: Annotated[
        int, Field(gt=0, le=10_000, description="Orders of one window of time at most; fuller ones are split.")
    ] = 1000
    concurrency: Annotated[int, Field(ge=1, le=32, description="Requests at once.")] = 4
    partitions: Partitions = 3
    replication_factor: Replicas = None
    partitioner: Partitioner = "murmur2_random"
    compression: Compression = "lz4"
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered.")] = 256 * 1024 * 1024

    @model_validator(mode="after")
    def _the_range_is_one(self) -> Self:
        """Refuse a range that is said twice, by half or backwards."""
        message = ""
        if self.follow and (self.start_date or self.end_date):
            message = "Setting 'follow' has no dates: give 'hours' (-H) for where the first such run begins"
        elif self.hours and (self.start_date or self.end_date):
            message = "Setting 'hours' (-H) excludes 'start_date' (-s) and 'end_date' (-e): give one or the other"
        elif self.start_date and not self.end_date:
            message = "Setting 'start_date' (-s) needs 'end_date' (-e), the last day"
        elif self.end_date and not self.start_date:
            message = "Setting 'end_date' (-e) needs 'start_date' (-s), the first day"
        elif self.start_date and self.end_date and self.end_date < self.start_date:
            message = f"Setting 'end_date' (-e) is {self.end_date}, before 'start_date' (-s) {self.start_date}"
        if message:
            raise ValueError(message)
        return self


class Arguments(KafkaArguments, WalmartArguments, MetricsArguments, total=False):
    """Keyword arguments of `run` and `arun`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    hours: int | None
    start_date: str | date | None
    end_date: str | date | None
    timezone: str
    ship_node_type: ShipNodeType | None
    modified: bool
    follow: bool
    poll_seconds: float | str
    overlap_seconds: float | str
    until: str
    topic: str
    batch_size: int
    restart: bool
    window_orders: int
    concurrency: int
    partitions: int | None
    replication_factor: int | None
    partitioner: str
    compression: Compression
    memory_limit: int | str


def run(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Send the orders of a range of time to a topic, each once, or follow them until `until`.

    A message is the order as the API gave it, with a `request_time`; its key is the `purchaseOrderId`. A range that
    holds too many orders for the API is split. A run that was interrupted is resumed by the same call; `follow` goes on
    from where its last run came to. Ctrl-C, SIGTERM and `stop` end the run after the windows that were fetched whole.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`,
            or `config/config.yml` of the working folder where no file is named.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `hours=2, account_tag="eForCity"`.

    Returns:
        `rows_read` orders got from the API, `rows_written` orders on the topic, and in `details` the time that the
        topic is complete up to.

    Raises:
        SettingsError: A setting is missing or wrong, or the range is too old for the API; nothing was sent.
        AccessDeniedError: The API or the broker refused the credentials.
        UnavailableError: The API or the broker did not answer; the same call goes on from there.
        DataLossError: The API did not give all orders that it counts.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import walmart_to_kafka
        >>> walmart_to_kafka.run(hours=2).details["complete_up_to"]  # doctest: +SKIP
        '2025-11-11T12:00:00Z'
    """
    config = engine.configured(Config, config, settings)
    return Report.from_json(engine.run(_core.walmart_to_kafka, config.document(), stop=stop, on_progress=on_progress))


async def arun(
    config: Config | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """`run` without blocking the event loop. Cancelling it drains first, then raises CancelledError.

    `on_progress` is called on the event loop's thread.

    Example:
        >>> report = await walmart_to_kafka.arun(hours=2)  # doctest: +SKIP
    """
    config = engine.configured(Config, config, settings)
    report = await engine.arun(_core.walmart_to_kafka, config.document(), stop=stop, on_progress=on_progress)
    return Report.from_json(report)
