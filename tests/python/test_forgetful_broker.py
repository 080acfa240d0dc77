"""A broker that does not keep what is written beside a committed offset: exactly-once cannot be had there."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.python.support import topics
from tests.python.support.children import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.kafka import Kafka

NOTE, FORGOTTEN = b"pc1;", b"xxx;"


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def pump(source: socket.socket, target: socket.socket, changes: list[tuple[bytes, bytes]]) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            for old, new in changes:
                data = data.replace(old, new)
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def connect(client: socket.socket, port: int, changes: list[tuple[bytes, bytes]]) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as broker:
        answers = threading.Thread(target=pump, args=(broker, client, changes))
        answers.start()
        pump(client, broker, [])
        answers.join()


def serve(door: socket.socket, port: int, changes: list[tuple[bytes, bytes]]) -> None:
    connections = []
    with suppress(OSError):
        while True:
            client, _ = door.accept()
            connections.append(threading.Thread(target=connect, args=(client, port, changes)))
            connections[-1].start()
    for connection in connections:
        connection.join()


@contextmanager
def forgetful(kafka: Kafka) -> Iterator[str]:
    """The same broker at another address, with other notes in its answers than were given to it."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        here, there = door.getsockname()[1], port_of(kafka.bootstrap)
        # The cluster's own address in its answers leads back here.
        changes = [(NOTE, FORGOTTEN), (struct.pack(">i", there), struct.pack(">i", here))]
        serving = threading.Thread(target=serve, args=(door, there, changes))
        serving.start()
        try:
            yield f"127.0.0.1:{here}"
        finally:
            door.shutdown(socket.SHUT_RDWR)
            serving.join()


def test_kafka_to_parquet_refuses_a_broker_that_drops_commit_metadata(kafka, tmp_path) -> None:
    topic = kafka.new_topic()
    topics.send(kafka, topic, [b'{"a": "1"}'])
    settings = {"topic": topic, "group_id": topic, "to": tmp_path / "lake", "until": "end", "log_format": "json"}
    with forgetful(kafka) as address:
        ended = run(tmp_path, "kafka-to-parquet", bootstrap_servers=address, **settings)
    assert ended.code == 2, ended.err
    assert "does not keep the metadata of a committed offset" in ended.error["event"]
    assert ended.error["hint"]
    assert not list((tmp_path / "lake").rglob("*.parquet"))
    assert run(tmp_path, "kafka-to-parquet", bootstrap_servers=kafka.bootstrap, **settings).code == 0
