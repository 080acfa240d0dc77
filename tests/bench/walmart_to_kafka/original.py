"""The original's way: hour by hour, one kind of ship node after the other, then message by message.

Left out is its sleep of 0.2 s after each message, which alone would hold it to 5 a second. It asked on a new connection
each time; here one is kept alive. What it did wrong is left out too: an hour of more than 200 orders ends the run, the
last second of a day is asked for, and a message that fails ends the run.
"""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from confluent_kafka import KafkaError, KafkaException, Producer
from tests.bench.clients import CLIENT
from tests.bench.task import FetchTask, perform

LIMIT = 200
HOUR = timedelta(hours=1)
NODES = ("SellerFulfilled", "WFSFulfilled", "3PLFulfilled")
PRODUCER: dict[str, Any] = {**CLIENT, "acks": 1, "linger.ms": 0, "partitioner": "murmur2_random"}
"""As the original's: nothing waits for company, nothing is compressed."""
SENDER = {"WM_SVC.NAME": "Walmart Marketplace", "Accept": "application/json"}


class Api:
    """The API, with a token for all calls."""

    def __init__(self, connection: HTTPConnection, prefix: str, token: str) -> None:
        self._connection = connection
        self._prefix = prefix
        login = {"Authorization": f"Basic {token}", "Content-Type": "application/x-www-form-urlencoded"}
        given = self._answer("POST", "/token", login, "grant_type=client_credentials")
        self._login = {"WM_SEC.ACCESS_TOKEN": given["access_token"]}

    def orders(self, begin: datetime, node: str) -> list[dict[str, Any]]:
        """The orders of an hour that such nodes ship."""
        asked = {
            "createdStartDate": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
            "createdEndDate": f"{begin + HOUR:%Y-%m-%dT%H:%M:%SZ}",
            "limit": LIMIT,
            "acknowledgedStatus": "ALL",
            "sortBy": "CREATED_DATE",
            "sortOrder": "ASC",
            "shipNodeType": node,
        }
        found = self._answer("GET", f"/orders?{urlencode(asked)}", self._login)
        if found is None:
            return []
        if found["list"]["meta"]["totalCount"] > LIMIT:
            message = f"The hour from {begin} holds more than {LIMIT} orders"
            raise ValueError(message)
        return found["list"]["elements"]["order"]

    def _answer(self, method: str, target: str, login: dict[str, str], body: str | None = None) -> Any:
        """The JSON of an answer; None where there is nothing."""
        headers = {**SENDER, **login, "WM_QOS.CORRELATION_ID": str(uuid.uuid4())}
        self._connection.request(method, self._prefix + target, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            message = f"{method} {target} was answered with {answer.status}: {text[:200]!r}"
            raise ValueError(message)
        return json.loads(text)


def work(task: FetchTask) -> dict[str, Any]:
    """Fetch all orders, then send them."""
    address = urlsplit(task.url)
    with closing(HTTPConnection(address.netloc)) as connection:
        found = fetched(Api(connection, address.path, task.token), task)
    send(task, found)
    return {"rows": len(found)}


def fetched(api: Api, task: FetchTask) -> dict[str, dict[str, Any]]:
    """The orders of the days by their number."""
    begin, last = (datetime.fromisoformat(day).replace(tzinfo=timezone.utc) for day in (task.first_day, task.last_day))
    found: dict[str, dict[str, Any]] = {}
    while begin < last + timedelta(days=1):
        for node in NODES:
            for order in api.orders(begin, node):
                order["request_time"] = f"{datetime.now():%Y-%m-%d %H:%M:%S}"  # noqa: DTZ005 - as the original
                found.setdefault(order["purchaseOrderId"], order)
        begin += HOUR
    return found


def send(task: FetchTask, found: dict[str, dict[str, Any]]) -> None:
    """Send the orders, each when the one before is acknowledged."""
    failed: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": task.servers, **PRODUCER})
    for number, order in found.items():
        value = json.dumps(order).encode()
        producer.produce(
            task.topic, value, number, on_delivery=lambda error, _: failed.extend([error] if error else [])
        )
        producer.flush()
        if failed:
            raise KafkaException(failed[0])


if __name__ == "__main__":
    perform(FetchTask, work)
