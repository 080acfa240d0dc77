"""pipeline_core, from the topic into the table, without the ledger `processed_events`."""

from __future__ import annotations

from typing import Any

from tests.bench.pace import Pace
from tests.bench.task import ApplyTask, perform

from pipeline_core import cdc_to_postgres


def config(task: ApplyTask, *, enable_idempotency: bool) -> cdc_to_postgres.Config:
    """The settings: where and what; no TLS, as for all."""
    return cdc_to_postgres.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        dead_letter_topic=task.dead_letters,
        group_id=task.group,
        target_url=task.url,
        target_tls="disabled",
        enable_idempotency=enable_idempotency,
        until="end",
    )


def apply(config: cdc_to_postgres.Config) -> dict[str, Any]:
    """Apply what is on the topic."""
    pace = Pace()
    report = cdc_to_postgres.run(config, on_progress=pace)
    names = ("superseded", "transactions", "transaction_seconds", "server")
    said = {"rows": report.rows_written, "engine_seconds": report.seconds}
    return {**said, **{name: report.details[name] for name in names}, "rows_a_second_once_begun": pace.rows_a_second}


def work(task: ApplyTask) -> dict[str, Any]:
    """Apply the events."""
    return apply(config(task, enable_idempotency=False))


if __name__ == "__main__":
    perform(ApplyTask, work)
