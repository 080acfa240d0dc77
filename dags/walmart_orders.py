"""Walmart's orders through Kafka into MySQL or MariaDB, each hour.

| task | what it does |
|---|---|
| `fetch` | sends all orders since the watermark, which the run before has left in Kafka |
| `load` | loads what is on the topic: lines, charges, statuses and refunds, each exactly once |
| `complete` | fails when the topic is not complete up to the end of the hour, or an order was refused |

The watermark makes up for hours without a run, so there is no catchup. To fetch days of the past, trigger it with
`start_date` and `end_date`, such as 20251111. `pipeline-core init-db walmart-to-mysql` makes the tables.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, Param, dag, task

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

TOPIC = Asset("walmart_order_raw", uri="kafka://kafka_default/walmart_order_raw")
TABLE = Asset("walmart_order", uri="mysql://mysql_default/ods/walmart_order")


def fetch(params: dict[str, Any]) -> dict[str, Any]:
    """Send the orders since the watermark, or those of the days that were named."""
    from pipeline_core.airflow import runs

    conn_ids = {role: params["conn_ids"].get(role) for role in ("kafka", "walmart")}
    days = {"start_date": params["start_date"], "end_date": params["end_date"]}
    what = days if any(days.values()) else {"follow": True, "hours": params["hours"], "until": "end"}
    settings = {"account_tag": params["account_tag"], "topic": params["topic"], **what, **params["fetch"]}
    return runs.run("walmart_to_kafka", conn_ids=conn_ids, **settings)


def load(params: dict[str, Any]) -> dict[str, Any]:
    """Load what is on the topic now."""
    from pipeline_core.airflow import runs

    conn_ids = {role: params["conn_ids"].get(role) for role in ("kafka", "mysql")}
    settings = {"topic": params["topic"], "group_id": params["group_id"], "until": "end", **params["load"]}
    return runs.run("walmart_to_mysql", conn_ids=conn_ids, **settings)


def complete(
    fetched: dict[str, Any], loaded: dict[str, Any], params: dict[str, Any], dag_run: DagRunProtocol
) -> dict[str, Any]:
    """Tell whether all orders of the hour are in the tables."""
    from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

    reached = datetime.fromisoformat(fetched["details"]["complete_up_to"].replace("Z", "+00:00"))
    due = dag_run.run_after.replace(microsecond=0)
    if not params["start_date"] and reached < due:
        message = f"The topic is complete up to {reached}, and the hour ended at {due}"
        raise AirflowException(message)
    if loaded["rows_rejected"]:
        message = f"{loaded['rows_rejected']} orders were refused: see `pipeline-core dlq show {params['topic']}_dlq`"
        raise AirflowFailException(message)
    return {"complete_up_to": reached.isoformat(), "fetched": fetched["rows_written"], "loaded": loaded["rows_read"]}


@dag(
    dag_id="walmart_orders",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(minutes=50),
    },
    params={
        "hours": Param(1, type="integer", minimum=1, description="Where the first run of all begins, in hours ago."),
        "start_date": Param(None, type=["null", "string"], description="First day, instead of the watermark."),
        "end_date": Param(None, type=["null", "string"], description="Last day, which is included."),
        "account_tag": Param("eForCity", type="string", description="Account."),
        "topic": Param("walmart_order_raw", type="string", description="Kafka topic."),
        "group_id": Param("flink-walmart-order-pipeline-jdbc", type="string", description="Consumer group."),
        "conn_ids": Param(
            {"kafka": "kafka_default", "walmart": "walmart_default", "mysql": "mysql_default"},
            type="object",
            description="Connections by what they reach.",
        ),
        "fetch": Param({}, type="object", description="More settings of walmart_to_kafka."),
        "load": Param({}, type="object", description="More settings of walmart_to_mysql."),
    },
    tags=["pipeline_core", "kafka", "mysql", "walmart"],
    doc_md=__doc__,
)
def walmart_orders() -> None:
    """Fetch, load, complete."""
    fetched = task(outlets=[TOPIC])(fetch)()
    loaded = task(outlets=[TABLE])(load)()
    fetched >> loaded
    task(complete)(fetched, loaded)


walmart_orders()
