"""README, docs/ and CONTRIBUTING name what is there: files, tests, commands, flags, settings, modules and make targets.

`tests/python/test_documents.py` runs the commands and snippets; what it only parses is parsed here, as all the others.
"""

from __future__ import annotations

import ast
import importlib
import re
from itertools import chain

import pytest
import typer
from tests.architecture.pages import CHINESE, PAGES, README, blocks, command_lines, every_flag, flags, prose, resolved
from tests.architecture.tree import ENGINE, PACKAGE, ROOT, files

from pipeline_core.cli import application
from pipeline_core.layers import PREFIX, variables
from pipeline_core.plan import Plan
from pipeline_core.settings import PipelineSettings

OTHERS = ("CONTRIBUTING.md", "SECURITY.md")
TEXTS = {**PAGES, **{name: (ROOT / name).read_text() for name in OTHERS}}
LINKED = [page for page in TEXTS if "](" in TEXTS[page]]
MADE = [page for page in TEXTS if re.search(r"\bmake [a-z]", TEXTS[page])]
TYPED = [page for page in PAGES if command_lines(page)]

# Flags of other programs' commands in the text.
FLAGS_OF_OTHERS = {"--bootstrap-server", "--build-arg", "--features", "--from-beginning", "--now", "--property"}
OURS = re.compile(
    r"(?<![A-Z_])(?:PIPELINE_CORE|KAFKA|AWS|OBS|GCS|GOOGLE|CSV|CONSUMER|AUTO|STORAGE|CLEANUP|DBC|DEST|FILE|FLINK|MAX|MONGODB|MYSQL|POOL"
    r"|SINGLE|SOURCE|TARGET|WALMART)_[A-Z_0-9]*[A-Z0-9]"
)
OF_TESTS = {f"{PREFIX}FAULT"}
# A parser reads them in its own process.
OF_PARSERS = {"DBC_FILE", "DBC_FORMAT"}
FAILURES = "| you see | it means | do |\n|---|---|---|\n"


