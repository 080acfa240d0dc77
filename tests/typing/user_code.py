"""What a user writes, as type checkers see it: `make lint` checks it with pyright and mypy, nothing runs it.

A mistake that a checker must see is marked with `type: ignore`; both say when there is nothing to ignore.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from typing_extensions import assert_type, override

import pipeline_core
from pipeline_core import (
    AsyncWalmartClient,
    CdcConsumer,
    KafkaProducer,
    Stop,
    TaskGenerator,
    WalmartClient,
    cdc_to_postgres,
    csv_to_kafka,
    dlq,
    kafka_to_parquet,
    obs_worker,
    parse_walmart_orders,
    read_batches,
    verify,
)
from pipeline_core.exceptions import PipelineError, RejectedError
from pipeline_core.report import PartitionReport, Report

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline_core.progress import Stats


def send(folder: Path) -> int:
    """Keyword arguments are checked one by one, and what a run gives is known."""
    report = csv_to_kafka.run(files=[str(path) for path in folder.glob("*.csv")], topic="orders", exactly_once=True)
    assert_type(report, Report)
    assert_type(report.details, dict[str, Any])
    csv_to_kafka.run(files="orders.csv", topik="orders")  # type: ignore[call-arg]
    csv_to_kafka.run(files="orders.csv", partitions="three")  # type: ignore[arg-type]
    return report.rows_written


def load(stop: Stop) -> None:
    """Settings made once, a run that is stopped from elsewhere, and its progress."""
    config = kafka_to_parquet.Config(topic="orders", to="s3://lake", flush_seconds=300)
    assert_type(config.to, str)

    def tell(stats: Stats) -> None:
        print(stats.rows_written, stats.share, stats.live.get("lag"))  # noqa: T201 - what a user does

    kafka_to_parquet.run(config, on_progress=tell, stop=stop)
    kafka_to_parquet.run(config, on_progress=print, stop=True)  # type: ignore[arg-type]


async def replicate() -> Report:
    """Awaited, as in a service."""
    report = await cdc_to_postgres.arun(topic="bf_employee_cdc", until="10m", target_database="warehouse")
    assert_type(report, Report)
    return report


def is_whole(place: str) -> bool:
    """What `verify` finds; functions of the package hide the modules of their names."""
    found = verify(place, topic="orders")
    assert_type(found.partitions, list[PartitionReport])
    assert_type(found.ok, bool)
    return pipeline_core.verify(place).ok and not found.problems


def count(topic: str) -> int:
    """Batches that any Arrow library takes."""
    return sum(batch.num_rows for batch in read_batches(topic, until="1000rows", typed=True))


def parse(input_path: Path, output_path: Path) -> dict[str, Any]:
    """A parser of `obs_worker`."""
    output_path.write_bytes(input_path.read_bytes())
    return {"size": output_path.stat().st_size}


def work() -> int:
    """A function as a parser, and the exceptions with what to do."""
    try:
        return obs_worker.run(parser=parse, until="end", processes=2).rows_rejected
    except RejectedError as error:
        assert_type(error.hint, str | None)
        return -1
    except PipelineError as error:
        if error.retryable:
            return work()
        raise


class Articles(KafkaProducer):
    """A producer with the hook of the original."""

    @override
    def transform(self, document: dict[str, Any]) -> dict[str, Any]:
        return {"uid": str(document["_id"])}


def publish(documents: list[dict[str, Any]]) -> None:
    """Each message is sent when the `with` ends."""
    with Articles("articles", {"acks": 1, "linger_ms": 1000}, bootstrap_servers="broker:9092") as producer:
        for document in documents:
            producer.send(document, key=str(document["_id"]))
            producer.send_message(document)


def tasks() -> list[str]:
    """The originals' classes."""
    with TaskGenerator(bucket="my-bucket") as generator:
        found = generator.generate_task_from_file_list(["data/1.csv"])
        generator.send_tasks_to_kafka(found)
    with CdcConsumer(group_id="replica") as consumer:
        consumer.consume(["bf_employee_cdc"])
    return [task["key"] for task in found]


def charges(page: bytes) -> Decimal:
    """Amounts are decimal."""
    orders = parse_walmart_orders(page, table="charge", errors="collect")
    parse_walmart_orders(page, table="charges")  # type: ignore[arg-type]
    return sum((row["chargeAmount"] for row in orders.to_pylist()), Decimal())


def fetch() -> list[str]:
    """Orders, one after the other."""
    with WalmartClient(account_tag="eForCity", walmart_token="in the environment, rather") as client:
        return [order["purchaseOrderId"] for order in client.orders("2026-01-01", "2026-01-02")]


async def fetch_later() -> list[str]:
    """The same, awaited."""
    async with AsyncWalmartClient() as client:
        return [order["purchaseOrderId"] async for order in client.orders("2026-01-01", "2026-01-02")]


def mend(topic: str) -> int:
    """Dead letters, looked at and sent again."""
    if not dlq.show(topic, since="2h").letters:
        return 0
    return dlq.replay(topic, reason="timeout").replayed
