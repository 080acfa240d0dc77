"""Fixtures of the Python tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.python.support.children import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder and an environment without any setting of ours."""
    for name in os.environ:
        is_of_tests = name.startswith("PIPELINE_CORE_TEST_")
        if name.startswith(SETTINGS) and not is_of_tests:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
