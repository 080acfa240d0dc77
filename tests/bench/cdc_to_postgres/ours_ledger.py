"""pipeline_core, as it comes: from the topic into the table, each event noted in `processed_events`."""

from __future__ import annotations

from typing import Any

from tests.bench.cdc_to_postgres.ours import apply, config
from tests.bench.task import ApplyTask, perform


def work(task: ApplyTask) -> dict[str, Any]:
    """Apply the events."""
    return apply(config(task, enable_idempotency=True))


if __name__ == "__main__":
    perform(ApplyTask, work)
