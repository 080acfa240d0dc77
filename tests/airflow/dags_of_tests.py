"""DAGs of operators and sensors, for the tests."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from pipeline_core.airflow.operators import CheckOperator, PipelineOperator, VerifyOperator
from pipeline_core.airflow.sensors import LagSensor

CONN_IDS = {"kafka": "{{ params.kafka }}"}
TOPIC = {"topic": "{{ params.topic }}"}
GROUP = {"group_id": "{{ params.group_id }}"}
READ = {"files": "{{ params.files }}", "rate": "{{ params.rate }}", **TOPIC}
SENT = {**READ, "exactly_once": True, "resume": True, "transaction_seconds": 3600}
WRITTEN = {"to": "{{ params.to }}", **TOPIC}

DEFAULT_ARGS = {"retries": 2, "retry_delay": timedelta(days=1), "conn_ids": CONN_IDS}
PARAMS = {"files": "", "group_id": "g", "kafka": "kafka", "rate": 1_000_000, "to": "", "topic": ""}

with DAG("operators", schedule=None, params=PARAMS, default_args=DEFAULT_ARGS):
    checked = CheckOperator(task_id="check", pipeline="csv_to_kafka", settings=READ)
    sent = PipelineOperator(task_id="send", pipeline="csv_to_kafka", settings=SENT)
    waited = LagSensor(task_id="wait", **TOPIC, **GROUP, at_least=1, poke_interval=0.2)
    written = PipelineOperator(
        task_id="write", pipeline="kafka-to-parquet", settings={**WRITTEN, **GROUP, "until": "end"}
    )
    drained = LagSensor(task_id="drained", **TOPIC, **GROUP, at_most=0)
    compared = VerifyOperator(task_id="compare", settings=WRITTEN)
    checked >> sent >> waited >> written >> drained >> compared

with DAG("waiting", schedule=None, params=PARAMS, default_args=DEFAULT_ARGS):
    LagSensor(task_id="wait", **TOPIC, **GROUP, at_least=3, deferrable=True, poke_interval=0.2)
