"""A child that forked after the engine was used is told so, and never hangs."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from pipeline_core import EmbeddedKafka, csv_to_kafka, kafka_to_parquet, read_batches, verify

kafka = EmbeddedKafka()
where = dict(topic="t", bootstrap_servers=kafka.bootstrap_servers)
csv_to_kafka.run(files=sys.argv[1], **where)
calls = {{
    "csv_to_kafka": lambda: csv_to_kafka.run(files=sys.argv[1], **where),
    "kafka_to_parquet": lambda: kafka_to_parquet.run(to=sys.argv[2], until="end", **where),
    "verify": lambda: verify(sys.argv[2], **where),
    "read_batches": lambda: read_batches(**where),
    "EmbeddedKafka": lambda: kafka.create_topic("u", 1),
}}
if os.fork() == 0:
    signal.alarm(5)
    try:
        calls["{call}"]()
    except RuntimeError as error:
        print(error, flush=True)
        os._exit(7)
    os._exit(8)
_, status = os.wait()
assert os.waitstatus_to_exitcode(status) == 7, status
"""

INHERITED = """
import os, sys
from pipeline_core import EmbeddedKafka

kafka = EmbeddedKafka()
if os.fork() == 0:
    sys.exit(0)
_, status = os.wait()
assert os.waitstatus_to_exitcode(status) == 0, status
"""


@pytest.mark.parametrize("call", ["csv_to_kafka", "kafka_to_parquet", "verify", "read_batches", "EmbeddedKafka"])
def test_after_a_fork_the_child_gets_a_runtime_error_that_says_what_to_do(tmp_path, call):
    csv = tmp_path / "orders.csv"
    csv.write_text("Order Id\n1\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM.format(call=call), csv, tmp_path / "lake"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fork" in done.stdout


def test_a_child_that_inherits_an_embedded_broker_ends_in_silence():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", INHERITED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
