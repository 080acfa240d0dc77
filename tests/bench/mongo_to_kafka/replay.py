"""A MongoDB for the benchmark: one collection, held in memory as it goes over the wire, and next to no CPU.

On two cores a server that is as busy as its clients decides who wins. This one puts a reply together once, and then
only sends it. It answers what contestants ask: hello (in OP_QUERY too), buildInfo, ping, listCollections, listIndexes,
count, find, getMore, killCursors, endSessions. `find` gives whole documents in the order of `_id`, and takes a
batchSize, a limit, and no filter but `$and`, `$or`, `$type` and comparisons of `_id`. All else is an error. Ids are
ObjectIds; it is a single server, version 7.0, that asks for no password, compresses nothing and takes no writes. No
place to test behaviour: that is `tests/services/mongodb.py`.
"""

from __future__ import annotations

import argparse
import mmap
import socketserver
import struct
from bisect import bisect_left, bisect_right
from datetime import datetime, timezone
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bson
from bson import Int64, ObjectId

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

HEADER = struct.Struct("<iiii")
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
MORE_TO_COME = 2
FIRST_BATCH = 101
"""Documents, where the client does not say how many."""
REPLY_BYTES = 16_000_000
ID_AT = slice(9, 21)
BAD_VALUE, NAMESPACE_NOT_FOUND, CURSOR_NOT_FOUND, COMMAND_NOT_FOUND = 2, 26, 43, 59
CODE_NAMES = {
    BAD_VALUE: "BadValue",
    NAMESPACE_NOT_FOUND: "NamespaceNotFound",
    CURSOR_NOT_FOUND: "CursorNotFound",
    COMMAND_NOT_FOUND: "CommandNotFound",
}
VERSION = {"version": "7.0.0", "versionArray": [7, 0, 0, 0], "maxBsonObjectSize": 16 << 20}

Command = dict[str, Any]
Span = tuple[int, int]
"""Documents that follow each other: the first, and the one behind the last."""


COMPARISONS: dict[str, Callable[[list[bytes], bytes], Span]] = {
    "$eq": lambda ids, value: (bisect_left(ids, value), bisect_right(ids, value)),
    "$gt": lambda ids, value: (bisect_right(ids, value), len(ids)),
    "$gte": lambda ids, value: (bisect_left(ids, value), len(ids)),
    "$lt": lambda ids, value: (0, bisect_left(ids, value)),
    "$lte": lambda ids, value: (0, bisect_right(ids, value)),
}


class RefusedError(Exception):
    """What the client gets as an error: a number and words."""


class Collection:
    """Documents in the order of their ids."""

    def __init__(self, database: str, name: str, path: Path) -> None:
        self.database = database
        self.name = name
        self.namespace = f"{database}.{name}"
        with path.open("rb") as file:
            self.data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self.starts = [0]
        while self.starts[-1] < len(self.data):
            (size,) = struct.unpack_from("<i", self.data, self.starts[-1])
            self.starts.append(self.starts[-1] + size)
        self.ids = [bytes(self.data[at:][ID_AT]) for at in self.starts[:-1]]
        self.batch = cache(self._batch)

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, condition: Command) -> list[Span]:
        """The documents that fulfil a condition."""
        spans = [(0, len(self))]
        for name, wanted in condition.items():
            match name:
                case "$and":
                    for part in wanted:
                        spans = both(spans, self.select(part))
                case "$or":
                    spans = both(spans, either(span for part in wanted for span in self.select(part)))
                case "_id":
                    spans = both(spans, self._compare(wanted))
                case _:
                    raise RefusedError(BAD_VALUE, f"this server knows no condition on {name}")
        return spans

    def _compare(self, wanted: Any) -> list[Span]:
        spans = [(0, len(self))]
        comparisons: dict[str, Any] = wanted if isinstance(wanted, dict) else {"$eq": wanted}
        for name, value in comparisons.items():
            if name == "$type":
                names = value if isinstance(value, list) else [value]
                span = (0, len(self) if "objectId" in names else 0)
            elif name in COMPARISONS:
                # Values of other types are neither greater nor less.
                span = COMPARISONS[name](self.ids, value.binary) if isinstance(value, ObjectId) else (0, 0)
            else:
                raise RefusedError(BAD_VALUE, f"this server does not know {name}")
            spans = both(spans, [span])
        return spans

    def _batch(self, spans: tuple[Span, ...]) -> bytes:
        """The array of these documents."""
        parts: list[Any] = []
        numbers = count()
        for begin, end in spans:
            for at in range(begin, end):
                parts += (b"\x03%d\x00" % next(numbers), self.data[self.starts[at] : self.starts[at + 1]])
        array = b"".join(parts)
        return struct.pack("<i", len(array) + 5) + array + b"\x00"


