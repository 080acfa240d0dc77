"""A TCP proxy before PostgreSQL that reads the statements on their way and breaks by script.

    with PostgresProxy(postgres.url) as proxy:
        lost = proxy.lose_reply("COMMIT", every=3)   # the server has done it, the client is not told
        ...                                          # a client at proxy.url
        assert lost.happened

It refuses to encrypt, so that all can be read: a client must allow that. What executes a prepared statement counts, not
what prepares it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.python.support.cutting_proxy import CHUNK_BYTES, CuttingProxy, Fault, Link

__all__ = ["Fault", "PostgresProxy"]

LENGTH_BYTES = 4
# Codes in the place of the protocol's version, of clients that ask for encryption: TLS and GSSAPI.
ENCRYPTION = {80877103, 80877104}
# Messages of the server: all before it is answered; send the rows of a COPY, without which it would wait for ever.
READY_FOR_QUERY = b"Z"
COPY_IN_RESPONSE = b"G"


class PostgresProxy(CuttingProxy):
    """A proxy that reads the protocol of PostgreSQL."""

    default_port = 5432

    @property
    def statements(self) -> list[str]:
        """What the server was to do, in the order it came."""
        return self._read

    def _to_server(self, link: Link) -> None:
        buffer, is_started, prepared = b"", False, _Prepared()
        while data := link.client.recv(CHUNK_BYTES):
            buffer += data
            end = 0
            while size := _size(buffer, end, type_bytes=int(is_started)):
                message, end = buffer[end : end + size], end + size
                if is_started:
                    if not self._passes(message, prepared.statement(message), link):
                        return
                elif int.from_bytes(message[LENGTH_BYTES : 2 * LENGTH_BYTES], "big") in ENCRYPTION:
                    link.client.sendall(b"N")
                else:
                    is_started = True
                    link.server.sendall(message)
            buffer = buffer[end:]

    def _to_client(self, link: Link) -> None:
        buffer = b""
        while data := link.server.recv(CHUNK_BYTES):
            buffer += data
            end, heard = 0, b""
            while size := _size(buffer, end):
                message, end = buffer[end : end + size], end + size
                if link.is_deaf.is_set() and message[:1] == READY_FOR_QUERY:
                    return
                if not link.is_deaf.is_set() or message[:1] == COPY_IN_RESPONSE:
                    heard += message
            buffer = buffer[end:]
            if self._is_held():
                return
            link.client.sendall(heard)


@dataclass
class _Prepared:
    """What a client has prepared on its connection, by name."""

    _statements: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _portals: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    def statement(self, message: bytes) -> str | None:
        """The statement that a message has the server carry out."""
        kind, content = message[:1], message[1 + LENGTH_BYTES :]
        match kind:
            case b"P":
                name, statement, *_ = content.split(b"\0")
                self._statements[name] = statement
            case b"B":
                portal, name, *_ = content.split(b"\0")
                self._portals[portal] = self._statements.get(name, b"")
            case b"Q" | b"E":
                word = content.split(b"\0")[0]
                return (word if kind == b"Q" else self._portals.get(word, b"")).decode(errors="replace")
            case b"c":
                return "<copy done>"
            case _:
                pass
        return None


def _size(buffer: bytes, begin: int, type_bytes: int = 1) -> int:
    """The size of the message that begins there; 0 where it is not yet whole. The first has no byte for its type."""
    head = begin + type_bytes
    if len(buffer) < head + LENGTH_BYTES:
        return 0
    size = type_bytes + int.from_bytes(buffer[head : head + LENGTH_BYTES], "big")
    return size if len(buffer) - begin >= size else 0
