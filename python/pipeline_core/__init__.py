"""Moves data between files, object stores, APIs, Kafka and databases: nothing is lost, nothing arrives twice.

```python
from pipeline_core import csv_to_kafka, kafka_to_parquet, read_batches, verify

csv_to_kafka.run(files="orders.csv", topic="orders")
kafka_to_parquet.run(topic="orders", to="./lake", until="end")
assert verify("./lake", topic="orders").ok
```
"""

from pipeline_core import (
    bucket_to_kafka,
    csv_to_kafka,
    exceptions,
    kafka_to_parquet,
    obs_worker,
    walmart_to_kafka,
    walmart_to_mysql,
)
from pipeline_core._core import Stop, __version__
from pipeline_core.embedded import EmbeddedKafka
from pipeline_core.read_batches import read_batches
from pipeline_core.task_generator import TaskGenerator
from pipeline_core.verify import verify
from pipeline_core.walmart_client import AsyncWalmartClient, WalmartClient
from pipeline_core.walmart_orders import WalmartOrders, parse_walmart_order, parse_walmart_orders

__all__ = [
    "AsyncWalmartClient",
    "EmbeddedKafka",
    "Stop",
    "TaskGenerator",
    "WalmartClient",
    "WalmartOrders",
    "__version__",
    "bucket_to_kafka",
    "csv_to_kafka",
    "exceptions",
    "kafka_to_parquet",
    "obs_worker",
    "parse_walmart_order",
    "parse_walmart_orders",
    "read_batches",
    "verify",
    "walmart_to_kafka",
    "walmart_to_mysql",
]
