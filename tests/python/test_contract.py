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
    "cdc_to_postgres": "pipelines/cdc_to_postgres/config.rs",
    "csv_to_kafka": "pipelines/csv_to_kafka/config.rs",
    "dlq": "pipelines/dlq/config.rs",
    "kafka_to_parquet": "pipelines/kafka_to_parquet/config.rs",
    "mongo_to_kafka": "pipelines/mongo_to_kafka/config.rs",
    "mysql_to_mysql": "pipelines/mysql_to_mysql/config.rs",
    "obs_worker": "pipelines/obs_worker/config.rs",
    "postgres_to_kafka": "pipelines/postgres_to_kafka/config.rs",
    "read_batches": "pipelines/read_batches.rs",
    "verify": "pipelines/verify.rs",
    "walmart_to_kafka": "pipelines/walmart_to_kafka/config.rs",
    "walmart_to_mysql": "pipelines/walmart_to_mysql/config.rs",
}
BLOCKS = {"kafka", "mapping", "metrics", "mongodb", "mysql", "source", "store", "target", "walmart"}
# The engine leaves these empty and refuses it; here they are required.
REQUIRED = {"files": ["a.csv"], "to": "./lake", "topic": "t"}

# It reads files by itself.
WITHOUT_ENGINE = {"flink_parquet", "flink_walmart", "validate"}

# What Python tells the engine of this machine.
MADE_HERE = {"parser_setup"}


def struct(path, name):
    """The fields of a struct and their defaults, as JSON has them."""
    text = (SRC / path).read_text(encoding="utf-8")
    body = re.search(rf"pub struct {name} {{(.*?)\n}}", text, re.DOTALL)
    defaults = re.search(rf"impl Default for {name} {{.*?\n        Self {{(.*?)(?:\n        | )}}\n", text, re.DOTALL)
    assert body, f"No struct {name} in {path}"
    assert defaults, f"No defaults of {name} in {path}"
    fields = re.findall(r"^\s*pub (\w+):", body[1], re.MULTILINE)
    lines = re.sub(r"vec!\[\n.*?\]", lambda items: " ".join(items[0].split()), defaults[1], flags=re.DOTALL)
    if "\n" not in lines:
        lines = lines.replace(", ", ",\n") + ","
    values = {match[1]: match[2] for match in re.finditer(r"^\s*(\w+): (.*),$", lines, re.MULTILINE)}
    assert len(fields) >= 3
    assert set(values) == set(fields)
    return {field: value(values[field]) for field in fields if field not in BLOCKS}


def block(path, name):
    """The defaults of a shared block, with what a pipeline has otherwise: `Postgres { port: 5433, ..`."""
    text = (SRC / path).read_text(encoding="utf-8")
    kind = re.search(rf"^\s*pub {name}: (\w+),", text, re.MULTILINE)
    assert kind, f"No block {name} in {path}"
    own = re.search(rf"^\s*{name}: {kind[1]} {{ (.*), \.\.", text, re.MULTILINE)
    pairs = [pair.split(": ") for pair in own[1].split(", ")] if own else []
    return {**struct("config.rs", kind[1]), **{field: value(text) for field, text in pairs}}


def listed(rust):
    """A list of Rust's, of texts or of columns, as JSON has it."""
    columns = re.findall(r"column\(\"(.*?)\", \"(.*?)\", \"(.*?)\", (\w+)\)", rust)
    if not columns:
        return [value(item) for item in rust[len("vec![") : -1].split(", ")]
    names = ("name", "type", "field", "required")
    return [{"aliases": [], **dict(zip(names, [*texts, value(last)], strict=True))} for *texts, last in columns]


def value(rust):
    """A default of Rust's as JSON has it."""
    known = {"None": None, "true": True, "false": False, "String::new()": "", "Vec::new()": []}
    known |= {"HashMap::new()": {}, "BTreeMap::new()": {}}
    if rust in known:
        return known[rust]
    if text := re.fullmatch(r"\"(.*)\"\.(?:to_owned|into)\(\)|'(.)'", rust):
        return text[1] or text[2]
    if rust.startswith("vec!["):
        return listed(rust)
    if some := re.fullmatch(r"Some\((.*)\)", rust):
        return value(some[1])
    if variant := re.fullmatch(r"\w+::(\w+)", rust):
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", variant[1]).lower()
    assert re.fullmatch(r"[0-9_. *]+", rust), f"Cannot read the default {rust}"
    return eval(rust)


@pytest.mark.parametrize("pipeline", SOURCES)
def test_both_sides_have_the_same_fields_and_defaults(pipeline):
    config = PipelineSettings.registry[pipeline]
    given = {name: REQUIRED[name] for name, field in config.model_fields.items() if field.is_required()}
    document = json.loads(config(**given).document())
    blocks = {name: document.pop(name) for name in BLOCKS if name in document}
    engine = {**struct(SOURCES[pipeline], "Config"), **given}
    for name in MADE_HERE & document.keys():
        assert engine.pop(name) != document.pop(name)
    assert document == engine
    for name, values in blocks.items():
        assert values == block(SOURCES[pipeline], name)


def test_every_pipeline_is_compared():
    assert set(SOURCES) == set(PipelineSettings.registry) - WITHOUT_ENGINE
