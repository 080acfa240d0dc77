"""Flink for the tests: installed once, with our package put beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.airflow.airflows import put_package
from tests.conftest import _skipped_if_unavailable
from tests.flink.flinks import Flink
from tests.services.flink import Cluster, install_flink

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Flink:
    """The environment that Flink runs in."""
    with _skipped_if_unavailable():
        folder = install_flink()
    site = tmp_path_factory.mktemp("flink") / "site"
    put_package(site)
    return Flink(folder, site)


@pytest.fixture
def cluster(flink: Flink) -> Iterator[Cluster]:
    """A job manager and two task managers with a slot each."""
    with Cluster(flink.folder, flink.environment) as running:
        yield running
