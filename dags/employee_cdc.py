"""Changes of a PostgreSQL table through Kafka into the same table of another PostgreSQL, every five minutes.

| task | what it does |
|---|---|
| `capture` | sends the changes that were committed before it started, each once and in order |
| `apply` | applies what is on the topic: inserts, updates, deletes, each once in effect |

Each run is bounded, and the next one goes on from where it ended. Where seconds count, run `pipeline-core
postgres-to-kafka` and `pipeline-core cdc-to-postgres` as services instead. `pipeline-core init-db` makes the tables and
triggers.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import Asset, Param, dag, task

TOPIC = Asset("bf_employee_cdc", uri="kafka://kafka_default/bf_employee_cdc")
TABLE = Asset("employees", uri="postgres://postgres_target:5432/postgres/public/employees")


def capture(params: dict[str, Any]) -> dict[str, Any]:
    """Send the changes that are committed."""
    from pipeline_core.airflow import runs

    conn_ids = {role: params["conn_ids"].get(role) for role in ("kafka", "source")}
    settings = {"topic": params["topic"], "until": "end", **params["capture"]}
    return runs.run("postgres_to_kafka", conn_ids=conn_ids, **settings)


def apply(params: dict[str, Any]) -> dict[str, Any]:
    """Apply what is on the topic now."""
    from pipeline_core.airflow import runs

    conn_ids = {role: params["conn_ids"].get(role) for role in ("kafka", "target")}
    settings = {"topic": params["topic"], "group_id": params["group_id"], "until": "end", **params["apply"]}
    return runs.run("cdc_to_postgres", conn_ids=conn_ids, **settings)


@dag(
    dag_id="employee_cdc",
    schedule="*/5 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30), "execution_timeout": timedelta(hours=1)},
    params={
        "topic": Param("bf_employee_cdc", type="string", description="Kafka topic."),
        "group_id": Param("production_cdc_consumer", type="string", description="Consumer group."),
        "conn_ids": Param(
            {"kafka": "kafka_default", "source": "postgres_source", "target": "postgres_target"},
            type="object",
            description="Connections by what they reach.",
        ),
        "capture": Param({}, type="object", description="More settings of postgres_to_kafka."),
        "apply": Param({}, type="object", description="More settings of cdc_to_postgres."),
    },
    tags=["pipeline_core", "cdc", "kafka", "postgres"],
    doc_md=__doc__,
)
def employee_cdc() -> None:
    """Capture, then apply."""
    task(outlets=[TOPIC])(capture)() >> task(outlets=[TABLE])(apply)()


employee_cdc()
