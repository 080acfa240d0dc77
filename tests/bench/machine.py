"""What the numbers were taken on, and with."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import confluent_kafka
import psutil

ROOT = Path(__file__).parents[2]
GIB = 1024**3
PACKAGES = (
    *("pipeline_core", "boto3", "confluent-kafka", "kafka-python", "obstore", "orjson", "pandas", "polars", "psycopg"),
    *("pyarrow", "pydantic", "pymongo", "PyMySQL", "pysimdjson"),
)


def machine() -> dict[str, str]:
    """The machine, in words."""
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "memory": f"{psutil.virtual_memory().total / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """The versions of everything that takes part."""
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    found["librdkafka of confluent-kafka"] = confluent_kafka.libversion()[0]
    found["librdkafka of pipeline_core"] = _our_librdkafka()
    return found


def _cpu_model() -> str:
    models = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return models[0] if models else platform.machine()


def _our_librdkafka() -> str:
    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    locked = re.search(r'name = "rdkafka-sys"\nversion = "[^"+]+\+([^"]+)"', lock)
    return locked[1] if locked else "unknown"
