"""Fixtures for the programs that check files for us; one that cannot be installed skips its tests, but not in CI."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.architecture.tree import ROOT
from tests.deploy.checkers import command
from tests.services.install import ServiceUnavailableError
from tests.services.prometheus import Prometheus, promtool, start_prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Check = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def _skipped_if_unavailable() -> Iterator[None]:
    try:
        yield
    except ServiceUnavailableError as missing:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            raise
        pytest.skip(str(missing))


@pytest.fixture
def check() -> Check:
    """Runs a program of `checkers.py`, or promtool, in the root of the checkout."""

    def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        with _skipped_if_unavailable():
            if name == "promtool":
                program, environment = promtool()
                words = [str(program)]
            else:
                words, environment = command(name), None
        return subprocess.run(
            [*words, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def prometheus() -> Iterator[Callable[[str], Prometheus]]:
    """Starts a Prometheus with the text of a settings file."""
    started: list[Prometheus] = []

    def start(settings: str) -> Prometheus:
        with _skipped_if_unavailable():
            started.append(start_prometheus(settings))
        return started[-1]

    yield start
    for server in started:
        server.server.close()
