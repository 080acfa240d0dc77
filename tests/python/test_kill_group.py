"""Sinks of one group that come, go and are killed while data flows: every row is in one file, once."""

from __future__ import annotations

import contextlib
import signal
import time

from tests.python.support import data, oracle, topics
from tests.python.support.children import Child, seeded, side_by_side, succeed
from tests.python.support.places import Place

from pipeline_core import verify

ROWS = 60_000
ROWS_PER_SECOND = 4_000
PARTITIONS = 6
SESSION_SECONDS = 1.5
MEMBERS = 3
DRAIN_SECONDS = 40
JOINS = 32


def test_members_that_come_and_go_lose_nothing_and_double_nothing(kafka, tmp_path) -> None:
    """Three sinks to begin with; now and then one is killed, frozen for a while, told to end, or added."""
    dice = seeded("a storm in a group")
    csv = data.narrow(tmp_path / "orders.csv", ROWS)
    topic = kafka.new_topic(partitions=PARTITIONS)
    place = Place(str(tmp_path / "lake"))
    where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
    given = {**where, "to": place.url, "group_id": topic, "session_timeout_seconds": SESSION_SECONDS}
    given |= {"flush_rows": 400, "flush_seconds": 0.5, "partition_by": "kind"}
    happened: list[str] = []
    with contextlib.ExitStack() as running:

        def member() -> Child:
            return running.enter_context(Child(tmp_path, "kafka-to-parquet", **given))

        settings = {**where, "rate": ROWS_PER_SECOND, "key": "id"}
        producer = running.enter_context(Child(tmp_path, f"csv-to-kafka {csv}", **settings))
        members = [member() for _ in range(MEMBERS)]
        leaving: list[Child] = []
        frozen: list[Child] = []
        while producer.is_running:
            time.sleep(dice.uniform(0.2, 1.2))
            for child in [child for child in frozen if dice.random() < 0.4]:
                frozen.remove(child)
                child.wake()
            action = dice.choice(["kill", "freeze", "end", "add"]) if len(members) > 1 else "add"
            if len(members) > MEMBERS:
                action = dice.choice(["kill", "end"])
            happened.append(action)
            victim = members.pop(dice.randrange(len(members))) if action in {"kill", "end"} else dice.choice(members)
            match action:
                case "kill":
                    victim.kill()
                case "end":
                    victim.send(signal.SIGTERM)
                    leaving.append(victim)
                case "freeze":
                    victim.send(signal.SIGSTOP)
                    frozen.append(victim)  # Often for longer than its session.
                case _:
                    members.append(member())
        for child in frozen:
            child.wake()
        for child in members:
            child.send(signal.SIGTERM)
        ended = [child.wait(DRAIN_SECONDS) for child in [*leaving, *members]]
        assert producer.wait().code == 0, producer.said
    print("What happened:", happened)  # noqa: T201 - pytest shows it when the test fails
    # SIGTERM before Python has set its handlers ends a child that has done nothing yet.
    assert {end.code for end in ended} <= {143, -signal.SIGTERM}, [end for end in ended if end.code != 143]
    assert len(happened) > 8
    succeed(tmp_path, "kafka-to-parquet", **given, until="end")
    report = verify(place.url, **where)
    assert report.ok, report.problems[:5]
    oracle.assert_each_row_once(place, *oracle.csv_rows(csv, encoding="utf-8"), topics.messages(kafka, topic))


def test_a_member_that_is_told_to_end_while_it_joins_ends(kafka, tmp_path) -> None:
    """At any moment of its start and of the group's rebalances, with partitions to be taken over and dead members."""
    dice = seeded("the moments of joining")
    topic = kafka.new_topic(PARTITIONS)
    given = {"topic": topic, "bootstrap_servers": kafka.bootstrap, "to": tmp_path / "lake", "group_id": topic}
    given |= {"session_timeout_seconds": SESSION_SECONDS}

    def scenario(case: tuple[float, signal.Signals]) -> int:
        delay, number = case
        with Child(tmp_path, "kafka-to-parquet", **given) as child:
            time.sleep(delay)
            child.send(number)
            return child.wait(DRAIN_SECONDS / 2).code

    cases = [
        (dice.uniform(0.8, 2.4), dice.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGKILL])) for _ in range(JOINS)
    ]
    with Child(tmp_path, "kafka-to-parquet", **given) as one, Child(tmp_path, "kafka-to-parquet", **given) as other:
        one.wait_for("reading a partition")
        other.wait_for("reading a partition")
        for results in side_by_side(scenario, cases):
            assert {result.result() for result in results.values()} <= {143, -signal.SIGTERM, -signal.SIGKILL}
