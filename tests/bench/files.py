"""What the races over object stores are run on: files to work off, and keys to list."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

KB, MB = 1_000, 1_000_000
KEYS_OF_A_FOLDER = 2_500
SEED = 2019


@dataclass(frozen=True)
class Files:
    """Files of one size, and what is done to each."""

    name: str
    rows: int
    slow_rows: int
    """How many of them those do that would need minutes for all."""
    size: int
    parser: str
    """The factory of the parser, in `obs_worker/parsers.py`."""
    unit: str = "files"

    def cut(self, most: int | None) -> Files:
        """No more files than these."""
        most = most or self.rows
        return replace(self, rows=min(self.rows, most), slow_rows=min(self.slow_rows, most))

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return self.rows * self.size

    def names(self, count: int) -> list[str]:
        """The names of the first files."""
        return [f"in/2026/file-{number:06}.bin" for number in range(count)]

    def body(self, number: int) -> bytes:
        """What is in a file: nothing that could be compressed, each another."""
        return random.Random(SEED + number).randbytes(self.size)


@dataclass(frozen=True)
class Keys:
    """A bucket of many keys in folders, to be listed."""

    name: str
    rows: int
    is_memory: bool
    """Whether on the server that holds all in memory."""
    unit: str = "keys"
    bytes: int = 0

    def cut(self, most: int | None) -> Keys:
        """No more keys than these."""
        return replace(self, rows=min(self.rows, most or self.rows))

    @property
    def slow_rows(self) -> int:
        """A listing is the same for all."""
        return self.rows

    def names(self) -> list[str]:
        """Their names."""
        return [f"raw/day={at // KEYS_OF_A_FOLDER:03}/part-{at:06}.csv" for at in range(self.rows)]


SMALL = Files("1 KB", 20_000, 1_000, KB, "linking")
LARGE = Files("1 MB", 2_000, 200, MB, "linking")
COMPUTED = Files("computed", 400, 400, KB, "computing")
FILES = (SMALL, LARGE, COMPUTED)

MEMORY = Keys("memory", 100_000, is_memory=True)
DISK = Keys("disk", 100_000, is_memory=False)
KEYS = (MEMORY, DISK)
