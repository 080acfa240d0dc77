"""Files of a bucket, each through a parser: tasks on a topic, results in a bucket, a notice of each.

| task | what it does |
|---|---|
| `list_files` | sends a task for each file that is new or has changed since the last run |
| `process_files` | works off the tasks that are on the topic: download, parse, upload, notice |
| `report` | counts what was sent, done, given up and is still waiting |

`parser` is `default`, `csv`, `json`, `jsonl` or `module:factory` of your own, which Airflow's workers must be able to
import. More workers beside this one share the tasks, be they other runs or `pipeline-core obs-worker` in a shell.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import Asset, Param, dag, task

TASKS = Asset("file-processing-tasks", uri="kafka://kafka_default/file-processing-tasks")
NOTICES = Asset("file-processing-results", uri="kafka://kafka_default/file-processing-results")
RESULTS = Asset("processed_files")


def list_files(params: dict[str, Any]) -> dict[str, Any]:
    """Send a task for each file."""
    from pipeline_core.airflow import runs

    here = {name: params[name] for name in ("bucket", "prefix", "max_files", "scheme", "topic")}
    return runs.run("bucket_to_kafka", conn_ids=params["conn_ids"], **{**here, **params["list"]})


def process_files(params: dict[str, Any]) -> dict[str, Any]:
    """Work off the tasks; Airflow kills a task five seconds after it told it to end, so parsers have three."""
    from tempfile import TemporaryDirectory

    from pipeline_core.airflow import runs

    here = {name: params[name] for name in ("dest_bucket", "parser", "scheme", "topic", "group_id")}
    ours = {"source_bucket": params["bucket"], "auto_offset_reset": "earliest", "drain_seconds": 3, "until": "end"}
    with TemporaryDirectory(prefix="pipeline_core-") as folder:
        places = {"download_dir": f"{folder}/downloads", "upload_dir": f"{folder}/uploads"}
        settings = {**here, **ours, **places, **params["process"]}
        return runs.run("obs_worker", conn_ids=params["conn_ids"], **settings)


def report(listed: dict[str, Any], processed: dict[str, Any], params: dict[str, Any]) -> dict[str, int]:
    """Count what became of the files."""
    from pipeline_core.airflow import runs

    kafka = {"kafka": params["conn_ids"].get("kafka")}
    waiting = runs.lag(params["topic"], params["group_id"], conn_ids=kafka)
    return {
        "sent": listed["rows_written"],
        "succeeded": processed["rows_written"],
        "given_up": processed["rows_rejected"],
        "waiting": waiting["tasks"],
    }


@dag(
    dag_id="object_storage_files",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=6),
    },
    params={
        "bucket": Param(None, type=["null", "string"], description="Bucket of the files; OBS_SOURCE_BUCKET."),
        "prefix": Param("", type="string", description="Start of the keys."),
        "max_files": Param(1000, type="integer", minimum=1, description="Tasks of one run at most."),
        "dest_bucket": Param(None, type=["null", "string"], description="Bucket of the results; OBS_DEST_BUCKET."),
        "parser": Param("default", type="string", description="default, csv, json, jsonl or module:factory."),
        "scheme": Param("obs", enum=["obs", "s3", "gs", "file"], description="Where buckets without a scheme are."),
        "topic": Param("file-processing-tasks", type="string", description="Topic of the tasks."),
        "group_id": Param("obs-workers", type="string", description="Consumer group of the workers."),
        "conn_ids": Param({"kafka": "kafka_default"}, type="object", description="Connections by what they reach."),
        "list": Param({}, type="object", description="More settings of bucket_to_kafka."),
        "process": Param({}, type="object", description="More settings of obs_worker."),
    },
    tags=["pipeline_core", "kafka", "object storage"],
    doc_md=__doc__,
)
def object_storage_files() -> None:
    """List, process, report."""
    listed = task(outlets=[TASKS])(list_files)()
    processed = task(outlets=[RESULTS, NOTICES])(process_files)()
    listed >> processed
    task(report)(listed, processed)


object_storage_files()
