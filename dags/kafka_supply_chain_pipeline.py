"""The supply chain: a CSV file through a Kafka topic into Parquet files.

| task | what it does |
|---|---|
| `check` | tries Kafka, the file and the place for the Parquet files; moves nothing |
| `produce` | sends the rows, each once; a retry goes on where the try before stopped |
| `consume` | writes what the topic holds into files, each row once, then ends |
| `verify` | compares the files with the topic; gaps, overlaps and missing rows fail it |

It is triggered by hand. A second run of the same file sends nothing again. `conn_ids` names Airflow connections by what
they reach: `kafka`, and `s3`, `gcs` or `obs` for a bucket; without one the environment counts, as for the command line.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, task

TOPIC = Asset("supply-chain-orders", uri="kafka://kafka_default/supply-chain-orders")
FILES = Asset("supply_chain_files")


def check(params: dict[str, Any]) -> None:
    """Try what both pipelines need."""
    from pipeline_core.airflow import runs

    here = {"conn_ids": params["conn_ids"], "topic": params["topic"]}
    runs.check("csv_to_kafka", files=params["files"], **here)
    runs.check("kafka_to_parquet", to=params["to"], prefix=params["prefix"], not_yet=["topic"], **here)


def produce(params: dict[str, Any]) -> dict[str, Any]:
    """Send the rows of the file to the topic."""
    from pipeline_core.airflow import runs

    here = {"files": params["files"], "topic": params["topic"], "exactly_once": True, "resume": True}
    return runs.run("csv_to_kafka", conn_ids=params["conn_ids"], **{**here, **params["produce"]})


def consume(params: dict[str, Any]) -> dict[str, Any]:
    """Write what is on the topic now into Parquet files."""
    from pipeline_core.airflow import runs

    here = {name: params[name] for name in ("topic", "to", "prefix", "group_id")}
    settings = {"until": "end", **here, **params["consume"]}
    return runs.run("kafka_to_parquet", conn_ids=params["conn_ids"], **settings)


def verify(params: dict[str, Any]) -> dict[str, Any]:
    """Compare the files with the topic."""
    from pipeline_core.airflow import runs

    here = {name: params[name] for name in ("topic", "to", "prefix")}
    return runs.verify(conn_ids=params["conn_ids"], **here)


@dag(
    dag_id="kafka_supply_chain_pipeline",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=12),
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=6),
    },
    params={
        "files": Param("data/DataCoSupplyChainDataset.csv", type="string", description="CSV file, glob or URL."),
        "topic": Param("supply-chain-orders", type="string", description="Kafka topic."),
        "to": Param(
            None, type=["null", "string"], description="Folder or URL for the files; GCS_BUCKET_NAME without it."
        ),
        "prefix": Param("raw_streaming/", type="string", description="Start of every object's name."),
        "group_id": Param("supply-chain-consumer-group", type="string", description="Consumer group."),
        "conn_ids": Param({"kafka": "kafka_default"}, type="object", description="Connections by what they reach."),
        "produce": Param({}, type="object", description="More settings of csv_to_kafka."),
        "consume": Param({}, type="object", description="More settings of kafka_to_parquet."),
    },
    tags=["pipeline_core", "kafka", "parquet"],
    doc_md=__doc__,
)
def kafka_supply_chain_pipeline() -> None:
    """Four steps in a row."""
    checked = task(check)()
    sent = task(outlets=[TOPIC])(produce)()
    written = task(outlets=[FILES])(consume)()
    checked >> sent >> written >> task(verify)()


kafka_supply_chain_pipeline()
