"""The parsers of the races; of the standard library alone, for they start cold in processes of their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = 490_000
"""About 20 ms of a core."""


def linking() -> Callable[[Path, Path], None]:
    """Make a parser that computes nothing: the result is the file itself."""
    return os.link


def computing() -> Callable[[Path, Path], None]:
    """Make a parser that computes in pure Python."""
    return compute


def compute(file: Path, result: Path) -> None:
    """Keep a core busy, then give the file itself as the result."""
    total = 0
    for step in range(STEPS):
        total = (total * 31 + step) & 0xFFFF
    os.link(file, result)
