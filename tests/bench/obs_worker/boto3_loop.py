"""boto3, one file after the other, in memory: the program that everybody writes first."""

from __future__ import annotations

from tests.bench.obs_worker.clients import desk, s3_client
from tests.bench.task import WorkTask, perform

BATCH = 100


def work(task: WorkTask) -> None:
    """Work off the topic; offsets are committed every hundred files."""
    s3 = s3_client(task.store, 1)
    with desk(task) as there:
        for batch in there.batches(BATCH):
            for one in batch:
                body = s3.get_object(Bucket=one["bucket"], Key=one["key"])["Body"].read()
                s3.put_object(Bucket=one["dest_bucket"], Key=there.dest_key(one), Body=body)
                there.notify(one, len(body), len(body))


if __name__ == "__main__":
    perform(WorkTask, work)
