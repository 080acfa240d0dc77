"""The demo, from end to end, on the embedded broker."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("no_settings")


def demo(*options):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline_core", "demo", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_demo_brings_every_row_into_parquet_and_can_be_run_again(no_settings):
    ds = pytest.importorskip("pyarrow.dataset")
    for run in (1, 2):
        told = json.loads(demo("--to", "demo-data", "--json").stdout.splitlines()[-1])
        assert told["csv_to_kafka"]["rows_read"] == 20_000
        assert told["verify"]["ok"]
        table = ds.dataset(f"{told['folder']}/raw_streaming").to_table()
        assert table.num_rows == 20_000
        assert len(set(table["Order Item Id"].to_pylist())) == 20_000
        assert any("ã" in city for city in table["Order City"].to_pylist())
        assert len(list((no_settings / "demo-data").iterdir())) == run


def test_the_demo_says_what_it_did_and_how_to_read_it():
    done = demo("--to", "demo-data", "--rows", "500")
    assert "500 rows in the CSV, 500 rows in Parquet, each exactly once" in done.stdout
    assert "forgets everything on exit" in done.stderr
    reading = [line.strip() for line in done.stdout.splitlines()[-3:]]
    assert [line.split(";")[0] for line in reading] == ["import pyarrow.dataset", "import polars", "import duckdb"]
    for line, module in zip(reading, ["pyarrow.dataset", "polars", "duckdb"], strict=True):
        pytest.importorskip(module)
        read = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, timeout=60, check=True)
        assert "500" in read.stdout
