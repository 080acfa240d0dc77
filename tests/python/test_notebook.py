"""In a notebook: the interrupt button drains a run, and the kernel lives on."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest
from jupyter_client.manager import start_new_kernel

from pipeline_core import csv_to_kafka, sample_data, verify

BLOCKING = """
from pipeline_core import kafka_to_parquet
kafka_to_parquet.run(**settings, on_progress=lambda stats: print(stats.rows_read))
"""
AWAITED = BLOCKING.replace("kafka_to_parquet.run", "await kafka_to_parquet.arun")


@contextmanager
def kernel():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(client, seconds=60):
    """What the kernel prints, piece by piece."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        message = client.get_iopub_msg(timeout=seconds)
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            yield message["content"]["text"]


def replied(client, request, seconds=60):
    """What the kernel answers to a request; a kernel that starts slowly has more than one answer to tell before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        reply = client.get_shell_msg(timeout=seconds)
        if reply["parent_header"]["msg_id"] == request:
            return reply["content"]
    raise TimeoutError(request)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("cell", [BLOCKING, AWAITED], ids=["run", "await arun"])
def test_the_interrupt_button_drains_a_run_and_the_kernel_lives_on(kafka, topic, tmp_path, cell):
    csv, lake = tmp_path / "orders.csv", tmp_path / "lake"
    sample_data.write(csv, 2000)
    csv_to_kafka.run(files=str(csv), topic=topic, bootstrap_servers=kafka.bootstrap)
    settings = {"topic": topic, "group_id": topic, "to": str(lake), "bootstrap_servers": kafka.bootstrap}
    with kernel() as (manager, client):
        request = client.execute(f"settings = {settings!r}\n{cell}")
        assert any("2000" in text for text in printed(client)), "All rows are read before the interrupt"
        began = time.monotonic()
        manager.interrupt_kernel()
        reply = replied(client, request)
        assert time.monotonic() - began < 10
        assert reply["status"] == "error"
        assert reply["ename"] in {"KeyboardInterrupt", "CancelledError"}
        client.execute("print(1 + 1)")
        assert any(text.strip() == "2" for text in printed(client))
    found = verify(str(lake), topic=topic, bootstrap_servers=kafka.bootstrap)
    assert found.ok, found
    assert found.rows == 2000
