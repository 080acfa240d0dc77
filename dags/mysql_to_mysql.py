"""Items of one MySQL or MariaDB database into another, as a task such as `nfsc_task` says.

| task | what it does |
|---|---|
| `check` | tries both databases and their tables; changes nothing |
| `rehearse` | migrates all with each transaction rolled back; tells what would be written and refused |
| `migrate` | migrates; what is in the target already is not written again |

It is triggered by hand, as often as you like. With `on_rejected` `stop` a row that the target refuses fails the
rehearsal. `pipeline-core init-db mysql-to-mysql` makes the target's tables.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, task

TABLE = Asset("nfsc_info_list", uri="mysql://mysql_target/nfsc/nfsc_info_list")


def settings(params: dict[str, Any]) -> dict[str, Any]:
    """What all tasks tell the pipeline."""
    return {**{name: params[name] for name in ("conn_ids", "task", "on_rejected", "update")}, **params["migrate"]}


def check(params: dict[str, Any]) -> None:
    """Try what the pipeline needs."""
    from pipeline_core.airflow import runs

    runs.check("mysql_to_mysql", **settings(params))


def rehearse(params: dict[str, Any]) -> dict[str, Any]:
    """Migrate all, and change nothing."""
    from pipeline_core.airflow import runs

    return runs.run("mysql_to_mysql", dry_run=True, **settings(params))


def migrate(params: dict[str, Any]) -> dict[str, Any]:
    """Migrate all."""
    from pipeline_core.airflow import runs

    return runs.run("mysql_to_mysql", **settings(params))


@dag(
    dag_id="mysql_to_mysql",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1), "execution_timeout": timedelta(hours=6)},
    params={
        "task": Param("nfsc_task", type="string", description="What to migrate."),
        "on_rejected": Param("leave-out", enum=["leave-out", "stop"], description="What a refused row does."),
        "update": Param(default=True, type="boolean", description="Write items again that have changed."),
        "conn_ids": Param(
            {"source": "mysql_source", "target": "mysql_target"},
            type="object",
            description="Connections by what they reach.",
        ),
        "migrate": Param({}, type="object", description="More settings of mysql_to_mysql."),
    },
    tags=["pipeline_core", "mysql", "migration"],
    doc_md=__doc__,
)
def mysql_to_mysql() -> None:
    """Check, rehearse, migrate."""
    task(check)() >> task(rehearse)() >> task(outlets=[TABLE])(migrate)()


mysql_to_mysql()
