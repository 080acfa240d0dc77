"""A TCP proxy before MySQL or MariaDB that reads the commands on their way and breaks by script.

    with MysqlProxy(mariadb.url) as proxy:
        lost = proxy.lose_reply("COMMIT", every=3)   # the server has done it, the client is not told
        ...                                          # a client at proxy.url
        assert lost.happened

What a client encrypts is passed on unread.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.python.support.cutting_proxy import CHUNK_BYTES, CuttingProxy, Fault, Link

__all__ = ["Fault", "MysqlProxy"]

HEADER_BYTES = 4
# Commands of the protocol; those without a text are named.
TEXTS = {0x03, 0x16}
NAMES = {0x17: "<execute>", 0x1C: "<fetch>", 0x02: "<use>", 0x1F: "<reset>"}
SSL_REQUEST_BYTES = 32
CLIENT_SSL = 0x0800


@dataclass
class MysqlProxy(CuttingProxy):
    """A proxy that reads the protocol of MySQL; `encrypted` counts the connections it cannot read."""

    default_port = 3306

    encrypted: int = 0

    @property
    def commands(self) -> list[str]:
        """What the server was to do, in the order it came."""
        return self._read

    def _to_server(self, link: Link) -> None:
        buffer, is_opaque = b"", False
        while data := link.client.recv(CHUNK_BYTES):
            buffer += data
            while not is_opaque and len(buffer) >= HEADER_BYTES:
                size = int.from_bytes(buffer[:3], "little") + HEADER_BYTES
                if len(buffer) < size:
                    break
                packet, buffer = buffer[:size], buffer[size:]
                is_opaque = _asks_for_tls(packet)
                self.encrypted += is_opaque
                if not self._passes(packet, _command(packet), link):
                    return
            if is_opaque:
                link.server.sendall(buffer)
                buffer = b""

    def _to_client(self, link: Link) -> None:
        while data := link.server.recv(CHUNK_BYTES):
            if link.is_deaf.is_set() or self._is_held():
                return
            link.client.sendall(data)


def _asks_for_tls(packet: bytes) -> bool:
    flags = int.from_bytes(packet[4:8], "little")
    is_first = packet[3] == 1
    return is_first and len(packet) == HEADER_BYTES + SSL_REQUEST_BYTES and bool(flags & CLIENT_SSL)


def _command(packet: bytes) -> str | None:
    is_command = packet[3] == 0 and len(packet) > HEADER_BYTES
    if not is_command or packet[4] not in {*TEXTS, *NAMES}:
        return None
    return NAMES.get(packet[4]) or packet[5:].decode(errors="replace")