def both(some: list[Span], others: list[Span]) -> list[Span]:
    """What is in both."""
    found = [(max(one[0], other[0]), min(one[1], other[1])) for one in some for other in others]
    return sorted(span for span in found if span[0] < span[1])


def either(spans: Iterable[Span]) -> list[Span]:
    """What is in any of them."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


class Cursors:
    """What is left to be read of each query."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._left: dict[int, list[Span]] = {}
        self._numbers = count(1)

    def open(self, command: Command) -> tuple[int, bytes]:
        """The number of a new cursor, 0 where nothing is left for it, and its first batch."""
        spans = self._collection.select(command.get("filter", {}))
        if list(command.get("sort", {"_id": 1}).items()) != [("_id", 1)] or command.get("projection"):
            raise RefusedError(BAD_VALUE, "this server gives whole documents in the order of _id")
        spans = taken(spans, abs(command.get("limit", 0)) or len(self._collection))[0]
        number = next(self._numbers)
        self._left[number] = spans
        size = command.get("batchSize", FIRST_BATCH)
        given = self.more(number, size)
        if command.get("singleBatch") or command.get("limit", 0) < 0:
            self._left.pop(number, None)
        return given if number in self._left else (0, given[1])

    def more(self, number: int, size: int | None) -> tuple[int, bytes]:
        """The same of a cursor that is open."""
        if number not in self._left:
            raise RefusedError(CURSOR_NOT_FOUND, f"cursor id {number} not found")
        spans, starts = self._left[number], self._collection.starts
        some, left = taken(spans, len(self._collection) if size is None else size)
        if sum(starts[end] - starts[begin] for begin, end in some) > REPLY_BYTES:
            begin, end = some[0]
            end = min(end, max(begin + 1, bisect_right(starts, starts[begin] + REPLY_BYTES) - 1))
            some, left = taken(spans, end - begin)
        if left:
            self._left[number] = left
        else:
            del self._left[number]
        return number if left else 0, self._collection.batch(tuple(some))

    def close(self, number: int) -> None:
        """Forget a cursor."""
        self._left.pop(number, None)


def taken(spans: list[Span], most: int) -> tuple[list[Span], list[Span]]:
    """The first documents of these, and the others."""
    some, left = list[Span](), list[Span]()
    for begin, end in spans:
        cut = min(end, begin + most)
        most -= cut - begin
        some += [(begin, cut)] if begin < cut else []
        left += [(cut, end)] if cut < end else []
    return some, left


class Connection(socketserver.BaseRequestHandler):
    """One connection of a client."""

    request: socket.socket

    def handle(self) -> None:
        """Answer until the client has gone."""
        assert isinstance(self.server, Server)
        while header := self._read(HEADER.size):
            size, number, _, kind = HEADER.unpack(header)
            message = self._read(size - HEADER.size)
            if kind == OP_QUERY:
                command = bson.decode(message[message.index(b"\x00", 4) + 9 :])
                self._send(number, OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1), self.server.answer(command))
                continue
            (flags,) = struct.unpack_from("<I", message)
            (length,) = struct.unpack_from("<i", message, 5)
            answer = self.server.answer(bson.decode(message[5 : 5 + length]))
            if not flags & MORE_TO_COME:
                self._send(number, OP_MSG, bytes(5), answer)

    def _send(self, number: int, kind: int, before: bytes, parts: list[bytes]) -> None:
        length = HEADER.size + len(before) + sum(map(len, parts))
        left: list[bytes | memoryview] = [HEADER.pack(length, 0, number, kind) + before, *parts]
        while left:
            sent = self.request.sendmsg(left)
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if left:
                left[0] = memoryview(left[0])[sent:]

    def _read(self, size: int) -> bytes:
        """So many bytes; none where the client has gone."""
        data = bytearray()
        while len(data) < size:
            some = self.request.recv(size - len(data))
            if not some:
                return b""
            data += some
        return bytes(data)


