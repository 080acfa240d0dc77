"""In the engine, dependencies point one way, and each foreign system is named in one room only."""

from __future__ import annotations

import re

import pytest
from tests.architecture.tree import ENGINE, ROOT, files, named, room, rust

BASE = {"config", "error", "fault", "retry", "stats"}
SYSTEMS = {"kafka", "store", "process", "sql", "mongo", "walmart"}

# Who may use whom. Rooms on one line of the house never use each other.
MAY_USE = {
    "error": set(),
    "fault": set(),
    "config": {"error"},
    "retry": {"error"},
    "stats": {"error"},
    "metrics": {"config", "error", "stats"},
    "flow": BASE,
    "decode": {"config", "error"},  # pure: bytes in, values out
    **{system: {"flow", *BASE} for system in SYSTEMS},
    "pipelines": {*SYSTEMS, "decode", "flow", "metrics", *BASE},
    "python": {"pipelines", *SYSTEMS, "decode", "flow", "metrics", *BASE},
}

# What several pipelines use and is none.
SHARED = {"buckets", "loading"}

# Crates that one room alone names.
HOMES = {
    "hyper": "metrics",
    "mongodb": "mongo",
    "object_store": "store",
    "parquet": "store",
    "pyo3": "python",
    "quick_xml": "store",
    "rdkafka": "kafka",
    "reqwest": "walmart",
    "rustix": "process",
    "rustls": "sql",
    "sqlx": "sql",
}

SOURCES = files("src", ending=".rs")


def test_there_are_sources():
    assert len(SOURCES) > 40


def test_every_room_has_its_place_in_the_table():
    rooms = {room(path) for path in SOURCES} - {"lib"}
    assert rooms >= {"flow", "decode", "kafka", "store", "pipelines", "python"}
    assert rooms == set(MAY_USE)


def test_dependencies_point_one_way():
    seen = 0
    wrong = []
    for path in SOURCES:
        for used in re.findall(r"\bcrate::(\w+|\{)", rust(path)):
            seen += 1
            if used != room(path) and used not in MAY_USE.get(room(path), set()):
                wrong.append(f"{named(path)} uses crate::{used}")
    assert seen > 100
    assert not wrong


def test_a_room_is_left_by_crate_and_not_by_super():
    doors = [*ENGINE.glob("*.rs"), *ENGINE.glob("*/mod.rs")]
    assert len(doors) > 10
    assert not [named(path) for path in doors if re.search(r"^(pub )?use super::", rust(path), re.MULTILINE)]
    assert not [named(path) for path in SOURCES if "super::super" in rust(path)]


def test_pipelines_never_use_each_other():
    pipelines = ENGINE / "pipelines"
    rooms = [path.name for path in pipelines.iterdir() if path.is_dir()]
    assert len(rooms) >= 2
    checked = 0
    wrong = []
    for path in files("src/pipelines", ending=".rs"):
        # `check` and the trial of dead letters are there to look at all of them.
        if path.stem in {"check", *SHARED} or path == pipelines / "dlq" / "trial.rs" or path == pipelines / "mod.rs":
            continue
        checked += 1
        code = rust(path)
        others = [other for other in re.findall(r"\bpipelines::(\w+)", code) if other not in SHARED]
        if path.parent == pipelines or path.name == "mod.rs":
            others += re.findall(r"\bsuper::(\w+)", code)
        own = path.relative_to(pipelines).parts[0].removesuffix(".rs")
        wrong += [f"{named(path)} uses {other}" for other in others if other != own]
    assert checked > 5
    assert not wrong


@pytest.mark.parametrize("crate", HOMES)
def test_a_foreign_system_is_named_in_its_room_only(crate):
    is_used = re.search(rf"^{crate.replace('_', '[-_]')} = ", (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    named_in = {room(path) for path in SOURCES if re.search(rf"\b{crate}::", rust(path))}
    assert named_in == ({HOMES[crate]} if is_used else set())


def test_the_map_is_only_a_map():
    code = rust(ENGINE / "lib.rs")
    assert len((ENGINE / "lib.rs").read_text().splitlines()) <= 40
    statements = [line for line in code.splitlines() if line]
    assert len(statements) > 8
    assert not [line for line in statements if not re.fullmatch(r"(pub )?mod \w+;|#\[cfg\(feature = \)\]", line)]


def test_the_plain_build_has_no_python_in_it():
    manifest = (ROOT / "Cargo.toml").read_text()
    assert re.search(r"^pyo3 = .*optional = true", manifest, re.MULTILINE)
    assert not re.search(r"^default = ", manifest, re.MULTILINE)
    assert re.search(r'#\[cfg\(feature = "python"\)\]\nmod python;', (ENGINE / "lib.rs").read_text())
