"""The MongoDB servers of the benchmark, ours in any case: their CPU seconds are part of the result."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from bson import decode_file_iter
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from tests.services.mongodb import start_mongodb
from tests.services.process import Server, free_ports, port_answers, temporary_folder

from .documents import COLLECTION, DATABASE
from .lap import ROOT
from .mongo_to_kafka import replay

if TYPE_CHECKING:
    from collections.abc import Generator

    from .documents import Documents


@dataclass(frozen=True)
class Source:
    """A server that holds the documents."""

    uri: str
    server: Server

    def cpu_seconds(self) -> float:
        """What the server has computed since it was started, with what it has started itself."""
        there = psutil.Process(self.server.pid)
        times = [one.cpu_times() for one in (there, *there.children(recursive=True))]
        return sum(one.user + one.system for one in times)


@contextmanager
def served(documents: Documents) -> Generator[Source, None, None]:
    """The server of the documents' shape, which holds them."""
    with replayed(documents) if documents.shape.is_replayed else stored(documents) as source:
        yield source


@contextmanager
def replayed(documents: Documents) -> Generator[Source, None, None]:
    """The server that costs as little as can be."""
    [port] = free_ports(1)
    said = {"port": port, "documents": documents.path, "database": DATABASE, "collection": COLLECTION}
    command = [sys.executable, "-m", replay.__name__, *(f"--{name}={value}" for name, value in said.items())]
    with Server("replay", command, temporary_folder("replay"), port_answers(port), directory=ROOT) as server:
        server.start()
        yield Source(f"mongodb://127.0.0.1:{port}/?directConnection=true", server)


@contextmanager
def stored(documents: Documents) -> Generator[Source, None, None]:
    """The server of the tests, filled."""
    there = start_mongodb(durable=False)
    raw = CodecOptions[RawBSONDocument](RawBSONDocument)
    with there.server, documents.path.open("rb") as file:
        with there.client(document_class=RawBSONDocument) as client:
            client[DATABASE][COLLECTION].insert_many(decode_file_iter(file, raw))
        yield Source(there.url, there.server)
