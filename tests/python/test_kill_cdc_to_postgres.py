"""`cdc-to-postgres` killed at every step of its transaction, frozen, in a group that changes: exact."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from tests.python.support.applies import Apply
from tests.python.support.children import Child, Ended, seeded, side_by_side, wait_until
from tests.python.support.events import Event, History, Sent, everywhere

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.python.support.applies import Row
    from tests.python.support.replicas import Replica
    from tests.python.support.topics import Message
    from tests.services.kafka import Kafka
    from tests.services.postgres import Postgres
    from typing_extensions import Self

PARTITIONS = 2
BATCH = 50
SESSION_SECONDS = 1
WAKING_SECONDS = 60
DRAIN_SECONDS = 30
CHANGES = 700
ROWS = 40
TRUNCATES = 2
# Blanks after each message: librdkafka hands over 256 KiB at once, and there shall be many batches.
PADDING = b" " * 10_000
CHECK = "ALTER TABLE employees ADD CONSTRAINT paid CHECK (salary <> -77)"
# In the order of the protocol.
STEPS = (
    "after_claim",
    "before_transaction",
    "after_begin",
    "before_rows",
    "after_rows",
    "after_positions",
    "before_commit_sql",
    "after_commit_sql",
    "before_outbox",
    "after_outbox",
    "before_commit",
    "after_commit",
)
# Both partitions are claimed together.
COUNTS = {"after_claim": (1,), "before_outbox": (1, 2), "after_outbox": (1, 2)}
AT_STEPS = [f"{step}:{count}" for step in STEPS for count in COUNTS.get(step, (1, 2, 5))]
# Killed there, letters were sent that are not forgotten yet: they are sent again, the one thing that may come twice.
SENT = "before_outbox"


def refused(values: dict[str, str | None]) -> str | None:
    """What the database says of a row."""
    return "PostgreSQL 23514" if values["salary"] == "-77" else None


def poisoned(dice: random.Random, events: list[Event], partitions: int) -> list[Sent]:
    """The messages of a history: some that the rules refuse, some that the database does, some twice."""
    sent: list[Sent] = []
    for event in events:
        for message in everywhere([event], partitions):
            luck = dice.random()
            if event.action in {"INSERT", "UPDATE"} and luck < 0.05:
                sent.append(message.edited(lambda document: document.update(emp_salary=-77)))
                continue
            sent.append(message)
            if luck > 0.95:
                sent.append(Sent(message.key, b'{"action_id":', partition=message.partition))
            elif luck > 0.9:
                sent.append(message.on(dice.randrange(partitions)))
    return sent


def padded(sent: list[Sent]) -> list[Sent]:
    """The same, each a few kilobytes long."""
    return [replace(message, value=(message.value or b"") + PADDING) for message in sent]


@dataclass(frozen=True)
class Known:
    """What is on a topic: changes, some of them twice, and poison."""

    topic: str
    messages: list[Message]
    expected: Replica

    def apply(self, kafka: Kafka, postgres: Postgres, folder: Path, **settings: object) -> Apply:
        """A run of this topic into tables of its own."""
        given = {"batch_size": BATCH, "session_timeout_seconds": SESSION_SECONDS, "max_rejected_share": 1}
        apply = Apply(kafka, postgres, folder, partitions=PARTITIONS, topic=self.topic, settings={**given, **settings})
        apply.init()
        apply.query(CHECK)
        return apply


@pytest.fixture(scope="module")
def known(kafka, target_postgres, tmp_path_factory) -> Known:
    """A history on two partitions, and what it must come to."""
    dice = seeded("what is known")
    apply = Apply(kafka, target_postgres, tmp_path_factory.mktemp("known"), partitions=PARTITIONS)
    history = History(dice, ROWS)
    apply.send(*padded(poisoned(dice, history.more(CHANGES, truncates=TRUNCATES), PARTITIONS)))
    messages = apply.messages()
    expected = apply.replica(messages, refuses=refused)
    assert {*expected.letters.values()} == {"$", "PostgreSQL 23514"}
    assert len(expected.letters) > 30
    assert expected.duplicates > 10
    return Known(apply.topic, messages, expected)


@pytest.fixture(scope="module")
def killed(kafka, target_postgres, known, tmp_path_factory) -> Iterator[dict[str, Future[Apply]]]:
    """Runs that were killed at a step; another has gone on to the end."""

    def scenario(at: str) -> Apply:
        apply = known.apply(kafka, target_postgres, tmp_path_factory.mktemp("killed"))
        with apply.worker(fault=f"{at}:kill") as child:
            child.wait_until_killed()
        apply.work()
        return apply

    yield from side_by_side(scenario, AT_STEPS)


@pytest.mark.parametrize("at", AT_STEPS)
def test_a_kill_at_any_step_of_cdc_to_postgres_loses_nothing_and_doubles_nothing(known, killed, at) -> None:
    killed[at].result().assert_exact(known.expected, twice=at.startswith(SENT))


def test_a_kill_at_every_step_in_turn_loses_nothing_and_doubles_nothing(
    kafka, target_postgres, known, tmp_path
) -> None:
    apply = known.apply(kafka, target_postgres, tmp_path)
    for step in STEPS:
        with apply.worker(fault=f"{step}:1:kill") as child:
            child.wait_until_killed()
    apply.work()
    apply.assert_exact(known.expected, twice=True)


@pytest.mark.parametrize("enable_idempotency", [True, False])
def test_a_kill_at_random_moments_loses_nothing_and_doubles_nothing(
    kafka, target_postgres, known, tmp_path, enable_idempotency
) -> None:
    dice = seeded("random moments")
    settings = {"batch_size": 20, "enable_idempotency": enable_idempotency}
    apply = known.apply(kafka, target_postgres, tmp_path, **settings)
    for _ in range(6):
        with apply.worker() as child:
            child.wait_for("reading a partition")
            time.sleep(dice.expovariate(4))
            child.kill()
            assert child.process.returncode in {-signal.SIGKILL, 0}, child.said
    apply.work()
    apply.assert_exact(known.expected, twice=True, ledger=enable_idempotency)


@pytest.mark.parametrize("enable_idempotency", [True, False])
def test_a_kill_without_dead_letters_loses_nothing_and_doubles_nothing(
    kafka, target_postgres, tmp_path, enable_idempotency
) -> None:
    dice = seeded("without dead letters")
    settings = {"enable_dlq": False, "enable_idempotency": enable_idempotency, "batch_size": 25}
    apply = Apply(kafka, target_postgres, tmp_path, partitions=PARTITIONS, settings=settings)
    apply.init()
    history = History(dice, ROWS)
    apply.send(*padded(everywhere(history.more(400, truncates=1), PARTITIONS)))
    for step in ("after_rows", "before_commit_sql", "after_commit_sql", "after_commit"):
        with apply.worker(fault=f"{step}:2:kill") as child:
            child.wait_until_killed()
    apply.work()
    assert apply.assert_exact(ledger=enable_idempotency).rows == history.rows


MOVED_AT = ("after_begin", "after_rows", "before_commit_sql", "after_commit_sql", "after_outbox", "before_commit")


@pytest.fixture(scope="module")
def moved(kafka, target_postgres, tmp_path_factory) -> Iterator[dict[str, Future[Apply]]]:
    """One takes partitions of another over, is killed at a step soon after, and the other takes them back."""

    def scenario(at: str) -> Apply:
        dice = seeded(at)
        settings = {"session_timeout_seconds": SESSION_SECONDS, "max_rejected_share": 1, "batch_interval_ms": 50}
        apply = Apply(kafka, target_postgres, tmp_path_factory.mktemp("moved"), partitions=4, settings=settings)
        apply.init()
        apply.query(CHECK)
        given = poisoned(dice, History(dice, ROWS).more(CHANGES, truncates=TRUNCATES), apply.partitions)
        half = len(given) // 2
        with apply.worker(until="stopped") as other:
            other.wait_for("reading a partition")
            apply.send(*given[:half])
            apply.wait_until_applied(other)
            with apply.worker(fault=f"{at}:{dice.randint(1, 3)}:kill", until="stopped") as victim:
                victim.wait_for("reading a partition")
                with Feeding(apply, given[half:], pause=0.2):
                    victim.wait_until_killed()
            apply.wait_until_applied(other)
            other.send(signal.SIGTERM)
            assert other.wait(DRAIN_SECONDS).code == 143, other.said[-3000:]
        return apply

    yield from side_by_side(scenario, MOVED_AT)


@pytest.mark.parametrize("at", MOVED_AT)
def test_a_kill_while_partitions_move_loses_nothing_and_doubles_nothing(moved, at) -> None:
    apply = moved[at].result()
    apply.assert_exact(apply.replica(refuses=refused), twice=True)


@dataclass(frozen=True)
class Woken:
    """A run, what was in its tables when the zombie was woken, and how it ended."""

    apply: Apply
    before: dict[str, list[Row]]
    ended: Ended


FROZEN_AT = ("before_transaction", "after_begin", "after_rows", "after_positions", "before_commit_sql")
# Where it freezes, and whether its successor is still in the group when it wakes.
Case = tuple[str, str]
ZOMBIES: list[Case] = [
    *((at, "empty") for at in (*FROZEN_AT, "after_commit_sql")),
    *((at, "shared") for at in ("after_positions", "before_commit_sql")),
]


@pytest.fixture(scope="module")
def zombies(kafka, target_postgres, known, tmp_path_factory) -> Iterator[dict[Case, Future[Woken]]]:
    """Runs frozen at a step past their session, and woken when a successor has applied all."""

    def scenario(case: Case) -> Woken:
        at, group = case
        apply = known.apply(kafka, target_postgres, tmp_path_factory.mktemp("zombie"))
        with apply.worker(fault=f"{at}:2:stop") as zombie:
            zombie.wait_until_frozen()
            if group == "empty":
                apply.work()
                before = apply.dump()
                zombie.wake()
                return Woken(apply, before, zombie.wait(WAKING_SECONDS))
            with apply.worker(until="stopped") as other:
                apply.wait_until_applied(other)
                before = apply.dump()
                zombie.wake()
                ended = zombie.wait(WAKING_SECONDS)
                other.send(signal.SIGTERM)
                assert other.wait(DRAIN_SECONDS).code == 143, other.said
                return Woken(apply, before, ended)

    yield from side_by_side(scenario, ZOMBIES)


@pytest.mark.parametrize("case", ZOMBIES, ids=" ".join)
def test_a_zombie_changes_nothing_once_another_has_done_its_work(known, zombies, case) -> None:
    woken = zombies[case].result()
    assert woken.ended.code == 0, woken.ended.err[-3000:]
    assert woken.apply.dump() == woken.before
    woken.apply.assert_exact(known.expected)


def test_consumers_that_come_and_go_apply_every_change_once(kafka, target_postgres, tmp_path) -> None:
    """Four consumers of eight partitions, now and then one is killed or told to end, and another comes."""
    dice = seeded("a storm in a group")
    settings = {"batch_size": 40, "batch_interval_ms": 100, "until": "stopped", "max_rejected_share": 1}
    apply = Apply(kafka, target_postgres, tmp_path, partitions=8, settings=settings)
    apply.init()
    apply.query(CHECK)
    history = History(dice, 200)
    given = poisoned(dice, history.more(3000, truncates=2), apply.partitions)
    workers: list[Child] = []
    leaving: list[Child] = []
    try:
        with Feeding(apply, given, pause=0.02) as sent:
            workers += [apply.worker() for _ in range(4)]
            while not sent.is_done:
                time.sleep(dice.uniform(0.3, 1.2))
                victim = workers.pop(dice.randrange(len(workers)))
                assert victim.is_running, victim.said[-3000:]
                victim.send(dice.choice([signal.SIGKILL, signal.SIGTERM]))
                workers.append(apply.worker())
                leaving.append(victim)
        apply.wait_until_applied(*workers)
        for worker in workers:
            worker.send(signal.SIGTERM)
        # SIGTERM before Python has set its handlers ends a child that has done nothing yet.
        codes = {worker.wait(DRAIN_SECONDS).code for worker in [*workers, *leaving]}
        assert codes <= {143, -signal.SIGTERM, -signal.SIGKILL}, codes
        assert len(leaving) >= 4
    finally:
        for worker in [*workers, *leaving]:
            worker.kill()
    apply.work(until="end")
    apply.assert_exact(apply.replica(refuses=refused), twice=True)


@dataclass
class Feeding:
    """Sends messages a few at a time while a `with` lasts; its end waits for the last one."""

    apply: Apply
    given: list[Sent]
    pause: float
    some: int = 20
    is_done: bool = False
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(120)
        assert self.is_done, "The messages were not all sent"

    def _send(self) -> None:
        for begin in range(0, len(self.given), self.some):
            self.apply.send(*self.given[begin : begin + self.some])
            time.sleep(self.pause)
        self.is_done = True


def test_what_is_fed_is_all_on_the_topic(kafka, target_postgres, tmp_path) -> None:
    """Else the tests that feed would see less than they say."""
    apply = Apply(kafka, target_postgres, tmp_path)
    history = History(seeded("fed"), ROWS)
    given = everywhere(history.more(100), 1)
    with Feeding(apply, given, pause=0.001) as sent:
        wait_until(lambda: sent.is_done, "all is sent")
    assert [message.value for message in apply.messages()] == [message.value for message in given]
