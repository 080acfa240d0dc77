"""docs/ becomes a site without a warning, and its tables of settings hold all settings."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.architecture.pages import PAGES
from tests.architecture.tree import ROOT

from pipeline_core.settings import PipelineSettings

if TYPE_CHECKING:
    from pathlib import Path

# The theme's makers tell of a successor at each build.
QUIET = {"NO_MKDOCS_2_WARNING": "1"}

OWN = re.compile(r"^## All settings\n\n<!-- settings: (\w+) -->$", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def text(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_page_is_there(site):
    pages = [name.removeprefix("docs/").removesuffix(".md") for name in PAGES if name.startswith("docs/")]
    assert len(pages) > 20
    assert not [page for page in pages if page != "index" and not (site / page / "index.html").is_file()]


def test_every_setting_stands_in_a_table(site):
    shared = "".join(text(site / page / "index.html") for page in ("settings", "monitoring"))
    assert "flush_rows" not in shared
    own = [(page, OWN.search(PAGES[page])) for page in PAGES]
    pages = [(page, match[1]) for page, match in own if match]
    assert len(pages) > 10
    for page, name in pages:
        found = text(site / page.removeprefix("docs/").removesuffix(".md") / "index.html").split("All settings")[-1]
        fields = PipelineSettings.registry[name].model_fields
        assert not [field for field in fields if field not in found and field not in shared]


def test_pictures_and_signatures_are_drawn(site):
    assert (site / "exactly-once" / "index.html").read_text().count('class="mermaid"') > 5
    api = text(site / "api" / "index.html")
    assert "read_batches(" in re.sub(r"\s", "", api)
    assert "RejectedError" in api


def test_what_readme_holds_is_in_the_site(site):
    assert "tests/python/test_kill_sink.py" in text(site / "promises" / "index.html")
    assert "kafka_to_parquet" in text(site / "measured" / "index.html")
