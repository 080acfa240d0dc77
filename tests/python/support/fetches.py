"""One fetch of `walmart_to_kafka`: a look-alike of the API, a topic, and what must be on it in the end."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.python.support import topics
from tests.python.support.children import Child, Ended, succeed
from tests.services.walmart_api import WalmartApi
from tests.services.walmart_orders import order_id

from pipeline_core import walmart_to_kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from email.message import Message as Headers
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.walmart_faults import Call, Fault, Reply

    from pipeline_core import Stop
    from pipeline_core.report import Report

SENT = re.compile(rb'(\{.*),"request_time":"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"\}', re.DOTALL)
CLOCKS_APART = 2
COMMAND = "walmart-to-kafka"


class EditedApi(WalmartApi):
    """The look-alike, whose answers about orders go through `edit` before they are sent."""

    def __init__(
        self, orders: Iterable[Mapping[str, Any]] = (), *, edit: Callable[[bytes], bytes], **quirks: Any
    ) -> None:
        super().__init__(orders, **quirks)
        self.edit = edit

    def answer(self, method: str, target: str, headers: Headers, body: bytes) -> tuple[Reply, Fault | None]:
        """The reply to a request, edited, and the fault that shall happen to it on its way."""
        reply, fault = super().answer(method, target, headers, body)
        is_edited = reply.status == 200 and "/orders" in target
        return (replace(reply, body=self.edit(reply.body)) if is_edited else reply), fault


@dataclass
class Fetch:
    """What the tests of `walmart_to_kafka` need of the world.

    Attributes:
        kafka: The broker.
        api: The API.
        folder: Where child processes run.
        settings: What fetches are told; changed by keyword arguments of `run`, `worker` and `work`.
    """

    kafka: Kafka
    api: WalmartApi
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.begun = time.time()
        self.topic = f"t-{uuid.uuid4().hex[:12]}"
        self.settings = {
            "topic": self.topic,
            "bootstrap_servers": self.kafka.bootstrap,
            "base_url": self.api.url,
            "walmart_token": self.api.token,
            **self.settings,
        }

    def run(self, *, stop: Stop | None = None, **changed: Any) -> Report:
        """Fetch in this process."""
        return walmart_to_kafka.run(stop=stop, **{**self.settings, **changed})

    def worker(self, *, fault: str = "", **changed: Any) -> Child:
        """Start a fetch; the token is in its environment."""
        return Child(self.folder, COMMAND, fault=fault, log_format="json", json=True, **{**self.settings, **changed})

    def work(self, **changed: Any) -> Ended:
        """Run a fetch to its end, which must be a good one."""
        return succeed(self.folder, COMMAND, log_format="json", json=True, **{**self.settings, **changed})

    def kill(self, fault: str, **changed: Any) -> None:
        """Run a fetch that kills itself."""
        with self.worker(fault=f"{fault}:kill", **changed) as child:
            child.wait_until_killed()

    def messages(self) -> list[topics.Message]:
        """What a `read_committed` reader sees of the topic; each has the right form, key and place."""
        found = topics.messages(self.kafka, self.topic)
        count = topics.partitions(self.kafka, self.topic)
        for message in found:
            order, key = order_of(message), message.key or b""
            assert b'"purchaseOrderId":"%b"' % key in order, (key, order[:100])
            assert message.partition == (murmur2(key) & 0x7FFFFFFF) % count, key
            asked = datetime.fromisoformat(f"{SENT.fullmatch(message.value or b'')[2].decode()}+00:00")
            assert self.begun - CLOCKS_APART < asked.timestamp() <= time.time()
        return found

    def times_sent(self) -> Counter[str]:
        """How often each order is on the topic."""
        return Counter((message.key or b"").decode() for message in self.messages())

    def assert_exact(self, expected: Iterable[Mapping[str, Any]]) -> None:
        """The topic holds each of these orders once, byte for byte as the API has it, and nothing else."""
        wanted = {order_id(dict(order)) for order in expected}
        found: dict[str, bytes] = {}
        for message in self.messages():
            key = (message.key or b"").decode()
            assert key not in found, f"{key} is there twice"
            found[key] = order_of(message)
        missing, surplus = wanted - found.keys(), found.keys() - wanted
        assert not missing, f"{len(missing)} of {len(wanted)} orders are missing: {sorted(missing)[:3]}"
        assert not surplus, f"{len(surplus)} orders are there that should not: {sorted(surplus)[:3]}"
        wrong = [key for key, order in found.items() if order != self.api.shelf.body(key)]
        assert not wrong, f"{len(wrong)} orders are changed: {wrong[:3]}"

    def assert_behaved(self) -> None:
        """The client did nothing that the API's documents forbid."""
        assert self.api.requests, "Nothing was asked: the test sees nothing"
        assert not self.api.violations, self.api.violations[:3]


@contextmanager
def fetching(
    kafka: Kafka, folder: Path, given: Iterable[Mapping[str, Any]], settings: Mapping[str, Any], **quirks: Any
) -> Iterator[Fetch]:
    """A fetch of these orders, from an API of its own with these quirks."""
    with WalmartApi(given, **quirks) as api:
        yield Fetch(kafka, api, folder, dict(settings))


def order_of(message: topics.Message) -> bytes:
    """The order as the API gave it: the message without the time of the request, which comes last."""
    found = SENT.fullmatch(message.value or b"")
    assert found, (message.value or b"")[-80:]
    return found[1] + b"}"


def searches(api: WalmartApi) -> list[Call]:
    """The calls for orders so far."""
    return api.calls("orders")


def statuses(api: WalmartApi) -> list[int]:
    """How each call for orders was answered; 0 for one that was not."""
    return [call.status for call in searches(api)]


def instant(text: str) -> datetime:
    """A time as reports and queries have it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def murmur2(key: bytes) -> int:
    """Kafka's own hash, as `org.apache.kafka.common.utils.Utils.murmur2` has it, without its sign."""
    mixer, mask = 0x5BD1E995, 0xFFFFFFFF
    hashed = (0x9747B28C ^ len(key)) & mask
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * mixer & mask
        word = (word ^ word >> 24) * mixer & mask
        hashed = hashed * mixer & mask ^ word
    if key[whole:]:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * mixer & mask
    hashed = (hashed ^ hashed >> 13) * mixer & mask
    return hashed ^ hashed >> 15
