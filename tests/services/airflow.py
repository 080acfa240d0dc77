"""Airflow, in a Python environment of its own, with what our package needs; the tests put the package beside it."""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from .install import installed, run_tool

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "apache-airflow==3.3.2"


def install_airflow() -> Path:
    """The folder of the environment."""
    needed = [PACKAGE, *_needed()]
    recipe = "\n".join([*needed, sys.base_prefix, sys.version])
    return installed("airflow", recipe, lambda folder: _build(folder, needed))


def _needed() -> list[str]:
    """What the installed package asks for, and its extra for Airflow."""
    given = [Requirement(text) for text in distribution("pipeline-core").requires or []]
    wanted = [one for one in given if one.marker is None or one.marker.evaluate({"extra": "airflow"})]
    return sorted(f"{one.name}{one.specifier}" for one in wanted if one.name != "apache-airflow")


def _build(folder: Path, needed: list[str]) -> None:
    # Its scripts name the folder that is renamed when all is there; its Python finds itself.
    run_tool(sys.executable, "-m", "venv", str(folder), directory=folder)
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip = ("-m", "pip", "install", "--quiet", "--only-binary=:all:")
    run_tool(str(folder / "bin" / "python"), *pip, *needed, environment=quiet, directory=folder)
