"""Fixtures of the Python tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SETTING_PREFIXES = ("AUTO_OFFSET", "AWS_", "CONSUMER_", "CSV_", "GCS_", "GOOGLE_", "KAFKA_", "OBS_", "STORAGE_")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder and an environment without any setting of ours."""
    for name in os.environ:
        is_ours = name.startswith("PIPELINE_CORE_") and not name.startswith("PIPELINE_CORE_TEST_")
        if is_ours or name.startswith(SETTING_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
