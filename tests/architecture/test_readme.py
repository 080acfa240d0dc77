"""README and CONTRIBUTING name what is there: files, tests, commands, flags, settings and make targets."""

from __future__ import annotations

import re
import shlex
from itertools import chain

import pytest
import typer
from tests.architecture.tree import ROOT

from pipeline_core import kafka_to_parquet
from pipeline_core.cli import app
from pipeline_core.layers import PREFIX, variables
from pipeline_core.settings import PipelineSettings

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = {"README.md": README, "CONTRIBUTING.md": CONTRIBUTING}

# Flags of other programs' commands in the text.
FLAGS_OF_OTHERS = {"--features", "--bootstrap-server", "--from-beginning", "--property"}
OURS = re.compile(
    r"(?:PIPELINE_CORE|KAFKA|AWS|OBS|GCS|GOOGLE|CSV|CONSUMER|AUTO|STORAGE|CLEANUP|DBC|DEST|FILE|MAX|MYSQL|POOL|SINGLE"
    r"|SOURCE|WALMART)_[A-Z_0-9]*[A-Z0-9]"
)
OF_TESTS = {f"{PREFIX}FAULT"}
# A parser reads them in its own process.
OF_PARSERS = {"DBC_FILE", "DBC_FORMAT"}


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def command_lines() -> list[list[str]]:
    """What README says to type after `pipeline-core`, without the variables before it."""
    shell = "\n".join(blocks("sh")).replace("\\\n", " ")
    inline = re.findall(r"`(pipeline-core [a-z-][^`]*)`", prose(README))
    lines = [*shell.splitlines(), *inline]
    found = [line.split("pipeline-core ", maxsplit=1)[1] for line in lines if "pipeline-core " in line]
    return [shlex.split(line, comments=True) for line in found]


def resolved(words: list[str]) -> tuple[object, list[str]]:
    """The command that the words name, and what is left of them."""
    command: object = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def flags(command: object) -> set[str]:
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def every_flag(command: object) -> set[str]:
    """The flags of a command and of those below it."""
    below = getattr(command, "commands", {}).values()
    return flags(command).union(*(every_flag(other) for other in below))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page):
    linked = re.findall(r"\]\((?!https?://)([^)#]+)\)", PAGES[page])
    paths = re.findall(r"`((?:src|tests|python|deploy)/[\w./-]*)`", prose(PAGES[page]))
    assert len([*linked, *paths]) > 5
    assert not [path for path in (*linked, *paths) if not (ROOT / path).exists()]


def test_every_promise_names_the_test_that_shows_it():
    rows = README.split("## What is promised", maxsplit=1)[1].split("##", maxsplit=1)[0].strip().splitlines()[2:]
    assert len(rows) > 8
    assert not [row for row in rows if not re.search(r"`tests/\w+/\w+\.(?:py|rs)` \|$", row)]


def test_every_command_in_the_readme_is_one():
    lines = command_lines()
    assert len(lines) > 10
    assert {words[0] for words in lines} >= {"csv-to-kafka", "kafka-to-parquet", "verify", "check", "config"}
    for words in lines:
        command, rest = resolved(words)
        is_whole = not getattr(command, "commands", {}) or getattr(command, "invoke_without_command", False)
        assert is_whole or rest == ["--install-completion"], words
        unknown = {word for word in rest if word.startswith("--")} - flags(command)
        assert not unknown, (words, unknown)


def test_every_flag_in_the_text_is_one():
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose(README))) - FLAGS_OF_OTHERS
    assert len(named) > 20
    assert not named - every_flag(typer.main.get_command(app))


def test_the_table_of_the_environment_is_whole():
    fields = chain.from_iterable(config.model_fields.items() for config in PipelineSettings.registry.values())
    known = {variable.name for name, field in fields for variable in variables(name, field)}
    named = {name for name in known if not name.startswith(PREFIX)}
    table = set(OURS.findall(README.split("## Settings", maxsplit=1)[1].split("## ", maxsplit=1)[0]))
    assert len(named) > 25
    assert named <= table
    everywhere = set(OURS.findall(README + CONTRIBUTING)) - OF_TESTS - OF_PARSERS - {f"{PREFIX}CONFIG_FILE"}
    assert not everywhere - known


def test_the_settings_file_is_taken(tmp_path, monkeypatch):
    (text,) = blocks("toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    (tmp_path / "pipeline.toml").write_text(text)
    config = kafka_to_parquet.Config(config_file="pipeline.toml", security_protocol="SSL")
    assert config.bootstrap_servers == "broker-1:9092,broker-2:9092"
    assert (config.flush_seconds, config.partition_by) == (300, ["date=%F"])


def test_the_python_compiles():
    snippets = blocks("python")
    assert len(snippets) >= 2
    for snippet in snippets:
        compile(snippet, "README.md", "exec")


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_is_one(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", PAGES[page], re.MULTILINE))
    assert {"demo", "bench"} <= named
    assert not named - targets


def test_the_measured_table_has_its_place():
    begin, end = README.index("<!-- bench:begin -->"), README.index("<!-- bench:end -->")
    assert README.index("## Measured") < begin < end < README.index("## Limits")


def test_the_changelog_has_an_entry_to_come():
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_the_licence_is_the_one_that_is_declared():
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
