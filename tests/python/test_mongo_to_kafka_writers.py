"""Four writers for a minute: a stream has each change once and in order, a cursor every document, killed or not."""

from __future__ import annotations

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.python.support import json_forms
from tests.python.support.change_oracle import Vanished, assert_told
from tests.python.support.children import seeded, side_by_side, wait_until
from tests.python.support.document_writers import DocumentWriters, Poller
from tests.python.support.feeds import Feed
from tests.services.kafka import start_kafka
from tests.services.mongodb import start_mongodb

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.python.support.children import Child
    from tests.services.kafka import Kafka
    from tests.services.mongodb import Mongodb
    from tests.services.process import Server

    from pipeline_core.report import Report

WRITING_SECONDS = 60
KILLS = 20
LAG_SECONDS = 6
STREAM = {"mode": "stream", "exactly_once": True, "json_form": "plain", "transaction_seconds": 0.5, "batch_size": 300}
CURSOR = {"lag_seconds": LAG_SECONDS, "json_form": "plain", "transaction_seconds": 0.5, "poll_interval_ms": 300}
BY_TIME = {**CURSOR, "cursor_field": "updated_at", "exactly_once": True}


@dataclass
class Written:
    """What was written, and the feeds that followed it.

    Attributes:
        writers: What was written.
        stream: Every change.
        by_time: By the time of the last change.
        by_id: By the id.
        seen: The ids that the original would have seen.
        reports: Of the runs of the stream.
    """

    writers: DocumentWriters
    stream: Feed
    by_time: Feed
    by_id: Feed | None = None
    seen: tuple[object, ...] = ()
    reports: tuple[Report, ...] = ()

    def finish(self) -> Report:
        """Send what is there now that nobody writes any more."""
        for document in self.stream.collection.find():
            self.writers.saw(document["_id"], document["version"])
        for feed in filter(None, (self.by_time, self.by_id)):
            feed.run()
        return self.stream.run()


def undisturbed(kafka: Kafka, mongodb: Mongodb, folder: Path) -> Written:
    """Each run goes on until it is stopped; they begin when there is something, while there is more."""
    stream = Feed(kafka, mongodb, folder / "stream", settings=STREAM)
    by_time = Feed(kafka, mongodb, folder / "time", database=stream.database, settings=BY_TIME)
    by_id = Feed(kafka, mongodb, folder / "id", database=stream.database, settings=CURSOR)
    start = time.monotonic()
    with Poller(stream) as poller, DocumentWriters(stream, seeded("four writers"), within=LAG_SECONDS) as writers:
        wait_until(lambda: writers.made > 200, "something is there")
        with stream.running() as run, by_time.running(), by_id.running():
            time.sleep(max(0, start + WRITING_SECONDS - time.monotonic()))
    written = Written(writers, stream, by_time, by_id, tuple(poller.seen))
    written.reports = (run.report, written.finish())
    return written


def killed(folder: Path) -> Written:
    """Runs are killed, and so are the servers."""
    broker, database = start_kafka(), start_mongodb()
    with broker.server, database.server:
        stream = Feed(broker.plain, database, folder / "stream", settings=STREAM)
        by_time = Feed(broker.plain, database, folder / "time", database=stream.database, settings=BY_TIME)
        dice = seeded("four writers and kills")
        start = time.monotonic()
        with (
            DocumentWriters(stream, dice, within=LAG_SECONDS, survives=True) as writers,
            ThreadPoolExecutor(3) as pool,
        ):
            acts = [pool.submit(kill_again_and_again, feed, start, seeded("moments")) for feed in (stream, by_time)]
            acts.append(pool.submit(cut_the_power, [database.server, broker.server, database.server], start))
            for act in acts:
                act.result()
            time.sleep(max(0, start + WRITING_SECONDS - time.monotonic()))
        written = Written(writers, stream, by_time)
        written.reports = (written.finish(),)
        # The broker goes with this scenario.
        stream.keep()
        by_time.keep()
        return written


