"""Debian's packages, unpacked into a folder: nobody need be root, and no package starts a server of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .install import run_tool
from .process import remove_folder, temporary_folder

if TYPE_CHECKING:
    from pathlib import Path


def unpack(package: str, installation: Path) -> None:
    """Unpack a package and the libraries that the machine lacks.

    apt keeps its lists in a folder of ours: so they are fresh, whatever the machine's are, and nobody need be root.
    """
    folder = temporary_folder("debian")
    for name in ("lists/partial", "cache/archives/partial", "packages"):
        (folder / name).mkdir(parents=True)
    places = [f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}/cache"]
    lean = ["Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]
    unprivileged = ["Debug::NoLocking=true", "APT::Sandbox::User=root"]
    options = [word for option in (*places, *lean, *unprivileged) for word in ("-o", option)]

    def apt_get(*arguments: str) -> str:
        return run_tool("apt-get", *options, *arguments, environment={"LC_ALL": "C"}, directory=folder / "packages")

    apt_get("update")
    plan = apt_get("--simulate", "--no-install-recommends", "install", package)
    apt_get("download", *(line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")))
    for archive in sorted((folder / "packages").glob("*.deb")):
        run_tool("dpkg-deb", "--extract", str(archive), str(installation), directory=folder)
    remove_folder(folder)


def libraries(installation: Path) -> dict[str, str]:
    """The environment in which an unpacked program finds the libraries that were unpacked with it."""
    folders = [str(folder) for lib in ("usr/lib", "lib") for folder in installation.glob(f"{lib}/*-linux-gnu*")]
    before = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": os.pathsep.join([*folders, *([before] if before else [])])} if folders else {}
