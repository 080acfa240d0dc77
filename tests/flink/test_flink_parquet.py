"""Topics of JSON through Flink into Parquet: typed rows, a function of one's own, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from tests.flink.flinks import Flink, Submitted
from tests.python.support import orders, topics
from tests.python.support.order_columns import Rules

from pipeline_core import validate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.kafka import Kafka

COLUMNS = {"id": "int64", "name": "string", "price": "float64", "is_new": "boolean", "made": "timestamp"}
PARSER = "import json\n\n\ndef rows(value):\n    return [{'id': number} for number in json.loads(value)]\n"


def document(number: int) -> dict[str, Any]:
    """A message that is a row; three fields are not as their column, but can be read so."""
    return {
        "id": str(number) if number % 2 else number,
        "name": {"first": "Zoë"} if number % 5 == 0 else f"name {number}",
        "price": number / 4,
        "is_new": number % 3 == 0,
        "made": f"2026-11-22T10:{number % 60:02}:00.25+02:00",
        "left out": 1,
    }


def row(number: int) -> dict[str, Any]:
    """What becomes of it."""
    return {
        "id": number,
        "name": '{"first":"Zoë"}' if number % 5 == 0 else f"name {number}",
        "price": number / 4,
        "is_new": number % 3 == 0,
        "made": datetime.fromisoformat(f"2026-11-22T08:{number % 60:02}:00.250"),
    }


def read(lake: Path) -> list[dict[str, Any]]:
    """All rows of the files that are whole."""
    return [row for path in sorted(lake.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def flags(kafka: Kafka, tmp_path: Path) -> dict[str, Any]:
    """What a job is told."""
    topic = kafka.new_topic(2)
    return {
        "bootstrap_servers": kafka.bootstrap,
        "topic": topic,
        "group_id": topic,
        "to": tmp_path / "lake",
        "checkpoint_seconds": 1,
    }


def test_messages_become_rows_of_typed_columns_that_validate_reads(flink: Flink, kafka, flags, tmp_path) -> None:
    bad = [b"{", b"[1]", None, b'{"id": "1.5"}', b'{"id": 1, "made": "soon"}']
    topics.send(kafka, flags["topic"], [json.dumps(document(number)).encode() for number in range(500)])
    topics.send(kafka, flags["topic"], [*bad, b"{}"], partition=1)
    flink.succeed(tmp_path, "run parquet", columns=COLUMNS, until="end", **flags)

    found = read(flags["to"])
    places = {(one.pop("topic"), one.pop("partition"), one.pop("offset")) for one in found}
    assert places == {(flags["topic"], 0, number) for number in range(500)} | {(flags["topic"], 1, len(bad))}
    assert sorted((one for one in found if one["id"] is not None), key=lambda one: one["id"]) == [*map(row, range(500))]
    assert [one for one in found if one["id"] is None] == [dict.fromkeys(COLUMNS)]

    letters = topics.messages(kafka, f"{flags['topic']}_dlq")
    reasons = {letter.value: letter.headers["__connect.errors.exception.message"] for letter in letters}
    assert reasons.keys() == set(bad)
    assert reasons[b"[1]"] == "$: The value is JSON, but not an object"
    assert reasons[b'{"id": "1.5"}'] == "$.id: It is no int64"
    assert reasons[b'{"id": 1, "made": "soon"}'] == "$.made: It is no timestamp"

    report = validate(flags["to"], unique=["partition", "offset"], column_types={"id": "int64", "made": "timestamp"})
    assert report.ok, report
    assert report.rows == len(found)


def test_orders_become_rows_by_our_own_parser(flink: Flink, kafka, flags, tmp_path) -> None:
    sent = orders.sample()[:200]
    topics.send(kafka, flags["topic"], [*sent, b'{"purchaseOrderId":"none"}'])
    columns = {
        "purchaseOrderId": "int64",
        "lineNumber": "int64",
        "chargeAmount": "string",
        "orderDate_formatted": "timestamp",
    }
    flink.succeed(
        tmp_path, "run parquet", columns=columns, parser="pipeline_core:parse_walmart_order", until="end", **flags
    )
    expected = Rules().all_tables(sent)["order"]
    wanted = Counter(
        (line["purchaseOrderId"], line["lineNumber"], str(line["chargeAmount"]), line["orderDate_formatted"])
        for line in expected
    )
    assert Counter(tuple(one[name] for name in columns) for one in read(flags["to"])) == wanted
    [letter] = topics.messages(kafka, f"{flags['topic']}_dlq")
    assert "$.purchaseOrderId" in letter.headers["__connect.errors.exception.message"]


def test_a_function_of_ones_own_in_a_cluster_whose_machine_is_killed(
    flink: Flink, cluster, kafka, flags, tmp_path
) -> None:
    """Each message is in the files once: they are whole at the checkpoint that its offset is in."""
    (flink.site / "parser_of_tests.py").write_text(PARSER)
    given = {**flags, "columns": {"id": "int64"}, "parser": "parser_of_tests:rows", "jobmanager": cluster.rest}
    numbers = [[number, number + 1] for number in range(0, 6000, 2)]
    report = flink.succeed(tmp_path, "submit parquet", parallelism=2, **given)
    job = Submitted(cluster, report["job_id"])
    job.wait_until_running()

    def feed(batch: list[list[int]]) -> None:
        for partition in (0, 1):
            topics.send(kafka, flags["topic"], [json.dumps(one).encode() for one in batch[partition::2]], partition)

    feed(numbers[:1500])
    job.wait_until(lambda: read(flags["to"]), "a file is whole")
    job.lose(cluster.busy()[0])
    feed(numbers[1500:])
    job.wait_until(lambda: len(read(flags["to"])) >= 6000, "all rows are in whole files")
    job.stop()
    assert sorted(one["id"] for one in read(flags["to"])) == list(range(6000))
