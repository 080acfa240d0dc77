"""A TCP proxy before MongoDB that reads the commands on their way, breaks by script, and changes replies.

    with MongoProxy(mongodb.uri) as proxy:
        lost = proxy.lose_reply("'getMore'", every=3)         # the server has done it, the client is not told
        gone = proxy.answer("'startAfter'", failure(286))     # the server says this instead
        ...                                                   # a client at proxy.uri

Patterns are searched in the command as Python shows it, `{'find': 'things', 'filter': …}`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import bson
from bson.raw_bson import RawBSONDocument
from tests.python.support.cutting_proxy import CHUNK_BYTES, CuttingProxy, Link
from tests.python.support.documents import RAW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEADER = struct.Struct("<iiii")
OP_MSG = 2013
FLAGS_BYTES = 4
Reply = dict[str, Any]


@dataclass
class Answer:
    """What the client gets in place of the replies to commands that `pattern` is found in."""

    pattern: str
    change: Callable[[Reply], Reply]
    times: int | None = None
    happened: int = 0

    def claims(self, command: str) -> bool:
        """Whether it happens to the reply to this command; counts it if so."""
        is_over = self.times is not None and self.happened >= self.times
        if is_over or not re.search(self.pattern, command):
            return False
        self.happened += 1
        return True


@dataclass
class MongoProxy(CuttingProxy):
    """A proxy that reads the protocol of MongoDB; clients must not look for other members of the set.

    Attributes:
        stand_ins: Documents that are given out in the place of others, by the name in the field `stands_for` of those.
    """

    default_port = 27017

    stand_ins: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    _answers: list[Answer] = field(default_factory=list[Answer])
    _asked: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])

    @property
    def uri(self) -> str:
        """The server's address without an account, with the proxy in the server's place."""
        return f"mongodb://{urlsplit(self.url).netloc.rpartition('@')[2]}/?directConnection=true"

    @property
    def commands(self) -> list[str]:
        """What the server was to do, in the order it came."""
        return self._read

    def answer(self, pattern: str, change: Callable[[Reply], Reply], times: int | None = None) -> Answer:
        """Change the replies to such commands."""
        found = Answer(pattern, change, times)
        with self._lock:
            self._answers.append(found)
        return found

    def heal(self) -> None:
        super().heal()
        with self._lock:
            self._answers.clear()

    def _to_server(self, link: Link) -> None:
        buffer = b""
        while data := link.client.recv(CHUNK_BYTES):
            buffer += data
            while size := _size(buffer):
                message, buffer = buffer[:size], buffer[size:]
                _, number, _, kind = HEADER.unpack_from(message)
                command = str(bson.decode(_body(message))) if kind == OP_MSG else None
                self._asked[id(link), number] = command or ""
                if not self._passes(message, command, link):
                    return

    def _to_client(self, link: Link) -> None:
        buffer = bytearray()
        while data := link.server.recv(CHUNK_BYTES):
            buffer += data
            while size := _size(buffer):
                message, buffer = bytes(buffer[:size]), buffer[size:]
                if link.is_deaf.is_set() or self._is_held():
                    return
                link.client.sendall(self._changed(message, link))

    def _changed(self, message: bytes, link: Link) -> bytes:
        """The message that the client gets."""
        _, number, to, kind = HEADER.unpack_from(message)
        command = self._asked.pop((id(link), to), "")
        with self._lock:
            found = next((answer for answer in self._answers if answer.claims(command)), None)
        if kind != OP_MSG or not (found or self.stand_ins):
            return message
        reply: Any = bson.decode(_body(message), codec_options=RAW)
        cursor = reply.get("cursor")
        if self.stand_ins and cursor:
            [batch] = [name for name in cursor if name.endswith("Batch")]
            reply = {**reply, "cursor": {**cursor, batch: [*map(self._stand_in, cursor[batch])]}}
        body = bson.encode(found.change(dict(reply)) if found else reply)
        flags = b"\0" * FLAGS_BYTES + b"\0"
        return HEADER.pack(HEADER.size + len(flags) + len(body), number, to, kind) + flags + body

    def _stand_in(self, document: RawBSONDocument) -> RawBSONDocument | dict[str, Any]:
        inner = document.get("fullDocument")
        if isinstance(inner, RawBSONDocument):
            return {**document, "fullDocument": self._stand_in(inner)}
        content = self.stand_ins.get(str(document.get("stands_for")))
        return RawBSONDocument(content) if content else document


def failure(code: int, message: str = "as the test has it", **more: Any) -> Callable[[Reply], Reply]:
    """An error in place of a reply."""
    return lambda reply: {"ok": 0.0, "errmsg": message, "code": code, **more, **_times(reply)}


def _times(reply: Reply) -> Reply:
    return {name: reply[name] for name in ("operationTime", "$clusterTime") if name in reply}


def _size(buffer: bytes | bytearray) -> int:
    """The size of the message that begins there; 0 where it is not yet whole."""
    if len(buffer) < HEADER.size:
        return 0
    size = HEADER.unpack_from(buffer)[0]
    return size if len(buffer) >= size else 0


def _body(message: bytes) -> bytes:
    """The document of a message; those that follow it are left out."""
    begin = HEADER.size + FLAGS_BYTES
    while message[begin]:
        begin += 1 + struct.unpack_from("<i", message, begin + 1)[0]
    size = struct.unpack_from("<i", message, begin + 1)[0]
    return message[begin + 1 : begin + 1 + size]
