"""The cursor file of `mongo_to_kafka`: typed, atomic, never ahead of the topic, and of one run at a time."""

from __future__ import annotations

import json
import logging
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from bson import ObjectId
from tests.python.support.children import wait_until
from tests.python.support.feeds import Feed, numbered
from tests.python.support.mongo_proxy import MongoProxy
from tests.services.kafka import start_kafka
from tests.services.mongodb import PASSWORD, USER

from pipeline_core.exceptions import AccessDeniedError, ConflictError, NotFoundError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services.kafka import Broker
    from tests.services.mongodb import Mongodb

LAG_SECONDS = 0.2
EXACTLY_ONCE = pytest.mark.parametrize("is_exact", [False, True], ids=["at least once", "exactly once"])
BEGIN = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())
SAYS_NOTHING = "says nothing"


@pytest.fixture
def feed(kafka, mongodb, tmp_path) -> Feed:
    """Twenty documents that are long there."""
    found = Feed(kafka, mongodb, tmp_path, settings={"lag_seconds": LAG_SECONDS, "json_form": "plain"})
    insert(found, range(20))
    return found


def key(number: int) -> ObjectId:
    """An id of long ago, a second for each number."""
    return ObjectId(f"{BEGIN + number:08x}{'0' * 16}")


def insert(feed: Feed, numbers: range) -> None:
    """Documents with these ids, in another order."""
    feed.insert(*({"_id": key(number), "number": number} for number in sorted(numbers, key=lambda it: it % 7)))


def numbers(feed: Feed) -> list[int]:
    """The numbers on the topic, sorted."""
    return sorted(json.loads(message.value or b"")["number"] for message in feed.messages())


def write(feed: Feed, text: str | bytes, mode: str = "cursor") -> None:
    """A cursor file as somebody has left it."""
    feed.file(mode).parent.mkdir(parents=True, exist_ok=True)
    feed.file(mode).write_bytes(text if isinstance(text, bytes) else text.encode())


def previous(feed: Feed) -> Path:
    """The generation before."""
    file = feed.file()
    return file.with_name(f"{file.name}.previous")


@pytest.mark.parametrize("text", ["{}", "{}\n", "  {}  \n", "6560cf7e1f2b3c4d5e6f7081\n{}"])
def test_the_original_s_cursor_is_read_and_then_written_typed(feed, text) -> None:
    write(feed, text.format(key(14)))
    shown = feed.cursor()
    assert (shown.position, shown.original_format, shown.mode) == ({"$oid": str(key(14))}, True, "cursor")
    report = feed.run()
    assert (report.rows_written, report.details["resumed"]) == (5, True)
    assert numbers(feed) == [15, 16, 17, 18, 19]
    assert "$oid" in json.dumps(json.loads(feed.file().read_text()))
    shown = feed.cursor()
    assert (shown.position, shown.original_format) == ({"$oid": str(key(19))}, False)


@pytest.mark.parametrize("text", ["", " \n", "None", "None\n"], ids=["empty", "blank", "None", "None and a newline"])
def test_a_cursor_that_says_nothing_is_the_beginning_with_a_warning(feed, text) -> None:
    write(feed, text)
    ended = feed.work()
    assert ended.report["rows_written"] == 20
    warnings = [line for line in map(json.loads, ended.err.splitlines()) if line["level"] == "warning"]
    assert any(SAYS_NOTHING in line["event"] for line in warnings), ended.err
    assert feed.run().rows_written == 0


@pytest.mark.parametrize("damage", [b'{"format":1,"edi', b"\0" * 300, b"\xff\xfe", b"6560cf7e1f2b3c4d5e6f708"])
def test_of_a_damaged_cursor_the_generation_before_counts(feed, damage) -> None:
    feed.run(until="10rows", transaction_rows=10)
    insert(feed, range(20, 30))
    feed.run()
    assert previous(feed).exists()
    write(feed, damage)
    insert(feed, range(30, 35))
    ended = feed.work()
    assert "cannot be read" in ended.err
    assert {*numbers(feed)} == {*range(35)}
    assert json.loads(feed.file().read_text())


