"""The memory of the processes that a contestant starts, seen from its own."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

LOOK_SECONDS = 0.1
KIB = 1024


@dataclass
class Peak:
    """The most that was seen: of all children that lived at a time, each with the most that it ever had."""

    bytes: int = 0


@contextmanager
def peak_of_children() -> Generator[Peak, None, None]:
    """Look ten times a second; the kernel itself remembers what each had between."""
    peak, is_over = Peak(), threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_SECONDS):
            peak.bytes = max(peak.bytes, sum(map(peak_of, children())))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield peak
    finally:
        is_over.set()
        looking.join()


def children() -> set[int]:
    """The processes that any thread of this one has started, and that live."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found.update(int(pid) for pid in (thread / "children").read_text(encoding="ascii").split())
    return found


def peak_of(pid: int | str) -> int:
    """The most resident memory that a process ever had (`VmHWM`); 0 where it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * KIB
    return 0
