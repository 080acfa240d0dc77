"""Files of known content in a bucket, from empty ones to 50 MB; the first line may tell a parser how to misbehave."""

from __future__ import annotations

import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.python.support.parsers import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.services.s3 import S3

TOGETHER = 8
PART_BYTES = 8 * 2**20
LARGEST_BYTES = 50_000_000
UNITS = ("B", "KB", "MB", "GB", "TB")


@dataclass(frozen=True)
class File:
    """An object: its key, its size, and what its parser does at the first, second, … attempt before it behaves."""

    key: str
    size: int = 1000
    acts: tuple[str, ...] = ()

    @property
    def content(self) -> bytes:
        """Always the same bytes, which nothing compresses."""
        head = json.dumps({"key": self.key, "acts": self.acts}).encode() + b"\n"
        assert head.startswith(HEAD)
        if len(head) > self.size:
            assert not self.acts, f"{self.key} has no room for {self.acts}"
            head = b""
        return head + random.Random(self.key).randbytes(self.size - len(head))

    @property
    def sha256(self) -> str:
        """The digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


def sizes(count: int, dice: random.Random) -> list[int]:
    """So many sizes from 0 B to 50 MB, half a gigabyte together if there are a thousand: most files are small."""
    fixed = [0] * 10 + [1, 2, 100, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES]
    fixed += [LARGEST_BYTES] * 2 + [20_000_000] * 4 + [4_000_000] * 50
    small = [int(10 ** dice.uniform(3, 5.3)) for _ in range(count - len(fixed))]
    return [*fixed, *small]


def put(s3: S3, bucket: str, files: Iterable[File]) -> None:
    """Put files into a bucket, a few at a time."""
    client = s3.client()
    with ThreadPoolExecutor(TOGETHER) as pool:
        done = pool.map(lambda file: client.put_object(Bucket=bucket, Key=file.key, Body=file.content), files)
        assert sum(1 for _ in done), "There is nothing to put"


def digests(s3: S3, bucket: str) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of each object in a bucket."""
    client = s3.client()

    def digest(key: str) -> tuple[int, str]:
        found, size = hashlib.sha256(), 0
        for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(2**20):
            found.update(chunk)
            size += len(chunk)
        return size, found.hexdigest()

    keys = s3.keys(bucket)
    with ThreadPoolExecutor(TOGETHER) as pool:
        return dict(zip(keys, pool.map(digest, keys), strict=True))


def size_text(size: int) -> str:
    """A size as the contract writes it: `0 B`, else one decimal and a unit, 1024 to the next."""
    if not size:
        return "0 B"
    number, unit = float(size), 0
    while number >= 1024 and unit < len(UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {UNITS[unit]}"
