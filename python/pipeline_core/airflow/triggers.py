"""A trigger that waits until a group is so far behind its topic, or so near to its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipeline_core.airflow import runs
from pipeline_core.airflow.hooks import PipelineHook
from pipeline_core.exceptions import PipelineError

_log = logging.getLogger(__name__)


class LagTrigger(BaseTrigger):
    """Waits for the lag of a group; its event is what `LagSensor` gives.

    Args:
        topic: The topic.
        group_id: The consumer group.
        at_least: Wait until so many messages are not done yet.
        at_most: Wait until no more than these are not done yet.
        poke_interval: Seconds between two looks.
        conn_ids: Ids of Airflow connections by what they reach: `kafka`.
        settings: More fields of `obs_worker.Config`, such as `auto_offset_reset`.
    """

    def __init__(  # noqa: PLR0913 - arguments of a trigger are keywords
        self,
        *,
        topic: str,
        group_id: str,
        at_least: int | None = None,
        at_most: int | None = None,
        poke_interval: float = 60,
        conn_ids: Mapping[str, str | None] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.topic = topic
        self.group_id = group_id
        self.at_least = at_least
        self.at_most = at_most
        self.poke_interval = poke_interval
        self.conn_ids = dict(conn_ids or {})
        self.settings = dict(settings or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments; ids of connections, never what they hold."""
        arguments = {
            "topic": self.topic,
            "group_id": self.group_id,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "poke_interval": self.poke_interval,
            "conn_ids": self.conn_ids,
            "settings": self.settings,
        }
        return f"{__name__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, and wait; a broker that is away is waited for."""
        while True:
            try:
                found = await self.look()
            except PipelineError as error:
                if not error.retryable:
                    yield TriggerEvent({"error": str(error)})
                    return
                _log.warning("%s", error)
            else:
                if self.is_reached(found["tasks"]):
                    yield TriggerEvent(found)
                    return
            await asyncio.sleep(self.poke_interval)

    async def look(self) -> dict[str, Any]:
        """What the group has not done, as plain data."""
        hook = PipelineHook("obs_worker", self.conn_ids)
        settings = {**self.settings, "topic": self.topic, "group_id": self.group_id}
        return await asyncio.to_thread(runs.lag_of, hook, await hook.aget_conn(), settings)

    def is_reached(self, lag: int) -> bool:
        """Whether this is what is waited for."""
        return (self.at_least is None or lag >= self.at_least) and (self.at_most is None or lag <= self.at_most)