def test_a_cursor_of_which_all_is_damaged_is_an_error_that_says_the_way_out(feed) -> None:
    write(feed, b"\0" * 300)
    previous(feed).write_bytes(b'{"format":')
    with pytest.raises(SettingsError) as failed:
        feed.run()
    assert "cursor reset" in (failed.value.hint or "")
    assert feed.messages() == []
    feed.cursor("reset")
    assert feed.run().rows_written == 20


@EXACTLY_ONCE
def test_a_run_with_nothing_to_send_leaves_a_cursor_that_can_be_read(kafka, mongodb, tmp_path, is_exact) -> None:
    feed = Feed(kafka, mongodb, tmp_path, settings={"lag_seconds": LAG_SECONDS, "exactly_once": is_exact})
    feed.client[feed.database].create_collection(feed.settings["collection"])
    for _ in range(3):
        assert feed.run().rows_written == 0
        assert not feed.file().exists() or "None" not in feed.file().read_text()
    feed.insert(*numbered(3))
    assert feed.run().rows_written == 3
    before = feed.cursor().position
    assert feed.run().rows_written == 0
    # It may have moved on: the documents grow older than the lag.
    sent = feed.client[feed.database][feed.settings["collection"]].find()
    assert feed.cursor().position in (before, *({"$oid": str(one["_id"])} for one in sent))
    assert "None" not in feed.file().read_text()


def test_a_collection_that_is_missing_is_named_and_nothing_is_written(kafka, mongodb, tmp_path) -> None:
    feed = Feed(kafka, mongodb, tmp_path)
    with pytest.raises(NotFoundError, match="things"):
        feed.run()
    assert not feed.file().exists()


@EXACTLY_ONCE
def test_a_cursor_keeps_the_type_of_its_field(feed, is_exact) -> None:
    values = [5, 2.5, "text", {"a": 1}, b"\0", True, datetime(2026, 1, 2, tzinfo=timezone.utc)]
    feed.collection.delete_many({})
    feed.insert(*({"number": at, "at": value} for at, value in enumerate(values)))
    feed.settings |= {"cursor_field": "at", "exactly_once": is_exact}
    texts = ('{"$numberInt": "5"}', '"text"', '{"$date": {"$numberLong": "1767312000000"}}', "true", '"$binary"')
    with feed.running():
        # When all are old enough, the position is behind them.
        wait_until(lambda: all(text in json.dumps(feed.cursor().position) for text in texts), "it has a position", 30)
    assert len(feed.messages()) == len(values)
    feed.insert({"number": 99, "at": 7})
    assert feed.run().rows_written == 1


@pytest.fixture(scope="module")
def frail(kafka) -> Iterator[Broker]:  # noqa: ARG001 - where that one cannot run, this one cannot either
    """A broker of these tests, to be stopped, killed, frozen and restarted."""
    broker = start_kafka()
    with broker.server:
        yield broker


@EXACTLY_ONCE
def test_the_cursor_never_passes_what_the_broker_has_not_acknowledged(frail, mongodb, tmp_path, is_exact) -> None:
    settings = {"lag_seconds": LAG_SECONDS, "transaction_rows": 50, "batch_size": 50, "json_form": "plain"}
    feed = Feed(frail.plain, mongodb, tmp_path, settings={**settings, "exactly_once": is_exact})
    insert(feed, range(500))
    with feed.worker(fault="after_commit:3:stop", stats_interval_seconds=0.1) as child:
        child.wait_until_frozen()
        frail.server.pause()
        child.wake()
        child.wait_for('"statistics"')
        time.sleep(1)
        assert child.is_running, child.said[-3000:]
        child.kill()
    frail.server.resume()
    lows = json.loads(feed.file().read_text())["progress"]["ordered"]["lows"]
    passed = {number for number in range(600) if str(key(number)) <= lows["objectId"]["value"]["$oid"]}
    assert len(passed) == 150, "What was acknowledged, and not more"
    assert passed <= {*numbers(feed)}
    insert(feed, range(500, 600))
    feed.run()
    assert {*numbers(feed)} == {*range(600)}
    assert not is_exact or len(numbers(feed)) == 600


