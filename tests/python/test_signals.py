"""SIGINT and SIGTERM: a run drains within ten seconds, loses nothing and ends with the right exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from pipeline_core import csv_to_kafka, read_batches, sample_data, verify

DRAIN_SECONDS = 10
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

# Tells its counts on stdout; ends as Python ends it, but for Ctrl-C, whose own exit code would be that of a signal.
PROGRAM = """
import asyncio, json, sys
from pipeline_core import {pipeline} as pipeline

settings = json.loads(sys.argv[1])

def tell(stats):
    print(stats.rows_read, flush=True)

async def main():
    await pipeline.arun(on_progress=tell, **settings)

try:
    {call}
except KeyboardInterrupt:
    sys.exit(130)
"""
CALLS = {"blocking": "pipeline.run(on_progress=tell, **settings)", "asyncio": "asyncio.run(main())"}


@contextmanager
def running(command):
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def program(pipeline, call, settings):
    return [sys.executable, "-c", PROGRAM.format(pipeline=pipeline, call=CALLS[call]), json.dumps(settings)]


def wait_for_rows(process, rows):
    for line in process.stdout:
        if int(line) >= rows:
            return int(line)
    message = f"It ended early: {process.stderr.read()}"
    raise AssertionError(message)


def end(process, number):
    """Signal it; its exit code, and how long it took."""
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode, time.monotonic() - began


def rows_on(kafka, topic):
    return sum(batch.num_rows for batch in read_batches(topic, bootstrap_servers=kafka.bootstrap))


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("call", CALLS)
def test_a_stopped_csv_to_kafka_has_delivered_what_it_read(kafka, topic, tmp_path, call, number):
    csv = tmp_path / "orders.csv"
    sample_data.write(csv, 5000)
    settings = {"files": str(csv), "topic": topic, "rate": 200, "bootstrap_servers": kafka.bootstrap}
    with running(program("csv_to_kafka", call, settings)) as process:
        read = wait_for_rows(process, 50)
        code, seconds = end(process, number)
    assert code == CODES[number]
    assert seconds < DRAIN_SECONDS
    assert read <= rows_on(kafka, topic) < 5000


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("call", CALLS)
def test_a_stopped_kafka_to_parquet_has_written_and_committed_what_it_read(kafka, topic, tmp_path, call, number):
    csv, lake = tmp_path / "orders.csv", tmp_path / "lake"
    sample_data.write(csv, 2000)
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    csv_to_kafka.run(files=csv, **where)
    # No trigger but the signal would write a file.
    settings = {**where, "to": str(lake), "group_id": topic, "until": "stopped", "flush_seconds": 3600}
    with running(program("kafka_to_parquet", call, settings)) as process:
        wait_for_rows(process, 2000)
        code, seconds = end(process, number)
    assert code == CODES[number]
    assert seconds < DRAIN_SECONDS
    report = verify(lake, **where)
    assert report.ok, report
    assert report.rows == 2000


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_the_command_line_drains_and_exits_as_a_signalled_program_does(kafka, topic, tmp_path, number):
    csv, lake = tmp_path / "orders.csv", tmp_path / "lake"
    sample_data.write(csv, 500)
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    csv_to_kafka.run(files=csv, **where)
    options = ["--topic", topic, "--to", str(lake), "--group-id", topic, "--flush-rows", "500"]
    command = [sys.executable, "-m", "pipeline_core", "kafka-to-parquet", *options]
    with running([*command, "--bootstrap-servers", kafka.bootstrap]) as process:
        deadline = time.monotonic() + 60
        while not list(lake.rglob("*.parquet")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        code, seconds = end(process, number)
    assert code == CODES[number]
    assert seconds < DRAIN_SECONDS
    assert verify(lake, **where).rows == 500


def test_a_second_interrupt_does_not_wait_for_the_drain(tmp_path):
    csv = tmp_path / "orders.csv"
    sample_data.write(csv, 100)
    # Nothing listens there, so a drain would wait for deliveries that never come.
    settings = {"files": str(csv), "topic": "t", "bootstrap_servers": "127.0.0.1:1"}
    with running(program("csv_to_kafka", "blocking", settings)) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        code, seconds = end(process, signal.SIGINT)
    assert code in {1, 130}
    assert seconds < DRAIN_SECONDS
