"""The engine's two functions that are there for the benchmark alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_core import _core

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("bench_produce", "bench_consume")


def native(name: str) -> Callable[..., str]:
    """The function of the engine.

    Raises:
        RuntimeError: The wheel was built without it.
    """
    if not hasattr(_core, name):
        message = f"This wheel has no {name}: build it with the cargo feature 'failpoints'"
        raise RuntimeError(message)
    return getattr(_core, name)


def has_natives() -> bool:
    """Whether the wheel can say what the ceilings are."""
    return all(hasattr(_core, name) for name in NAMES)