def test_a_broker_that_is_killed_in_the_middle_costs_nothing(frail, mongodb, tmp_path) -> None:
    feed = Feed(frail.plain, mongodb, tmp_path, settings={"batch_size": 20, "transaction_rows": 20})
    feed.settings["json_form"] = "plain"
    insert(feed, range(300))
    with feed.worker(fault="after_commit:4:stop") as child:
        child.wait_until_frozen()
        frail.server.kill()
        child.wake()
        frail.server.start()
        assert child.wait().code == 0
    assert {*numbers(feed)} == {*range(300)}


@pytest.mark.parametrize("name", ["find", "getMore"])
def test_connections_to_the_collection_that_break_in_the_middle_cost_nothing(feed, name) -> None:
    insert(feed, range(20, 600))
    with MongoProxy(feed.mongodb.url) as proxy:
        every = {"find": 1, "getMore": 3}[name]
        lost = [proxy.lose_reply(f"'{name}'", every, times=2), proxy.lose_request(f"'{name}'", every, times=1)]
        report = feed.run(mongodb_uri=proxy.uri, batch_size=50, exactly_once=True)
    assert sum(fault.happened for fault in lost) == 3
    assert report.rows_written == 600
    assert numbers(feed) == [*range(600)]


def test_two_runs_at_a_time_are_kept_apart(feed) -> None:
    with feed.running():
        wait_until(lambda: len(feed.messages()) == 20, "the first is at work")
        for settings in ({}, {"exactly_once": True}, {"full_amount": True}):
            with pytest.raises(ConflictError, match="run"):
                feed.run(**settings)
        for action in (lambda: feed.cursor("reset"), lambda: feed.cursor("set", str(key(5)))):
            with pytest.raises(ConflictError):
                action()
        assert feed.cursor().position is not None
        insert(feed, range(20, 30))
        wait_until(lambda: len(feed.messages()) == 30, "the first goes on")
    assert numbers(feed) == [*range(30)]
    assert feed.run().rows_written == 0


def test_the_lock_of_a_killed_run_is_gone_with_it(feed) -> None:
    with feed.worker(until="stopped") as child:
        feed.wait_until_sent(child, count=20)
        child.kill()
    insert(feed, range(20, 25))
    feed.run()
    assert {*numbers(feed)} == {*range(25)}


def test_a_cursor_can_be_shown_set_and_reset(feed) -> None:
    shown = feed.cursor()
    assert (shown.position, shown.mode, shown.field, shown.window) == (None, "cursor", "_id", 0)
    assert Path(shown.file) == feed.file()
    assert not feed.file().exists()
    feed.cursor("set", str(key(9)))
    assert feed.run().rows_written == 10
    assert feed.cursor().position == {"$oid": str(key(19))}
    feed.cursor("set", json.dumps({"$oid": str(key(17))}))
    assert feed.run().rows_written == 2
    feed.cursor("reset")
    assert feed.cursor().position is None
    assert feed.run().rows_written == 20


def test_the_command_cursor_does_the_same(feed) -> None:
    feed.command(f"set {key(15)}")
    assert feed.command("show")["position"] == {"$oid": str(key(15))}
    assert feed.run().rows_written == 4
    feed.command("reset")
    assert feed.cursor().position is None
    assert feed.run().rows_written == 20


