"""Moves data between files, object stores, APIs, Kafka and databases: nothing is lost, nothing arrives twice.

```python
from pipeline_core import csv_to_kafka, kafka_to_parquet, read_batches, verify

csv_to_kafka.run(files="orders.csv", topic="orders")
kafka_to_parquet.run(topic="orders", to="./lake", until="end")
assert verify("./lake", topic="orders").ok
```
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from pipeline_core._core import Stop, __version__

if TYPE_CHECKING:
    from pipeline_core import (
        bucket_to_kafka,
        cdc_to_postgres,
        csv_to_kafka,
        dlq,
        exceptions,
        flink,
        kafka_to_parquet,
        mongo_to_kafka,
        mysql_to_mysql,
        obs_worker,
        postgres_to_kafka,
        walmart_to_kafka,
        walmart_to_mysql,
    )
    from pipeline_core.cdc_consumer import CdcConsumer
    from pipeline_core.embedded import EmbeddedKafka
    from pipeline_core.kafka_producer import KafkaProducer
    from pipeline_core.progress_bar import ProgressBar
    from pipeline_core.read_batches import read_batches
    from pipeline_core.task_generator import TaskGenerator
    from pipeline_core.validate import read_parquet, validate
    from pipeline_core.verify import verify
    from pipeline_core.walmart_client import AsyncWalmartClient, WalmartClient
    from pipeline_core.walmart_orders import WalmartOrders, parse_walmart_order, parse_walmart_orders

__all__ = [
    "AsyncWalmartClient",
    "CdcConsumer",
    "EmbeddedKafka",
    "KafkaProducer",
    "ProgressBar",
    "Stop",
    "TaskGenerator",
    "WalmartClient",
    "WalmartOrders",
    "__version__",
    "bucket_to_kafka",
    "cdc_to_postgres",
    "csv_to_kafka",
    "dlq",
    "exceptions",
    "flink",
    "kafka_to_parquet",
    "mongo_to_kafka",
    "mysql_to_mysql",
    "obs_worker",
    "parse_walmart_order",
    "parse_walmart_orders",
    "postgres_to_kafka",
    "read_batches",
    "read_parquet",
    "validate",
    "verify",
    "walmart_to_kafka",
    "walmart_to_mysql",
]

# Where a name is defined that is no module of its own. All is imported when it is first used: a DAG file that only
# imports the package is parsed every half a minute.
_DEFINED_IN = {
    "AsyncWalmartClient": "walmart_client",
    "CdcConsumer": "cdc_consumer",
    "EmbeddedKafka": "embedded",
    "KafkaProducer": "kafka_producer",
    "ProgressBar": "progress_bar",
    "TaskGenerator": "task_generator",
    "WalmartClient": "walmart_client",
    "WalmartOrders": "walmart_orders",
    "parse_walmart_order": "walmart_orders",
    "parse_walmart_orders": "walmart_orders",
    "read_batches": "read_batches",
    "read_parquet": "validate",
    "validate": "validate",
    "verify": "verify",
}


class _Package(ModuleType):
    """This package, in which a function hides the module of its own name."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _DEFINED_IN.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not TYPE_CHECKING:  # or a checker takes any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        module = import_module(f"{__name__}.{_DEFINED_IN.get(name, name)}")
        value = getattr(module, name) if name in _DEFINED_IN else module
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