class Server(socketserver.ThreadingTCPServer):
    """The server: a thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, collection: Collection) -> None:
        super().__init__(("127.0.0.1", port), Connection)
        self._collection = collection
        self._cursors = Cursors(collection)

        self._commands: dict[str, Callable[[Command], list[bytes]]] = {
            "hello": lambda _: said(hello()),
            "ismaster": lambda _: said(hello()),
            "buildinfo": lambda _: said(VERSION),
            "ping": lambda _: said({}),
            "endsessions": lambda _: said({}),
            "listcollections": self._list_collections,
            "listindexes": self._list_indexes,
            "count": self._count,
            "find": self._find,
            "getmore": self._get_more,
            "killcursors": self._kill_cursors,
        }

    def answer(self, command: Command) -> list[bytes]:
        """The reply, in pieces."""
        try:
            return self._commands.get(next(iter(command)).lower(), unknown)(command)
        except RefusedError as error:
            number, words = error.args
            return [bson.encode({"ok": 0.0, "errmsg": words, "code": number, "codeName": CODE_NAMES[number]})]

    def _list_collections(self, command: Command) -> list[bytes]:
        there = self._collection
        wanted = (command["$db"], command.get("filter", {}).get("name", there.name))
        found = [{"name": there.name, "type": "collection"}] if wanted == (there.database, there.name) else []
        return said({"cursor": {"id": Int64(0), "ns": f"{command['$db']}.$cmd", "firstBatch": found}})

    def _list_indexes(self, command: Command) -> list[bytes]:
        index = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
        namespace = self._asked(command).namespace
        return said({"cursor": {"id": Int64(0), "ns": namespace, "firstBatch": [index]}})

    def _count(self, command: Command) -> list[bytes]:
        spans = self._asked(command).select(command.get("query", {}))
        return said({"n": sum(end - begin for begin, end in spans)})

    def _find(self, command: Command) -> list[bytes]:
        there = self._asked(command)
        return page(b"firstBatch", there.namespace, *self._cursors.open(command))

    def _get_more(self, command: Command) -> list[bytes]:
        given = self._cursors.more(command["getMore"], command.get("batchSize"))
        return page(b"nextBatch", self._collection.namespace, *given)

    def _kill_cursors(self, command: Command) -> list[bytes]:
        for number in command["cursors"]:
            self._cursors.close(number)
        return said({"cursorsKilled": command["cursors"]})

    def _asked(self, command: Command) -> Collection:
        """The collection, where the command means it."""
        there = self._collection
        if (command["$db"], next(iter(command.values()))) != (there.database, there.name):
            raise RefusedError(NAMESPACE_NOT_FOUND, f"this server has only {there.namespace}")
        return there


def unknown(command: Command) -> list[bytes]:
    """What is asked for and not known."""
    raise RefusedError(COMMAND_NOT_FOUND, f"no such command: '{next(iter(command))}'")


def said(values: Command) -> list[bytes]:
    """A reply that all is well."""
    return [bson.encode({**values, "ok": 1.0})]


def hello() -> dict[str, Any]:
    """Who we are."""
    return {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "maxBsonObjectSize": 16 << 20,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "localTime": datetime.now(timezone.utc),
        "logicalSessionTimeoutMinutes": 30,
        "minWireVersion": 0,
        "maxWireVersion": 21,
        "readOnly": True,
    }


def page(name: bytes, namespace: str, number: int, batch: bytes) -> list[bytes]:
    """A reply with documents, which are not copied."""
    text = namespace.encode() + b"\x00"
    after = b"\x12id\x00" + struct.pack("<q", number) + b"\x02ns\x00" + struct.pack("<i", len(text)) + text + b"\x00"
    before = b"\x04" + name + b"\x00"
    cursor = len(before) + len(batch) + len(after) + 4
    ok = b"\x01ok\x00" + struct.pack("<d", 1.0) + b"\x00"
    head = b"\x03cursor\x00"
    whole = 4 + len(head) + cursor + len(ok)
    return [struct.pack("<i", whole) + head + struct.pack("<i", cursor) + before, batch, after + ok]


def main() -> None:
    """Serve a file of documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--documents", type=Path, required=True, help="BSON, one after the other, by ascending ids")
    parser.add_argument("--database", required=True)
    parser.add_argument("--collection", required=True)
    chosen = parser.parse_args()
    with Server(chosen.port, Collection(chosen.database, chosen.collection, chosen.documents)) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
