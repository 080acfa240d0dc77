"""Moves data between files, object stores and Kafka: nothing is lost, nothing arrives twice.

```python
from pipeline_core import csv_to_kafka, kafka_to_parquet, read_batches, verify

csv_to_kafka.run(files="orders.csv", topic="orders")
kafka_to_parquet.run(topic="orders", to="./lake", until="end")
assert verify("./lake", topic="orders").ok
```
"""

from pipeline_core import bucket_to_kafka, csv_to_kafka, exceptions, kafka_to_parquet, obs_worker
from pipeline_core._core import Stop, __version__
from pipeline_core.embedded import EmbeddedKafka
from pipeline_core.read_batches import read_batches
from pipeline_core.task_generator import TaskGenerator
from pipeline_core.verify import verify

__all__ = [
    "EmbeddedKafka",
    "Stop",
    "TaskGenerator",
    "__version__",
    "bucket_to_kafka",
    "csv_to_kafka",
    "exceptions",
    "kafka_to_parquet",
    "obs_worker",
    "read_batches",
    "verify",
]
