"""The S3 servers of the benchmark, ours in any case: their CPU seconds are part of the result."""

from __future__ import annotations

import http.client
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
from tests.services.s3 import S3, start_s3
from tests.services.s3_memory import start_s3_memory

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from .files import Keys


@dataclass(frozen=True)
class Store:
    """An S3 server."""

    s3: S3

    def cpu_seconds(self) -> float:
        """What the server has computed since it was started."""
        times = psutil.Process(self.s3.server.pid).cpu_times()
        return times.user + times.system

    @contextmanager
    def bucket(self) -> Generator[str, None, None]:
        """A bucket for a while, on the server that lets one be deleted with what is in it."""
        name = self.s3.new_bucket()
        try:
            yield name
        finally:
            self.s3.client().delete_bucket(Bucket=name)

    def fill(self, bucket: str, objects: Iterable[tuple[str, bytes]]) -> None:
        """Put objects on the server that checks no signature."""
        server = http.client.HTTPConnection(urlsplit(self.s3.url).netloc)
        for key, body in objects:
            server.request("PUT", f"/{bucket}/{key}", body)
            answer = server.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                message = f"The server of the benchmark refused an object with {answer.status}"
                raise RuntimeError(message)
        server.close()

    def results(self, bucket: str) -> tuple[int, int]:
        """How many objects a bucket holds, and of how many bytes."""
        pages = self.s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        sizes = [one["Size"] for page in pages for one in page.get("Contents", [])]
        return len(sizes), sum(sizes)


@contextmanager
def memory_store() -> Generator[Store, None, None]:
    """The server that costs as little as can be."""
    s3 = start_s3_memory()
    with s3.server:
        yield Store(s3)


@contextmanager
def listed_store(keys: Keys) -> Generator[tuple[Store, str], None, None]:
    """A server with a bucket of these keys, and the bucket's name."""
    s3 = start_s3_memory() if keys.is_memory else start_s3()
    with s3.server:
        bucket, store = s3.new_bucket(), Store(s3)
        if keys.is_memory:
            store.fill(bucket, ((key, b"") for key in keys.names()))
        else:
            # Its objects are files; as many requests would take a minute.
            root = s3.server.folder / "data" / bucket
            for folder in {(root / key).parent for key in keys.names()}:
                folder.mkdir(parents=True)
            for key in keys.names():
                (root / key).touch()
        yield store, bucket
