"""The settings of the two sides are the same: every field, and every default, of the engine's structs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline_core.settings import PipelineSettings

pytestmark = pytest.mark.usefixtures("no_settings")

SRC = Path(__file__).parents[2] / "src"
SOURCES = {
    "bucket_to_kafka": "pipelines/bucket_to_kafka/config.rs",
    "csv_to_kafka": "pipelines/csv_to_kafka/config.rs",
    "kafka_to_parquet": "pipelines/kafka_to_parquet/config.rs",
    "obs_worker": "pipelines/obs_worker/config.rs",
    "read_batches": "pipelines/read_batches.rs",
    "verify": "pipelines/verify.rs",
    "walmart_to_kafka": "pipelines/walmart_to_kafka/config.rs",
    "walmart_to_mysql": "pipelines/walmart_to_mysql/config.rs",
}
BLOCKS = {"kafka": "Kafka", "mysql": "Mysql", "store": "Store", "walmart": "Walmart"}
# The engine leaves these empty and refuses it; here they are required.
REQUIRED = {"files": ["a.csv"], "to": "./lake"}

# What Python tells the engine of this machine.
MADE_HERE = {"parser_setup"}


def struct(path, name):
    """The fields of a struct and their defaults, as JSON has them."""
    text = (SRC / path).read_text(encoding="utf-8")
    body = re.search(rf"pub struct {name} {{(.*?)\n}}", text, re.DOTALL)
    defaults = re.search(rf"impl Default for {name} {{.*?Self {{(.*?)\n        }}", text, re.DOTALL)
    assert body, f"No struct {name} in {path}"
    assert defaults, f"No defaults of {name} in {path}"
    fields = re.findall(r"^\s*pub (\w+):", body[1], re.MULTILINE)
    values = {match[1]: match[2] for match in re.finditer(r"^\s*(\w+): (.*),$", defaults[1], re.MULTILINE)}
    assert len(fields) > 3
    assert set(values) == set(fields)
    return {field: value(values[field]) for field in fields if not values[field].endswith("::default()")}


def value(rust):
    """A default of Rust's as JSON has it."""
    known = {"None": None, "true": True, "false": False, "String::new()": "", "Vec::new()": []}
    if rust in known:
        return known[rust]
    if rust in {"HashMap::new()", "BTreeMap::new()"}:
        return {}
    if text := re.fullmatch(r"\"(.*)\"\.(?:to_owned|into)\(\)|'(.)'", rust):
        return text[1] or text[2]
    if some := re.fullmatch(r"Some\((.*)\)", rust):
        return value(some[1])
    if variant := re.fullmatch(r"\w+::(\w+)", rust):
        return variant[1].lower()
    assert re.fullmatch(r"[0-9_. *]+", rust), f"Cannot read the default {rust}"
    return eval(rust)


@pytest.mark.parametrize("pipeline", SOURCES)
def test_both_sides_have_the_same_fields_and_defaults(pipeline):
    config = PipelineSettings.registry[pipeline]
    given = {name: text for name, text in REQUIRED.items() if name in config.model_fields}
    document = json.loads(config(**given).document())
    blocks = {name: document.pop(name) for name in BLOCKS if name in document}
    engine = {**struct(SOURCES[pipeline], "Config"), **given}
    for name in MADE_HERE & document.keys():
        assert engine.pop(name) != document.pop(name)
    assert document == engine
    for name, block in blocks.items():
        assert block == struct("config.rs", BLOCKS[name])


def test_every_pipeline_is_compared():
    assert set(SOURCES) == set(PipelineSettings.registry)
