"""`walmart-to-kafka`: its flags, its topic, its days, and the way of an order from the API into the tables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from tests.python.support import topics
from tests.python.support.children import run, side_by_side, succeed
from tests.python.support.fetches import COMMAND, Fetch, fetching, instant, searches
from tests.python.support.loads import Load, assert_same_rows
from tests.python.support.order_columns import Rules, newest
from tests.services.walmart_faults import Fault
from tests.services.walmart_orders import NODES, created_ms, milliseconds, modified_ms, node_of, order, order_id, orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tests.python.support.children import Ended

NOW = datetime.now(timezone.utc).replace(microsecond=0)
ZONES = ("America/Los_Angeles", "Europe/Berlin", "Australia/Sydney", "Pacific/Auckland", "America/Santiago")
MILLISECOND = timedelta(milliseconds=1)
PACIFIC = ZoneInfo(ZONES[0])


def midnight(day: date, zone: str) -> datetime:
    """The first moment of a day."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(timezone.utc)


def length(day: date, zone: str) -> timedelta:
    return midnight(day + timedelta(days=1), zone) - midnight(day, zone)


def days_of(hours: int) -> list[tuple[str, date]]:
    """A day of this length that the API still knows: of the first of our zones that had one."""
    past = [NOW.date() - timedelta(days=ago) for ago in range(3, 178)]
    found = ((zone, day) for zone in ZONES for day in past if length(day, zone) == timedelta(hours=hours))
    return [*found][:1]


# In October no day of 25 hours is as young as the API wants it.
DAYS = [(hours, *found) for hours in (23, 24, 25) for found in days_of(hours)]


def around(*moments: datetime) -> list[dict[str, Any]]:
    """Orders of the last millisecond before these moments, and of them."""
    times = [time for moment in moments for time in (moment - MILLISECOND, moment)]
    return [order(number, time, node=NODES[number % 3]) for number, time in enumerate(times)]


@dataclass(frozen=True)
class Flagged:
    """Orders, flags as users write them, and which of the orders arrive."""

    given: list[dict[str, Any]]
    flags: str
    expected: list[dict[str, Any]]


def hours(flags: str, most: int) -> Flagged:
    """The hours before the call; other tests may have gone on for long since this module was read."""
    ages = (0.1, 0.9, 1.1, 1.9, 2.1, 2.9, 3.1)
    now = datetime.now(timezone.utc)
    given = [order(number, now - timedelta(hours=age)) for number, age in enumerate(ages)]
    return Flagged(given, flags, [one for one, age in zip(given, ages, strict=True) if age < most])


def dates(form: str, first_flag: str, last_flag: str) -> Flagged:
    """Three days of California."""
    first = NOW.astimezone(PACIFIC).date() - timedelta(days=9)
    last = first + timedelta(days=2)
    given = around(midnight(first, ZONES[0]), midnight(last, ZONES[0]), midnight(last + timedelta(days=1), ZONES[0]))
    return Flagged(given, f"{first_flag} {first.strftime(form)} {last_flag} {last.strftime(form)}", given[1:-1])


def whole_day(length_hours: int, zone: str, day: date) -> Flagged:
    """A day that may be of other than 24 hours."""
    begin, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
    assert end - begin == timedelta(hours=length_hours)
    hour = timedelta(hours=1)
    given = around(begin - hour, begin, end - hour, end, end + hour)
    expected = [one for one in given if milliseconds(begin) <= created_ms(one) < milliseconds(end)]
    assert len(expected) == 4
    return Flagged(given, f"-s {day} -e {day}" + ("" if zone == ZONES[0] else f" --timezone {zone}"), expected)


def today() -> Flagged:
    """The last day asked for is still to come."""
    day = NOW.astimezone(PACIFIC).date() - timedelta(days=1)
    given = [order(1, midnight(day, ZONES[0])), order(2, NOW - timedelta(seconds=1)), order(3, NOW + timedelta(days=1))]
    return Flagged(given, f"-s {day} -e {day + timedelta(days=2)}", given[:2])


def of_type(node: str) -> Flagged:
    expected = [one for one in SOME if node_of(one) == node]
    assert 0 < len(expected) < len(SOME)
    return Flagged(SOME, f"-H 6 --ship-node-type {node}", expected)


def sized(flags: str) -> Flagged:
    given = orders(40, NOW - timedelta(hours=5), days=0.2, ties=0.3)
    return Flagged(given, f"-H 6 {flags}", given)