def test_a_cursor_is_set_to_a_time(feed) -> None:
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    feed.collection.delete_many({})
    feed.insert(*({"number": number, "at": begin + timedelta(hours=number // 2)} for number in range(20)))
    settings: dict[str, Any] = {"cursor_field": "at"}
    feed.cursor("set", '{"$date": "2026-01-01T04:00:00Z"}', **settings)
    assert feed.run(**settings).rows_written == 10
    assert numbers(feed) == [*range(10, 20)]


@pytest.mark.parametrize("value", ["None", "", "6560cf7e1f2b3c4d5e6f708", "{", '{"$oid": "x"}', "[1]", "null"])
def test_a_cursor_is_not_set_to_what_is_no_value(feed, value) -> None:
    feed.run()
    before = feed.file().read_bytes()
    with pytest.raises(SettingsError):
        feed.cursor("set", value)
    assert feed.file().read_bytes() == before


def lost(feed: Feed) -> None:
    for file in feed.state.glob("cursor.db*"):
        file.unlink()


def restored(feed: Feed) -> None:
    """From a backup that somebody made earlier."""
    feed.file().write_bytes((feed.folder / "backup").read_bytes())


def emptied(feed: Feed) -> None:
    feed.file().write_bytes(b"")


@pytest.mark.parametrize("happens", [lost, restored, emptied])
def test_with_transactions_the_position_on_the_topic_counts_where_it_is_newer(feed, happens) -> None:
    feed.settings["exactly_once"] = True
    feed.run()
    (feed.folder / "backup").write_bytes(feed.file().read_bytes())
    insert(feed, range(20, 30))
    feed.run()
    happens(feed)
    insert(feed, range(30, 33))
    assert feed.run().rows_written == 3
    assert numbers(feed) == [*range(33)]


@pytest.mark.parametrize("file", [None, lost])
def test_what_a_user_sets_wins_over_the_position_on_the_topic(feed, file: Callable[[Feed], None] | None) -> None:
    feed.settings["exactly_once"] = True
    feed.run()
    if file:
        file(feed)
    feed.cursor("set", str(key(16)))
    assert feed.run().rows_written == 3
    assert feed.run().rows_written == 0
    if file:
        file(feed)
    feed.cursor("reset")
    assert feed.run().rows_written == 20
    assert feed.run().rows_written == 0


def test_a_run_without_transactions_and_one_with_them_go_on_from_each_other(feed) -> None:
    for number, is_exact in enumerate((False, True, False, True), 1):
        feed.run(exactly_once=is_exact)
        insert(feed, range(20 * number, 20 * (number + 1)))
    feed.run()
    assert numbers(feed) == [*range(100)]


def test_the_folder_of_the_cursors_moves_with_the_environment(feed, monkeypatch) -> None:
    elsewhere = feed.folder / "elsewhere"
    monkeypatch.setenv("PIPELINE_CORE_RUNTIME_DIR", str(elsewhere))
    del feed.settings["runtime_dir"]
    feed.run()
    assert (elsewhere / "cursors" / feed.topic / "things" / "cursor.db").exists()
    assert not feed.file().exists()


def test_a_changed_filter_is_refused_until_the_cursor_is_reset(feed) -> None:
    even = '{"number": {"$mod": [2, 0]}}'
    assert feed.run(filter=even).rows_written == 10
    before = feed.file().read_bytes()
    for changed in (None, '{"number": {"$mod": [2, 1]}}'):
        with pytest.raises(ConflictError, match="filter"):
            feed.run(filter=changed)
    assert feed.file().read_bytes() == before
    insert(feed, range(20, 24))
    assert feed.run(filter=even).rows_written == 2
    feed.cursor("reset")
    assert feed.run().rows_written == 24


def test_a_cursor_of_another_field_or_database_is_refused(feed) -> None:
    feed.run()
    another = feed.mongodb.new_database()
    feed.client[another]["things"].insert_one({})
    for changed in ({"cursor_field": "number"}, {"mongodb_database": another}):
        with pytest.raises(ConflictError):
            feed.run(**changed)
    assert len(feed.messages()) == 20


@EXACTLY_ONCE
def test_a_full_run_leaves_the_cursor_good_also_when_it_is_killed(feed, is_exact) -> None:
    feed.settings |= {"exactly_once": is_exact, "batch_size": 5, "transaction_rows": 5}
    feed.run()
    insert(feed, range(20, 25))
    with feed.worker(full_amount=True, fault="after_commit:2:kill") as child:
        child.wait_until_killed()
    killed = len(numbers(feed)) - 20
    assert 10 <= killed < 25
    assert feed.cursor().position == {"$oid": str(key(19))}
    assert feed.cursor().snapshot
    assert feed.run().rows_written == 5, "The incremental cursor is as it was"
    insert(feed, range(25, 30))
    resumed = feed.run(full_amount=True).rows_written
    assert resumed == 30 - killed or (not is_exact and 30 - killed < resumed < 30)
    assert feed.run().rows_written == 0
    assert not feed.cursor().snapshot
    insert(feed, range(30, 32))
    assert feed.run().rows_written == 2
    assert feed.run(full_amount=True).rows_written == 32
    assert {*numbers(feed)} == {*range(32)}


def test_a_first_full_run_is_gone_on_with_by_what_is_new(feed) -> None:
    assert feed.run(full_amount=True).rows_written == 20
    insert(feed, range(20, 25))
    assert feed.run().rows_written == 5
    assert numbers(feed) == [*range(25)]


def test_what_shares_a_value_is_told_apart_by_the_id(feed) -> None:
    """The position stands between documents of the same value, also of ids of several types."""
    feed.collection.delete_many({})
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    ids: list[Any] = [*range(10), "a", "b", "c", *map(key, range(5)), b"x", at]
    feed.insert(*({"_id": each, "number": number, "at": at} for number, each in enumerate(ids)))
    settings = {"cursor_field": "at", "batch_size": 1, "transaction_rows": 1}
    for wanted in range(1, len(ids) + 1):
        assert feed.run(until="1rows", **settings).rows_written == 1
        assert len({*numbers(feed)}) == wanted
    assert feed.run(**settings).rows_written == 0


def test_documents_that_come_late_inside_the_lag_are_found_and_none_is_sent_twice(feed) -> None:
    feed.settings["lag_seconds"] = 60
    feed.settings["exactly_once"] = True
    now = int(time.time())
    for seconds in (0, 3, -3, 1, -4, 0, 2):
        feed.insert({"_id": ObjectId(f"{now + seconds:08x}{str(ObjectId())[8:]}"), "number": 100})
        assert feed.run().rows_written in {1, 21}
    assert numbers(feed) == [*range(20), *[100] * 7]


def test_more_young_documents_than_are_remembered_wait_until_they_are_old_enough(feed) -> None:
    feed.insert(*numbered(50, 100))
    report = feed.run(lag_seconds=2, window_documents=10)
    feed.run(lag_seconds=2, window_documents=10)
    assert {*numbers(feed)} >= {*range(20)}
    wait_until(lambda: feed.run(lag_seconds=2, window_documents=10).details["waiting"] == 0, "none waits", 20)
    assert sorted({*numbers(feed)}) == [*range(20), *range(100, 150)]
    assert report.rows_written <= 70


def test_sigterm_ends_a_run_after_what_it_has_read_is_sent_and_remembered(feed) -> None:
    with feed.worker(until="stopped") as child:
        feed.wait_until_sent(child, count=20)
        child.send(signal.SIGTERM)
        assert child.wait().code == 143
    assert feed.work().report["rows_written"] == 0
    assert numbers(feed) == [*range(20)]


@pytest.mark.parametrize("mode", ["cursor", "stream"])
def test_a_server_with_tls_and_a_login_is_read_by_who_knows_the_password(
    kafka, mongodb_secured, tmp_path, mode
) -> None:
    feed = Feed(kafka, mongodb_secured, tmp_path, settings={"mode": mode})
    feed.insert(*numbered(3))
    assert feed.run().rows_written == 3
    wrong = mongodb_secured.url.replace(PASSWORD, "wrong")
    with pytest.raises(AccessDeniedError) as failed:
        feed.run(mongodb_uri=wrong)
    assert PASSWORD not in str(failed.value)
    assert feed.run(**by_fields(mongodb_secured)).rows_written == 0


def by_fields(server: Mongodb) -> dict[str, Any]:
    """The settings of the original for a server."""
    host, port = urlsplit(server.url).netloc.rpartition("@")[2].split(":")
    account = {"mongodb_user": USER, "mongodb_password": PASSWORD, "mongodb_auth_source": "admin"}
    tls = {"mongodb_tls": True, "mongodb_ca_location": server.ca}
    return {"mongodb_uri": None, "mongodb_host": host, "mongodb_port": int(port), **account, **tls}


def test_a_server_that_is_away_when_a_run_begins_is_waited_for(kafka, own_mongodb, tmp_path) -> None:
    feed = Feed(kafka, own_mongodb, tmp_path)
    feed.insert(*numbered(3))
    own_mongodb.server.kill()
    with feed.worker() as child:
        time.sleep(2)
        assert child.is_running, child.said[-3000:]
        own_mongodb.server.start()
        ended = child.wait()
    assert (ended.code, ended.report["rows_written"]) == (0, 3), ended.err[-3000:]


def test_debug_says_each_portion(feed, caplog) -> None:
    caplog.set_level(logging.INFO, "pipeline_core")
    feed.run()
    assert "sent and remembered" not in caplog.text
    insert(feed, range(20, 25))
    feed.run(debug=True)
    assert any("sent and remembered" in line and "written=5" in line for line in caplog.messages)
