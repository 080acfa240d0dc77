"""No credential of Walmart's API is in any output, log line, report or error, whatever happens and at any level."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import topics
from tests.python.support.children import run, side_by_side
from tests.python.support.fetches import COMMAND, EditedApi, Fetch
from tests.services.walmart_faults import Fault
from tests.services.walmart_orders import orders

from pipeline_core import WalmartClient, walmart_to_kafka
from pipeline_core.exceptions import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.python.support.children import Ended
    from tests.services.walmart_api import WalmartApi

NOW = datetime.now(timezone.utc)
GIVEN = orders(60, NOW - timedelta(hours=5), days=0.2)
ID, SECRET = "distinct-client-id-77", "s3cr3t/Distinct+Walmart=42"
WRONG = base64.b64encode(b"distinct-client-id-77:wr0ng-Walmart").decode()
KINDS = ("error", "throttled", "expired", "reset", "cut_body", "cut_json", "list_errors", "skipped")


def well(_api: WalmartApi) -> dict[str, Any]:
    """Nothing goes wrong for long."""
    return {}


def by_parts(api: WalmartApi) -> dict[str, Any]:
    """The credentials are told in two parts."""
    return {"walmart_token": None, "client_id": api.client_id, "client_secret": api.client_secret}


def wrong(_api: WalmartApi) -> dict[str, Any]:
    """The credentials are refused."""
    return {"walmart_token": WRONG}


def malformed(_api: WalmartApi) -> dict[str, Any]:
    """The token cannot be sent in a header."""
    return {"walmart_token": f"{WRONG}\n\x01"}


def ill(api: WalmartApi) -> dict[str, Any]:
    """The API refuses each token that it gave."""
    api.script(Fault("expired", times=None))
    return {}


def broken(api: WalmartApi) -> dict[str, Any]:
    """The API's answers with a token are cut off, then orders are refused."""
    api.script(Fault("cut_json", endpoint="token", times=3), Fault("error", status=403, shape="xml", times=None))
    return {}


CASES: dict[str, tuple[Callable[[WalmartApi], dict[str, Any]], int]] = {
    "well": (well, 0),
    "by parts": (by_parts, 0),
    "wrong": (wrong, 1),
    "malformed": (malformed, 2),
    "ill": (ill, 1),
    "broken": (broken, 1),
}
RUNS = [("well", "text"), ("well", "original"), *((case, "json") for case in CASES)]


def secrets(api: WalmartApi) -> list[str]:
    """What may be nowhere: all tokens, and the secret in each spelling that it could have on its way."""
    access = {call.token for call in api.requests if call.token}
    return [SECRET, json.dumps(SECRET)[1:-1], SECRET.replace("/", "%2F"), api.token, WRONG, "wr0ng-Walmart", *access]


def assert_silent(api: WalmartApi, *said: str) -> None:
    for text in said:
        for secret in secrets(api):
            at = text.find(secret)
            assert at < 0, f"A secret is in: {text[max(0, at - 200) : at]}[here]"


@pytest.fixture(scope="module")
def ended(kafka, tmp_path_factory) -> Iterator[dict[tuple[str, str], Future[tuple[Fetch, Ended]]]]:
    """How the command ended in each case, at its most talkative."""
    folder = tmp_path_factory.mktemp("secrets")

    def scenario(case: tuple[str, str]) -> tuple[Fetch, Ended]:
        faults = [Fault(kind, on=number) for number, kind in enumerate(KINDS, 1)]
        with EditedApi(GIVEN, edit=bytes, client_id=ID, client_secret=SECRET, faults=faults) as api:
            fetch = Fetch(kafka, api, folder, {"hours": 6, "log_level": "debug", "log_format": case[1]})
            changed = {**fetch.settings, **CASES[case[0]][0](api)}
            given = {name: value for name, value in changed.items() if value is not None}
            return fetch, run(folder, COMMAND, json=True, properties={"debug": "all"}, **given)

    yield from side_by_side(scenario, RUNS)


@pytest.mark.parametrize("case", RUNS, ids=" ".join)
def test_walmart_to_kafka_says_no_secret_whatever_happens(ended, kafka, case) -> None:
    fetch, found = ended[case].result()
    assert found.code == CASES[case[0]][1], found.err[-3000:]
    assert fetch.api.requests or case[0] == "malformed"
    if case[0] == "well":
        assert len(found.err) > 10_000, "The debug log is on"
        assert len(fetch.messages()) == len(GIVEN)
    texts = [found.out, found.err]
    for topic in (fetch.topic, f"{fetch.topic}_progress"):
        texts += [f"{message.key} {message.value} {message.headers}" for message in topics.messages(kafka, topic)]
    assert_silent(fetch.api, *texts)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_what_the_api_echoes_of_a_secret_is_not_told(kafka, tmp_path, caplog, status) -> None:
    """Gateways like to repeat what they refuse; a 500 is tried again, and only logged."""
    caplog.set_level(logging.DEBUG)

    class Echo(EditedApi):
        def answer(self, method: str, target: str, headers: Any, body: bytes) -> Any:
            reply, fault = super().answer(method, target, headers, body)
            if "/orders" not in target or (status == 500 and len(self.requests) > 3):
                return reply, fault
            spoken = f"{headers['WM_SEC.ACCESS_TOKEN']}, {self.token} or {SECRET}"
            said = json.dumps({"errors": [{"code": "X", "message": f"We do not know {spoken}"}]}).encode()
            return type(reply)(status, said), fault

    with Echo(GIVEN, edit=bytes, client_id=ID, client_secret=SECRET) as api:
        fetch = Fetch(kafka, api, tmp_path, {"hours": 6})
        said = ""
        try:
            said = str(fetch.run())
        except PipelineError as error:
            said = "".join(traceback.format_exception(error)) + repr(error.args)
    assert (status == 500) == (len(topics.messages(kafka, fetch.topic)) > 0)
    assert "We do not know" in said + caplog.text
    assert_silent(api, said, caplog.text)


def test_settings_and_clients_do_not_show_what_they_hold(walmart_api) -> None:
    api = walmart_api(GIVEN, client_id=ID, client_secret=SECRET)
    for login in ({"walmart_token": api.token}, {"client_id": ID, "client_secret": SECRET}):
        config = walmart_to_kafka.Config(base_url=api.url, **login)
        with WalmartClient(base_url=api.url, **login) as client:
            assert client.order("1") is None
            assert_silent(api, repr(config), str(config), repr(client), str(client), str(vars(config)))
    with WalmartClient(walmart_token=WRONG, base_url=api.url) as client, pytest.raises(PipelineError) as caught:
        client.order("1")
    assert_silent(api, str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value)))
