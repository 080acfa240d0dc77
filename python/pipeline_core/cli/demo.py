"""`demo`: the main job from end to end, on an embedded broker unless a Kafka is configured."""

import math
import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline_core import csv_to_kafka, embedded, kafka_to_parquet, sample_data
from pipeline_core.cli.bar import Bar
from pipeline_core.cli.output import JsonOption, LogFormatOption, LogLevelOption, Output
from pipeline_core.cli.sample import write
from pipeline_core.config import KafkaSettings
from pipeline_core.exceptions import AccessDeniedError, InternalError
from pipeline_core.report import Report, VerifyReport
from pipeline_core.units import seconds_text
from pipeline_core.verify import verify

# A row of the sample is 1.6 KB of JSON; keys, headers and the uneven spread of keys come on top.
_ROW_BYTES = 1_750
_FILL = 0.6
_MIB = 2**20
_EXTERNAL_PARTITIONS = 3

_EPILOG = """
[bold]Examples[/bold]

pipeline-core demo

pipeline-core demo --to ./demo-data --rows 50000

KAFKA_BOOTSTRAP_SERVERS=localhost:9092 pipeline-core demo      [dim]# on that Kafka instead[/dim]
"""

_EMBEDDED = """\
No KAFKA_BOOTSTRAP_SERVERS is set, so this uses librdkafka's broker inside this process.
It keeps about {size} a partition and forgets everything on exit."""

_SUMMARY = """
{rows_in:,} rows in the CSV, {rows_out:,} rows in Parquet, each exactly once, in {seconds}.
  CSV      {csv}
  Parquet  {files} in {folder}
  Topic    {topic}, {partitions} partitions, on {broker}

Read them with whichever you have:
  import pyarrow.dataset; print(pyarrow.dataset.dataset("{folder}").to_table().num_rows)
  import polars; print(polars.read_parquet("{folder}/*.parquet"))
  import duckdb; print(duckdb.sql("FROM '{folder}/*.parquet'"))
"""


@dataclass(frozen=True)
class Done:
    """What a demo did."""

    csv: Path
    folder: Path
    topic: str
    broker: str
    partitions: int
    seconds: float
    sent: Report
    written: Report
    verified: VerifyReport


def add_to(app: typer.Typer) -> None:
    """Put `demo` into the application."""
    app.command("demo", epilog=_EPILOG)(demo)


def demo(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Folder for the files; a temporary one without it.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many rows.")] = sample_data.ROWS,
    *,
    json: JsonOption = False,
    log_level: LogLevelOption = "warning",
    log_format: LogFormatOption = "text",
) -> None:
    """Send an invented CSV through Kafka into Parquet files and verify them; needs no service."""
    output = Output(json, log_level, log_format)
    with output.exit_codes():
        done = _run(to, rows, output)
        output.result(_summary(done), _data(done))
        if not done.verified.ok or done.verified.rows != rows:
            message = "\n".join([f"{done.verified.rows or 0:,} of {rows:,} rows arrived", *done.verified.problems])
            raise InternalError(message, "Run it again with --log-level debug.")


def _run(to: Path | None, rows: int, output: Output) -> Done:
    began = time.monotonic()
    folder = _fresh_folder(to)
    csv = folder / "orders.csv"
    write(csv, rows)
    # A new topic and group each time, so that an earlier demo on the same Kafka is not in the way.
    topic = f"pipeline-core-demo-{folder.name}"
    with _kafka(rows, output) as (address, partitions):
        shared: dict[str, Any] = {"topic": topic, **address}
        with Bar("csv-to-kafka", output.console) as bar:
            sent = csv_to_kafka.run(files=csv, partitions=partitions, exactly_once=False, on_progress=bar, **shared)
        with Bar("kafka-to-parquet", output.console) as bar:
            written = kafka_to_parquet.run(to=folder, group_id=topic, until="end", on_progress=bar, **shared)
        verified = verify(folder, **shared)
        broker = "the embedded broker" if address else KafkaSettings().bootstrap_servers
    return Done(csv, folder, topic, broker, partitions, time.monotonic() - began, sent, written, verified)


@contextmanager
def _kafka(rows: int, output: Output) -> Generator[tuple[dict[str, Any], int]]:
    """How to reach the Kafka to use, and how many partitions the topic needs there."""
    if "bootstrap_servers" in KafkaSettings.found():
        yield {}, _EXTERNAL_PARTITIONS
        return
    if not output.json:
        typer.echo(_EMBEDDED.format(size=f"{embedded.PARTITION_BYTES / _MIB:.0f} MiB"), err=True)
    plain: dict[str, Any] = dict.fromkeys(KafkaSettings.model_fields)
    partitions = max(_EXTERNAL_PARTITIONS, math.ceil(rows * _ROW_BYTES / (embedded.PARTITION_BYTES * _FILL)))
    with embedded.EmbeddedKafka() as kafka:
        yield {**plain, "properties": {}, "bootstrap_servers": kafka.bootstrap_servers}, partitions


def _fresh_folder(to: Path | None) -> Path:
    stamp = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{os.getpid()}"
    base = to or Path(tempfile.gettempdir()) / "pipeline-core-demo"
    folder = base / stamp
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        message = f"{folder} could not be made: {error.strerror}"
        raise AccessDeniedError(message, "Give a folder of yours with --to.") from None
    return folder


def _summary(done: Done) -> str:
    parquet = done.folder / "raw_streaming"
    count = done.verified.objects
    return _SUMMARY.format(
        rows_in=done.sent.rows_read,
        rows_out=done.verified.rows or 0,
        seconds=seconds_text(done.seconds),
        csv=done.csv,
        files=f"{count} file{'s' if count != 1 else ''}",
        folder=parquet,
        topic=done.topic,
        broker=done.broker,
        partitions=done.partitions,
    ).strip()


def _data(done: Done) -> dict[str, Any]:
    return {
        "csv": str(done.csv),
        "folder": str(done.folder),
        "topic": done.topic,
        "seconds": round(done.seconds, 3),
        "csv_to_kafka": done.sent.to_dict(),
        "kafka_to_parquet": done.written.to_dict(),
        "verify": done.verified.to_dict(),
    }
