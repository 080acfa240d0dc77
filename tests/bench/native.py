"""The engine's functions that are there for the benchmark alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_core import _core

from .contestants import CSV_TO_KAFKA, KAFKA_TO_PARQUET, MONGO_TO_KAFKA, OBS_WORKER

if TYPE_CHECKING:
    from collections.abc import Callable

OF_COMMAND = {
    CSV_TO_KAFKA: "bench_produce",
    KAFKA_TO_PARQUET: "bench_consume",
    MONGO_TO_KAFKA: "bench_find",
    OBS_WORKER: "bench_transfer",
}
"""What a ceiling is measured with."""


def native(name: str) -> Callable[..., str]:
    """The function of the engine.

    Raises:
        RuntimeError: The wheel was built without it.
    """
    if not hasattr(_core, name):
        message = f"This wheel has no {name}: build it with the cargo feature 'failpoints'"
        raise RuntimeError(message)
    return getattr(_core, name)


def has_native(command: str) -> bool:
    """Whether the wheel can say what the ceiling of a command is."""
    return command not in OF_COMMAND or hasattr(_core, OF_COMMAND[command])