def kill_again_and_again(feed: Feed, start: float, dice: random.Random) -> None:
    """Start a run, and kill it some time after it has begun to send."""
    for number in range(1, KILLS + 1):
        due = start + (number + dice.uniform(-0.3, 0.3)) * WRITING_SECONDS / (KILLS + 1)
        before = feed.sent()
        with ExitStack() as stack:
            children = [stack.enter_context(feed.worker(until="stopped"))]

            def has_sent(before: int = before, stack: ExitStack = stack, children: list[Child] = children) -> bool:
                if not children[-1].is_running:
                    # A run does not begin without a broker; whoever runs it tries again.
                    assert "Cannot reach Kafka" in children[-1].said, children[-1].said[-3000:]
                    children.append(stack.enter_context(feed.worker(until="stopped")))
                return feed.sent() > before

            wait_until(has_sent, "it is at work")
            child = children[-1]
            time.sleep(max(0, due - time.monotonic()))
            child.kill()
            assert child.process.returncode == -signal.SIGKILL, child.said[-3000:]


def cut_the_power(servers: list[Server], start: float) -> None:
    """One server after the other is gone for a moment."""
    for number, server in enumerate(servers, 1):
        time.sleep(max(0, start + number * WRITING_SECONDS / (len(servers) + 1) - time.monotonic()))
        server.kill()
        time.sleep(0.5)
        server.start()


@pytest.fixture(scope="module")
def written(kafka, mongodb, tmp_path_factory) -> Iterator[dict[str, Future[Written]]]:
    """Both scenarios at once."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("undisturbed", "killed")}

    def scenario(name: str) -> Written:
        return undisturbed(kafka, mongodb, folders[name]) if name == "undisturbed" else killed(folders[name])

    yield from side_by_side(scenario, folders)


@pytest.mark.parametrize("how", ["undisturbed", "killed"])
def test_a_stream_of_four_writers_has_each_change_once_and_in_order(written, how) -> None:
    found = written[how].result()
    vanished = assert_told(found.writers.changes(), found.stream.by_key(), after_snapshot=True)
    kinds = Counter(change.kind for changes in found.writers.changes().values() for change in changes)
    assert kinds["delete"] > 100, kinds
    assert kinds.total() > 1_000, "There was load"
    assert is_told(found.reports, vanished) or how == "killed", (found.reports, vanished)


def is_told(reports: tuple[Report, ...], vanished: Vanished) -> bool:
    """Whether the runs say how many updates they did not send."""
    return vanished.at_least <= sum(report.details["vanished"] for report in reports) <= vanished.at_most


@pytest.mark.parametrize("how", ["undisturbed", "killed"])
def test_a_cursor_has_every_document_of_four_writers_in_its_last_version(written, how) -> None:
    found = written[how].result().by_time
    assert_last_versions(found)
    twice = [pair for pair, count in Counter((one.key, one.value) for one in found.messages()).items() if count > 1]
    assert not twice, f"{len(twice)} were sent twice as they are: {twice[:3]}"


def assert_last_versions(feed: Feed) -> None:
    """What the topic says last of each document that is there is the document."""
    expected = {json_forms.key(raw): json_forms.form(raw, "plain") for raw in feed.documents()}
    assert len(expected) > 100, "There are documents"
    latest = feed.latest()
    missing = expected.keys() - latest.keys()
    assert not missing, f"{len(missing)} of {len(expected)} were never sent: {sorted(missing)[:3]}"
    old = {key: latest[key] for key, form in expected.items() if json_forms.parse(latest[key] or b"") != form}
    assert not old, f"{len(old)} of {len(expected)} are not sent as they are: {next(iter(old.items()))}"


def test_a_cursor_by_the_id_misses_no_document_that_the_original_would(written) -> None:
    found = written["undisturbed"].result()
    writers = found.writers
    in_time = {
        str(key).encode()
        for key, lives in writers.lives.items()
        if len(lives) == 1 and not lives[0].is_over and key not in writers.late
    }
    assert len(in_time) > 100
    missing = in_time - found.by_id.latest().keys()
    assert not missing, f"{len(missing)} of {len(in_time)} were never sent: {sorted(missing)[:3]}"
    missed = in_time - {str(key).encode() for key in found.seen}
    assert missed, "The original would miss none: the load has no late documents"
