"""pipeline_core with one parser process or two, else as it comes."""

from __future__ import annotations

from tests.bench.children import peak_of_children
from tests.bench.task import WorkTask, perform

from pipeline_core import obs_worker


def config(task: WorkTask) -> obs_worker.Config:
    """The settings: where and what, and how many processes."""
    return obs_worker.Config(
        bootstrap_servers=task.servers,
        topic=task.topic,
        result_topic=task.result_topic,
        group_id=task.group,
        auto_offset_reset="earliest",
        scheme="s3",
        s3_endpoint=task.store.url,
        s3_region=task.store.region,
        s3_access_key_id=task.store.key,
        s3_secret_access_key=task.store.secret,
        allow_http=True,
        source_bucket=task.bucket,
        dest_bucket=task.dest_bucket,
        output_suffix=task.suffix,
        download_dir=f"{task.scratch}/downloads",
        upload_dir=f"{task.scratch}/uploads",
        processes=task.processes,
        parser=f"tests.bench.obs_worker.parsers:{task.parser}",
        until="end",
    )


def work(task: WorkTask) -> dict[str, float]:
    """Work off the topic."""
    with peak_of_children() as children:
        report = obs_worker.run(config(task))
    return {"rows": report.rows_written, "engine_seconds": report.seconds, "children_peak_bytes": children.bytes}


if __name__ == "__main__":
    perform(WorkTask, work)
