"""pipeline_core, as it comes: from the source into all tables of the target."""

from __future__ import annotations

from typing import Any

from tests.bench.task import MigrateTask, perform

from pipeline_core import mysql_to_mysql


def config(task: MigrateTask) -> mysql_to_mysql.Config:
    """The settings: where; no TLS, as for all."""
    return mysql_to_mysql.Config(
        source_url=task.url,
        source_database=task.source,
        source_tls="disabled",
        target_url=task.url,
        target_database=task.target,
        target_tls="disabled",
    )


def work(task: MigrateTask) -> dict[str, Any]:
    """Migrate the items."""
    report = mysql_to_mysql.run(config(task))
    said = {"rows": report.rows_written, "engine_seconds": report.seconds}
    return said | {name: report.details[name] for name in ("transactions", "retries", "target_server")}


if __name__ == "__main__":
    perform(MigrateTask, work)
