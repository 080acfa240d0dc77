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
    wanted = [PACKAGE, *needed("airflow", PACKAGE)]
    recipe = "\n".join([*wanted, sys.base_prefix, sys.version])
    return installed("airflow", recipe, lambda folder: _build(folder, wanted))


def needed(extra: str, package: str) -> list[str]:
    """What the installed package asks for, and this extra of it beside the package that has a version of its own."""
    given = [Requirement(text) for text in distribution("pipeline-core").requires or []]
    wanted = [one for one in given if one.marker is None or one.marker.evaluate({"extra": extra})]
    return sorted(f"{one.name}{one.specifier}" for one in wanted if one.name != Requirement(package).name)


def _build(folder: Path, wanted: list[str]) -> None:
    # Its scripts name the folder that is renamed when all is there; its Python finds itself.
    run_tool(sys.executable, "-m", "venv", str(folder), directory=folder)
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip = ("-m", "pip", "install", "--quiet", "--only-binary=:all:")
    run_tool(str(folder / "bin" / "python"), *pip, *wanted, environment=quiet, directory=folder)