SOME = orders(200, NOW - timedelta(hours=5), days=0.2)
CASES: dict[str, Flagged | Callable[[], Flagged]] = {
    "short hours": lambda: hours("-H 2", 2),
    "long hours": lambda: hours("--hours 3", 3),
    "an hour is usual": lambda: hours("", 1),
    "short dates": dates("%Y%m%d", "-s", "-e"),
    "long dates": dates("%Y-%m-%d", "--start-date", "--end-date"),
    **{f"a day of {length_hours} hours": whole_day(length_hours, zone, day) for length_hours, zone, day in DAYS},
    **{
        f"a day in {zone}": whole_day(24, zone, NOW.date() - timedelta(days=5))
        for zone in ("UTC", "Asia/Kolkata", "Pacific/Kiritimati")
    },
    "days to come": today(),
    "all types": Flagged(SOME, "-H 6", SOME),
    **{node: of_type(node) for node in NODES},
    **{
        flags: sized(flags)
        for flags in ("--batch-size 1", "--batch-size 100000", "--window-orders 1", "--concurrency 32")
    },
}


def called(fetch: Fetch, flags: str, **changed: Any) -> dict[str, Any]:
    """The report of the command with these flags, as users write them."""
    settings = {"bootstrap_servers": fetch.kafka.bootstrap, "base_url": fetch.api.url, "walmart_token": fetch.api.token}
    settings = {name: value for name, value in {**settings, **changed}.items() if value is not None}
    return succeed(fetch.folder, f"{COMMAND} -t {fetch.topic} {flags}", json=True, **settings).report


@pytest.fixture
def fetch(kafka, walmart_api, tmp_path):
    """Makes a fetch of these orders."""
    return lambda given, **quirks: Fetch(kafka, walmart_api(given, **quirks), tmp_path)


@pytest.fixture(scope="module")
def fetched(kafka, tmp_path_factory, checked) -> Iterator[dict[str, Future[tuple[Flagged, Fetch, dict[str, Any]]]]]:
    """Each case with its fetch and report; the checks, which wait longest, have been begun."""
    assert checked
    folder = tmp_path_factory.mktemp("flags")

    def scenario(name: str) -> tuple[Flagged, Fetch, dict[str, Any]]:
        case = CASES[name]
        flagged = case if isinstance(case, Flagged) else case()
        with fetching(kafka, folder, flagged.given, {}) as fetch:
            return flagged, fetch, called(fetch, flagged.flags)

    yield from side_by_side(scenario, CASES)


def test_there_is_a_day_that_is_not_of_24_hours() -> None:
    assert {23, 24} <= {hours for hours, _, _ in DAYS}


@pytest.mark.parametrize("case", CASES)
def test_walmart_to_kafka_fetches_what_its_flags_ask_for(fetched, case) -> None:
    flagged, fetch, report = fetched[case].result()
    fetch.assert_exact(flagged.expected)
    assert report["rows_written"] == report["rows_read"] == len(flagged.expected)
    types = [node for node in NODES if node in flagged.flags] or NODES
    assert report["details"]["orders_by_ship_node_type"] == {
        node: sum(node_of(one) == node for one in flagged.expected) for node in types
    }
    fetch.assert_behaved()
    firsts = [call.parameters for call in searches(fetch.api) if not call.has_cursor]
    assert {asked["shipNodeType"] for asked in firsts} == set(types)
    for asked in firsts:
        assert (asked["limit"], asked["acknowledgedStatus"]) == ("200", "ALL")
        assert (asked["sortBy"], asked["sortOrder"]) == ("CREATED_DATE", "ASC")
        assert instant(asked["createdStartDate"]) < instant(asked["createdEndDate"]) <= datetime.now(timezone.utc)
    last = max(instant(asked["createdEndDate"]) for asked in firsts)
    assert instant(report["details"]["complete_up_to"]) == last


def test_neighbouring_days_share_no_order_and_leave_none_out(fetch) -> None:
    days = [NOW.astimezone(PACIFIC).date() - timedelta(days=ago) for ago in (4, 3, 2)]
    given = orders(300, midnight(days[0], ZONES[0]) + MILLISECOND, days=2.9, ties=0.1)
    given += [order(5_000 + number, midnight(day, ZONES[0])) for number, day in enumerate(days)]
    fetch = fetch(given)
    counts = [fetch.run(start_date=day, end_date=day).rows_written for day in days]
    assert all(counts)
    fetch.assert_exact(given)


