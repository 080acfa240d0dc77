"""How fast a run goes once it has begun, seen from its counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_core.progress import Stats


class Pace:
    """Takes the counts of a run as its `on_progress`."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def __call__(self, stats: Stats) -> None:
        if stats.rows_written > (self._seen[-1][1] if self._seen else 0):
            self._seen.append((time.perf_counter(), stats.rows_written))

    @property
    def rows_a_second(self) -> float | None:
        """From the first commit that was seen to the last; None where there are not two."""
        if len(self._seen) < 2:
            return None
        (begun, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / (ended - begun)