def anchors(text: str) -> set[str]:
    """What the headings of a page are linked by."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def is_there(module: str, name: str) -> bool:
    """Whether a module has a name; what needs Airflow is read, not imported."""
    if not module.startswith("pipeline_core.airflow"):
        return hasattr(importlib.import_module(module), name)
    file = PACKAGE.parent / f"{module.replace('.', '/')}.py"
    return bool(re.search(rf"^(?:class|def) {name}\b", file.read_text(), re.MULTILINE))


def test_every_metric_stands_in_the_table():
    table = set(re.findall(r"`((?:pipeline_core|process)_[a-z_]+)`", PAGES["docs/monitoring.md"]))
    known = set(re.findall(r'"((?:pipeline_core|process)_[a-z_]+)"', (ENGINE / "metrics" / "text.rs").read_text()))
    assert len(known) > 10
    assert table == known


def flat(text: str) -> str:
    """A source as one line, with strings that go over several lines in one piece."""
    return re.sub(r"\\?\n\s*", "", re.sub(r'"\n\s*f?"', "", text))


@pytest.mark.parametrize("page", LINKED)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", prose(TEXTS[page]))
    assert links
    for path, anchor in links:
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), f"{page} links to {path}"
        assert not anchor or anchor in anchors(target.read_text()), f"{page} links to {path}#{anchor}"


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_that_is_named_is_there(page):
    paths = re.findall(r"`((?:src|tests|python|deploy|dags|notebooks|docs)/[\w./-]*)`", prose(TEXTS[page]))
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_files_are_named_in_the_pages():
    assert len(re.findall(r"`tests/[\w./-]*`", prose(TEXTS[README]))) > 20


@pytest.mark.parametrize("page", [README, CHINESE])
def test_every_promise_names_the_test_that_shows_it(page):
    begin, end = (f"<!-- --8<-- [{edge}:promises] -->" for edge in ("start", "end"))
    rows = PAGES[page].split(begin, maxsplit=1)[1].split(end, maxsplit=1)[0].strip().splitlines()[2:]
    assert len(rows) > 8
    assert not [row for row in rows if not re.search(r"`tests/\w+/\w+\.(?:py|rs)` \|$", row)]


def test_both_readmes_have_the_same_blocks():
    assert [(block.language, block.text) for block in blocks(CHINESE)] == [
        (block.language, block.text) for block in blocks(README)
    ]


def test_both_readmes_show_the_same_promises():
    shown = [re.findall(r"`(tests/\w+/\w+\.(?:py|rs))`", prose(PAGES[page])) for page in (README, CHINESE)]
    assert shown[0] == shown[1]


def test_the_chinese_readme_measures_what_the_other_measures():
    table = PAGES[CHINESE].split("## 实测", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    numbers = re.findall(r"\d[\d,.]*\d", table)
    assert len(numbers) > 20
    assert not [number for number in numbers if number not in PAGES[README]]


@pytest.mark.parametrize("page", TYPED)
def test_every_command_in_the_pages_is_one(page):
    for words in command_lines(page):
        command, rest = resolved(words)
        is_whole = not getattr(command, "commands", {}) or getattr(command, "invoke_without_command", False)
        assert is_whole or rest in ([], ["--install-completion"]), words
        unknown = {word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)} - flags(command)
        assert not unknown, (words, unknown)


def test_commands_are_found_in_the_pages():
    named = {words[0] for page in TYPED for words in command_lines(page)}
    assert named >= {name for name in typer.main.get_command(application()).commands if "-to-" in name}
    assert named >= {"verify", "check", "config", "dlq", "init-db", "obs-worker"}


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_in_the_text_is_one(page):
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])", prose(PAGES[page])))
    assert not named - FLAGS_OF_OTHERS - every_flag(typer.main.get_command(application()))


def test_every_pipeline_has_a_page_of_the_same_parts():
    parts = ["When to use it", "How to run it", "What it promises", "When something is wrong", "Limits", "All settings"]
    names = {name for name in PipelineSettings.registry if (PACKAGE / f"{name}.py").exists()} - {"dlq", "verify"}
    names = {name for name in names if "_to_" in name or name == "obs_worker"}
    assert len(names) >= 10
    for name in names:
        text = PAGES[f"docs/pipelines/{name.replace('_', '-')}.md"]
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == parts
        assert f"<!-- settings: {name} -->" in text


def test_what_a_user_sees_is_what_the_program_says():
    """The words in the failure tables stand in the sources, so that a search finds them."""
    said = "\n".join(flat(path.read_text()) for path in files("src", "python") if path.suffix in {".rs", ".py"})
    cells = [
        row.split(" | ")[0]
        for page in PAGES
        if page.startswith("docs/")
        for table in PAGES[page].split(FAILURES)[1:]
        for row in table.split("\n\n")[0].splitlines()
    ]
    assert len(cells) > 50
    words = [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
    quoted = [word for word in words if re.match(r"[A-Za-z]+ |.*:// needs", word) and not word.startswith("init-db ")]
    assert len(quoted) > 40
    assert not [word for word in quoted if word not in said]


def test_the_tables_of_the_environment_are_whole():
    fields = chain.from_iterable(config.model_fields.items() for config in PipelineSettings.registry.values())
    known = {variable.name for name, field in fields for variable in variables(name, field)}
    named = {name for name in known if not name.startswith(PREFIX)}
    table = set(OURS.findall(PAGES["docs/settings.md"]))
    assert len(named) > 25
    assert named <= table
    everywhere = set(OURS.findall("\n".join(TEXTS.values()))) - OF_TESTS - OF_PARSERS - {f"{PREFIX}CONFIG_FILE"}
    assert not everywhere - known


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")])
def test_every_settings_file_is_taken(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    for name, value in {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "me", "SASL_PASSWORD": "mine"}.items():
        monkeypatch.setenv(f"KAFKA_{name}", value)
    for block in blocks(page, "toml"):
        assert block.file_name
        (tmp_path / block.file_name).write_text(block.text)
        if "[pipelines." in block.text:
            assert Plan.from_file(block.file_name).jobs
            continue
        tables = {name.split(".")[0] for name in re.findall(r"^\[([\w.]+)\]", block.text, re.MULTILINE)}
        pipelines = [PipelineSettings.registry[name] for name in tables if name in PipelineSettings.registry]
        assert pipelines
        for config in pipelines:
            found = config.found(config_file=block.file_name)
            assert any(block.file_name in value.origin for value in found.values())
            config(config_file=block.file_name)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_compiles_and_imports_what_there_is(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block.text, str(block))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline_core"):
                strangers = [alias.name for alias in node.names if not is_there(node.module or "", alias.name)]
                assert not strangers, str(block)


@pytest.mark.parametrize("page", MADE)
def test_every_make_target_is_one(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXTS[page], re.MULTILINE))
    assert {"demo", "bench"} <= targets
    assert not named - targets


def test_the_measured_table_has_its_place():
    text = PAGES[README]
    begin, end = text.index("<!-- bench:begin -->"), text.index("<!-- bench:end -->")
    assert text.index("## Measured") < begin < end < text.index("## Limits")


def test_the_changelog_has_an_entry_to_come():
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()


def test_the_licence_is_the_one_that_is_declared():
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
