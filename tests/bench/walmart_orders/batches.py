"""Orders batch by batch, and the clock around the parsing alone."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.task import ParseTask

BATCH = 5_000
"""As many as the loader takes at a time."""

Rows = TypeVar("Rows")


class Stopwatch:
    """Seconds and CPU seconds of what is done `with` it, added up."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun[0]
        self.cpu_seconds += time.process_time() - self._begun[1]

    def said(self) -> dict[str, float]:
        """What replaces the clock of `perform`."""
        return {"seconds": self.seconds, "work_cpu_seconds": self.cpu_seconds}


def batches(documents: str, size: int) -> Iterator[list[bytes]]:
    """The orders of a file, so many at a time."""
    with Path(documents).open("rb") as lines:
        while batch := [line.rstrip(b"\n") for line in islice(lines, size)]:
            yield batch


def parsed(
    task: ParseTask, parse: Callable[[list[bytes]], Rows], count: Callable[[Rows], dict[str, int]], size: int = BATCH
) -> dict[str, Any]:
    """What parsing took, and what `count` found in the rows of all batches; a batch is gone when the next comes."""
    watch, found = Stopwatch(), dict[str, int]()
    for batch in batches(task.documents, size):
        with watch:
            rows = parse(batch)
        for name, number in count(rows).items():
            found[name] = found.get(name, 0) + number
        del rows
    return watch.said() | found


def counted(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows, and the cents of their charges."""
    return {"rows": len(rows), "cents": sum(round(row["chargeAmount"] * 100) for row in rows)}
