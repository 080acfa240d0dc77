"""Files are short, finished, and name no machine."""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING

import pytest
from tests.architecture.tree import ENGINE, files, named, rust

if TYPE_CHECKING:
    from pathlib import Path

CEILING = 700
MEDIAN = 150
PREFACE = 6

# Names that say nothing about what is in a file.
EMPTY_NAMES = {
    "common",
    "core",
    "handler",
    "handlers",
    "helper",
    "helpers",
    "manager",
    "misc",
    "types",
    "utils",
    "util",
}

# In two parts each, so that this file does not hold what it looks for.
UNFINISHED = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
HOSTS = [
    "crates" + ".io",
    "docker" + ".io",
    "files.python" + "hosted",
    "gh" + "cr.io",
    "proxy.go" + "lang",
    "py" + "pi.org",
    "quay" + ".io",
    "registry.n" + "pmjs",
    "repo.maven" + ".apache",
    "repo1" + ".maven",
    "sum.go" + "lang",
]
MACHINE_PATHS = re.compile(r"(?<![\w.~}])/(?:root|work|Users|home)/[\w.]|/tmp/(?!pipeline_core)\w")

# Generated: what resolved where is the lock's business.
LOCKS = {"Cargo.lock"}

TRACKED = [path for path in files() if path.name not in LOCKS]
LINED = {
    "the engine": files("src", ending=".rs"),
    "the package": files("python", ending=".py") + files("python", ending=".pyi"),
    "the tests": files("tests", ending=".py") + files("tests", ending=".rs"),
}


def length(path: Path) -> int:
    return len(path.read_text().splitlines())


def texts():
    """Every tracked file that is text."""
    for path in TRACKED:
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def found(pattern: str | re.Pattern[str]) -> list[str]:
    return [
        f"{named(path)}:{number}: {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(pattern, line)
    ]


def test_the_tree_is_seen():
    assert len(TRACKED) > 100
    assert len(list(texts())) > 100
    assert found(r"^# The commands of the README"), "a pattern that is there is found"


@pytest.mark.parametrize("part", LINED)
def test_no_file_is_longer_than_a_reader_bears(part):
    paths = LINED[part]
    assert len(paths) > 20
    assert not {named(path): length(path) for path in paths if length(path) > CEILING}


@pytest.mark.parametrize("part", LINED)
def test_most_files_are_read_at_a_glance(part):
    assert len(LINED[part]) > 20
    assert median(map(length, LINED[part])) <= MEDIAN


@pytest.mark.parametrize("part", LINED)
def test_files_are_named_after_what_is_in_them(part):
    names = {path.stem.strip("_") for path in LINED[part]} - {"core"}  # `_core` is the built module
    assert len(names) > 10
    assert not names & EMPTY_NAMES
    assert not [named(path) for path in LINED[part] if path.name == "core.rs"]


def test_every_file_of_the_engine_says_first_what_it_is_for():
    wrong = []
    for path in LINED["the engine"]:
        preface = [line for line in path.read_text().splitlines() if line.startswith("//!")]
        is_map = path == ENGINE / "lib.rs"
        if not preface or (len(preface) > PREFACE and not is_map):
            wrong.append(f"{named(path)}: {len(preface)} lines")
    assert not wrong


@pytest.mark.parametrize("word", ["todo!", "unimplemented!", "dbg!", "unwrap()"])
def test_the_engine_is_finished_and_does_not_panic(word):
    assert any(".collect()" in rust(path) for path in LINED["the engine"])
    assert not [named(path) for path in LINED["the engine"] if word in rust(path)]


@pytest.mark.parametrize("word", UNFINISHED)
def test_nothing_is_left_for_later(word):
    assert not found(rf"\b{word}\b")


@pytest.mark.parametrize("host", HOSTS)
def test_no_package_registry_is_named(host):
    assert not found(re.escape(host))


def test_no_path_of_a_machine_is_named():
    assert MACHINE_PATHS.search("see /ro" + "ot/.x")
    assert MACHINE_PATHS.search("/tm" + "p/venv-x")
    assert not found(MACHINE_PATHS)