def test_modified_orders_are_asked_for_by_the_time_of_their_change(fetch) -> None:
    given = orders(300, NOW - timedelta(days=4), days=3)
    fetch = fetch(given)
    called(fetch, "-H 24 --modified")
    times = [call.parameters for call in searches(fetch.api)]
    assert all({"lastModifiedStartDate", "lastModifiedEndDate"} <= asked.keys() for asked in times)
    assert not any({"createdStartDate", "createdEndDate"} & asked.keys() for asked in times)
    begin = milliseconds(min(instant(asked["lastModifiedStartDate"]) for asked in times))
    end = milliseconds(max(instant(asked["lastModifiedEndDate"]) for asked in times))
    assert 0 <= milliseconds(datetime.now(timezone.utc) - timedelta(hours=24)) - begin < 120_000
    # The API takes both ends in; an order that was changed at the very end may come now or the next time.
    expected = [one for one in given if begin <= modified_ms(one) <= end]
    assert 20 < len(expected) < len(given)
    fetch.assert_exact(expected)


CONFIG = """
kafka:
  bootstrap_servers: [{bootstrap}]
walmart_token:
  eForCity: {{token: QTpC}}
  second: {{token: {token}}}
mysql: {{host: nowhere, port: 1}}
"""


def test_an_account_of_the_original_s_file_is_named_by_a(fetch) -> None:
    given = orders(20, NOW - timedelta(hours=5), days=0.2)
    fetch = fetch(given, client_id="another", client_secret="secret")
    path = fetch.folder / "config/config.yml"
    path.parent.mkdir()
    path.write_text(CONFIG.format(bootstrap=fetch.kafka.bootstrap, token=fetch.api.token))
    known = {"base_url": fetch.api.url, "walmart_token": None, "bootstrap_servers": None}
    report = called(fetch, "-H 6 -a second", **known)
    assert report["details"]["account_tag"] == "second"
    fetch.assert_exact(given)
    ended = run(fetch.folder, f"{COMMAND} -H 6", base_url=fetch.api.url, log_format="json")
    assert (ended.code, ended.error["kind"]) == (1, "access")
    assert "eForCity" in ended.error["event"]
    ended = run(fetch.folder, f"{COMMAND} -H 6 -a third", base_url=fetch.api.url, log_format="json")
    assert (ended.code, ended.error["kind"]) == (2, "settings")
    assert "'eForCity', 'second'" in ended.error["event"]


