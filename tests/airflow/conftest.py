"""Airflow for the tests: installed once, with a metadata database that is made once in a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.airflow.airflows import Airflow, new_database
from tests.conftest import _skipped_if_unavailable
from tests.services.airflow import install_airflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def airflow_program() -> Path:
    """The Python of Airflow's environment."""
    with _skipped_if_unavailable():
        return install_airflow() / "bin" / "python"


@pytest.fixture(scope="session")
def airflow_database(airflow_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A metadata database, to be copied."""
    return new_database(airflow_program, tmp_path_factory.mktemp("metadata"))


@pytest.fixture(scope="module")
def airflow(
    airflow_program: Path, airflow_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    """A running Airflow, one for each file: a supervisor must not fork where a pipeline has run."""
    with Airflow(airflow_program, tmp_path_factory.mktemp("airflow"), airflow_database) as running:
        yield running
