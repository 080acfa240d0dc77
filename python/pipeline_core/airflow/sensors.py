"""A sensor for the lag of a consumer group."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseSensorOperator, PokeReturnValue, conf

from pipeline_core.airflow import runs
from pipeline_core.airflow.triggers import LagTrigger
from pipeline_core.exceptions import SettingsError


class LagSensor(BaseSensorOperator):
    """Waits until a group is at least, or at most, so many messages behind its topic.

    `{"topic": …, "group_id": …, "tasks": 12, "partitions": […]}` goes to XCom. Messages are counted by reading those
    that are not done yet, so this is for queues of tasks and for short lags rather than for a topic of millions.

    Args:
        topic: The topic (templated).
        group_id: The consumer group (templated).
        at_least: Wait until so many messages are not done yet: there is work.
        at_most: Wait until no more than these are not done yet: the work is done. One of both is needed.
        deferrable: Wait in the triggerer, without a worker's slot; as Airflow's `default_deferrable` says without it.
        conn_ids: Ids of Airflow connections by what they reach (templated): `kafka`.
        settings: More fields of `obs_worker.Config` (templated): with `auto_offset_reset` `latest` a group that has no
            position has no lag.
        **kwargs: Those of every sensor, such as `poke_interval` and `timeout`.

    Raises:
        SettingsError: Neither `at_least` nor `at_most` is given.
    """

    template_fields: Sequence[str] = ("topic", "group_id", "conn_ids", "settings")
    ui_color = "#d7ebe8"

    def __init__(  # noqa: PLR0913 - arguments of a task are keywords
        self,
        *,
        topic: str,
        group_id: str,
        at_least: int | None = None,
        at_most: int | None = None,
        deferrable: bool | None = None,
        conn_ids: Mapping[str, str | None] | None = None,
        settings: Mapping[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401 - Airflow's
    ) -> None:
        super().__init__(**kwargs)
        if at_least is None and at_most is None:
            message = "Settings 'at_least' and 'at_most' are missing"
            raise SettingsError(message, "Give one of them: a number of messages.")
        self.topic = topic
        self.group_id = group_id
        self.at_least = at_least
        self.at_most = at_most
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.conn_ids = conn_ids or {}
        self.settings = settings or {}

    def poke(self, context: Any) -> PokeReturnValue:  # noqa: ANN401 - Airflow's
        """Look once."""
        del context
        found = runs.lag(self.topic, self.group_id, conn_ids=self.conn_ids, **self.settings)
        return PokeReturnValue(is_done=self._trigger().is_reached(found["tasks"]), xcom_value=found)

    def execute(self, context: Any) -> Any:  # noqa: ANN401 - Airflow's
        """Wait: here, or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        looked = self.poke(context)
        if not looked.is_done:
            timeout = timedelta(seconds=self.timeout)
            self.defer(trigger=self._trigger(), method_name=self.execute_complete.__name__, timeout=timeout)
        return looked.xcom_value

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - Airflow's
        """Take what the trigger has found."""
        del context
        if "error" in event:
            raise AirflowFailException(event["error"])
        return event

    def _trigger(self) -> LagTrigger:
        return LagTrigger(
            topic=self.topic,
            group_id=self.group_id,
            at_least=self.at_least,
            at_most=self.at_most,
            poke_interval=self.poke_interval,
            conn_ids=self.conn_ids,
            settings=self.settings,
        )
