"""Programs that end right after their last await end well."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

PROGRAM = """
import asyncio, sys
from pipeline_core import EmbeddedKafka, csv_to_kafka

async def main():
    with EmbeddedKafka() as kafka:
        report = await csv_to_kafka.arun(files=sys.argv[1], topic="t", bootstrap_servers=kafka.bootstrap_servers)
        assert report.rows_written == 2, report

asyncio.run(main())
"""
PROGRAM_WITH_THE_BROKER_LEFT_OPEN = """
import asyncio, sys
from pipeline_core import EmbeddedKafka, csv_to_kafka

kafka = EmbeddedKafka()

async def main():
    await csv_to_kafka.arun(files=sys.argv[1], topic="t", bootstrap_servers=kafka.bootstrap_servers)

asyncio.run(main())
"""


@pytest.mark.parametrize(("program", "times"), [(PROGRAM, 100), (PROGRAM_WITH_THE_BROKER_LEFT_OPEN, 20)])
def test_programs_that_end_after_their_last_await_exit_with_0(tmp_path, program, times):
    csv = tmp_path / "orders.csv"
    csv.write_text("Order Id,City\n1,Bogotá\n2,São Paulo\n", encoding="utf-8")

    def run(_number):
        return subprocess.run(
            [sys.executable, "-c", program, csv], capture_output=True, text=True, timeout=120, check=False
        )

    with ThreadPoolExecutor(max_workers=4) as pool:
        ends = list(pool.map(run, range(times)))
    assert len(ends) == times
    bad = [(end.returncode, end.stderr) for end in ends if end.returncode != 0 or end.stderr]
    assert not bad, f"{len(bad)} of {times}: {bad[0]}"
