"""Where the servers' programs are kept, and how they get there once: under a lock, built aside, renamed into place."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping


class ServiceUnavailableError(Exception):
    """A server cannot be had on this machine; the message says what is missing."""


def cache_folder() -> Path:
    """The folder of the installed programs, shared by all checkouts of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PIPELINE_CORE_CACHE") or Path(base) / "pipeline_core") / "services"


def installed(name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """The folder that `build` filled, now or earlier: one for each `recipe`, whole or not there at all."""
    cache = cache_folder()
    folder = cache / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:10]}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{name}.lock"):
        if not folder.is_dir():
            aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
            try:
                build(aside)
                aside.rename(folder)
            except BaseException:
                shutil.rmtree(aside)
                raise
    return folder


def run_tool(program: str, *arguments: str, environment: Mapping[str, str] | None = None, directory: Path) -> str:
    """Run an installer; what it printed. Raises `ServiceUnavailableError` when it is not there or fails."""
    found = shutil.which(program)
    if found is None:
        msg = f"The program '{program}' is needed to install a test server, and is not there"
        raise ServiceUnavailableError(msg)
    done = subprocess.run(
        [found, *arguments],
        env={**os.environ, **(environment or {})},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"'{program} {' '.join(arguments)}' failed with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}"
        raise ServiceUnavailableError(msg)
    return done.stdout


@contextmanager
def _locked(path: Path) -> Generator[None, None, None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
