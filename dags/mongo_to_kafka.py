"""Documents of a MongoDB collection to a Kafka topic: each hour what is new.

| task | what it does |
|---|---|
| `check` | tries MongoDB and Kafka; moves nothing |
| `sync` | sends the documents that are new since the last run, each once |

The position is kept in Kafka, in the transaction of the messages, so that any worker can go on. Trigger it with
`full_amount` to send all documents once more.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import Asset, Param, dag, task

TOPIC = Asset("information", uri="kafka://kafka_default/information")


def settings(params: dict[str, Any]) -> dict[str, Any]:
    """What both tasks tell the pipeline."""
    names = ("conn_ids", "topic", "collection", "data_type", "full_amount")
    return {**{name: params[name] for name in names}, "exactly_once": True, "until": "end", **params["sync"]}


def check(params: dict[str, Any]) -> None:
    """Try what the pipeline needs."""
    from pipeline_core.airflow import runs

    runs.check("mongo_to_kafka", **settings(params))


def sync(params: dict[str, Any]) -> dict[str, Any]:
    """Send what is new."""
    from pipeline_core.airflow import runs

    return runs.run("mongo_to_kafka", **settings(params))


@dag(
    dag_id="mongo_to_kafka",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=2),
    },
    params={
        "topic": Param("information", type="string", description="Kafka topic."),
        "collection": Param("raw_information_list_temp", type="string", description="Collection."),
        "data_type": Param("information", type="string", description="What becomes of a document."),
        "full_amount": Param(default=False, type="boolean", description="Send all documents once more."),
        "conn_ids": Param(
            {"kafka": "kafka_default", "mongodb": "mongo_default"},
            type="object",
            description="Connections by what they reach.",
        ),
        "sync": Param({}, type="object", description="More settings of mongo_to_kafka."),
    },
    tags=["pipeline_core", "kafka", "mongodb"],
    doc_md=__doc__,
)
def mongo_to_kafka() -> None:
    """Check, then sync."""
    task(check)() >> task(outlets=[TOPIC])(sync)()


mongo_to_kafka()