def config_of(kafka, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({**kafka.properties(), **topics.QUIET})
    found = admin.describe_configs([resource])[resource].result(30)
    return {name: entry.value for name, entry in found.items()}


def test_the_topic_is_made_with_three_partitions_a_week_and_room_for_large_orders(fetch, kafka) -> None:
    fetch = fetch(orders(60, NOW - timedelta(hours=5), days=0.2))
    report = called(fetch, "-H 6")
    assert report["details"]["topic_created"] is True
    assert topics.partitions(kafka, fetch.topic) == 3
    assert {message.partition for message in fetch.messages()} == {0, 1, 2}
    config = config_of(kafka, fetch.topic)
    assert (config["retention.ms"], config["max.message.bytes"]) == ("604800000", "10485760")
    assert called(fetch, "-H 7")["details"]["topic_created"] is False
    other = Fetch(kafka, fetch.api, fetch.folder)
    called(other, "-H 6 --partitions 5 --compression zstd")
    assert topics.partitions(kafka, other.topic) == 5
    other.assert_exact(json.loads(fetch.api.shelf.body(key)) for key in fetch.times_sent())


def test_a_topic_that_is_there_is_left_as_it_is(fetch, kafka) -> None:
    given = orders(60, NOW - timedelta(hours=5), days=0.2)
    fetch = fetch(given)
    fetch.topic = kafka.new_topic(partitions=2, retention_ms="3600000")
    report = called(fetch, "-H 6")
    assert report["details"]["topic_created"] is False
    assert topics.partitions(kafka, fetch.topic) == 2
    assert config_of(kafka, fetch.topic)["retention.ms"] == "3600000"
    fetch.assert_exact(given)


@pytest.mark.parametrize("is_there", [True, False])
def test_an_order_of_several_megabytes_arrives(fetch, kafka, is_there) -> None:
    large = {**order(1, NOW - timedelta(hours=1)), "note": "x" * 5_000_000}
    fetch = fetch([large])
    if is_there:
        fetch.topic = kafka.new_topic(max_message_bytes="10485760")
    called(fetch, "-H 2")
    fetch.assert_exact([large])


def test_the_report_says_what_was_done(fetch) -> None:
    given = orders(500, NOW - timedelta(hours=5), days=0.2)
    fetch = fetch(given)
    report = fetch.run(hours=6, window_orders=100)
    details = report.details
    assert (report.pipeline, report.status) == ("walmart_to_kafka", "complete")
    assert (report.rows_read, report.rows_written, report.rows_rejected) == (500, 500, 0)
    bytes_given = sum(len(fetch.api.shelf.body(order_id(one))) for one in given)
    assert report.bytes_read == bytes_given
    assert report.bytes_written == sum(len(message.value or b"") for message in fetch.messages())
    assert (details["topic"], details["account_tag"], details["resumed_from"]) == (fetch.topic, "eForCity", None)
    assert details["requests"] == len(fetch.api.requests)
    assert (details["pages_repeated"], details["duplicates"]) == (0, 0)
    assert details["windows"] >= 5


CHECKS = {
    "well": ({}, None, "3 orders"),
    "without a broker": ({"bootstrap_servers": "127.0.0.1:1"}, "broker", ""),
    "wrong": ({"walmart_token": "QTpC"}, "api", "refuses the credentials"),
    "no credentials": ({"walmart_token": ""}, "api", "no credentials"),
    "no API": ({"base_url": "http://127.0.0.1:1/v3"}, "api", "cannot be reached"),
    "an API without orders": ({}, None, "0 orders"),
    "an API that is ill": ({}, "api", "503"),
}


@pytest.fixture(scope="module")
def checked(kafka, tmp_path_factory) -> Iterator[dict[str, Future[tuple[Fetch, Ended]]]]:
    """How `check walmart-to-kafka` ended in each case."""
    folder = tmp_path_factory.mktemp("checks")

    def scenario(case: str) -> tuple[Fetch, Ended]:
        given = [order(number, NOW - timedelta(minutes=5), node=NODES[0]) for number in range(3)]
        faults = [Fault("error", status=503, shape="empty", times=None)] if "ill" in case else []
        with fetching(kafka, folder, [] if "without orders" in case else given, {}, faults=faults) as fetch:
            return fetch, run(folder, f"check {COMMAND}", json=True, **{**fetch.settings, **CHECKS[case][0]})

    yield from side_by_side(scenario, CHECKS)


@pytest.mark.parametrize("case", CHECKS)
def test_a_check_of_walmart_to_kafka_tries_broker_topic_and_api_and_moves_nothing(checked, kafka, case) -> None:
    _, broken, said = CHECKS[case]
    fetch, ended = checked[case].result()
    found = {item["name"]: item for item in json.loads(ended.out)}
    assert list(found) == [name for name in ("broker", "topic", "api") if name != "topic" or broken != "broker"]
    assert [name for name, item in found.items() if not item["ok"]] == ([broken] if broken else [])
    assert ended.code == (1 if broken else 0)
    assert said in found[broken or "api"]["detail"]
    if broken != "broker":
        assert "will be created" in found["topic"]["detail"]
    assert topics.partitions(kafka, fetch.topic) == 0
    assert len(fetch.api.requests) <= 2
    assert not fetch.api.violations


def test_orders_go_from_the_api_into_the_tables(fetch, kafka, mariadb, tmp_path) -> None:
    given = orders(600, NOW - timedelta(days=2), days=1.9, bursts=1, burst_orders=200)
    fetch = fetch(given, token_calls=5)
    called(fetch, "-H 50")
    load = Load(kafka, mariadb, tmp_path, partitions=3, topic=fetch.topic)
    load.init()
    ended = load.work(until="end")
    assert ended.report["rows_read"] == len(given)
    found = load.dump()
    for row in found["order"]:
        assert row.pop("load_time")
        row["load_time"] = None
    expected = Rules().all_tables(newest(message.value or b"" for message in fetch.messages()))
    for table, rows in expected.items():
        assert_same_rows(table, found[table], rows)
    assert len(found["order"]) == sum(len(one["orderLines"]["orderLine"]) for one in given)
