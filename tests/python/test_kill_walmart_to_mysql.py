"""`walmart-to-mysql` killed at every step of its transaction, frozen, cut off from its database: exact."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pymysql
import pytest
from tests.python.support import orders
from tests.python.support.children import Child, Ended, seeded, side_by_side, wait_until
from tests.python.support.loads import Dump, Load, send
from tests.python.support.mysql_proxy import MysqlProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.services.kafka import Kafka
    from tests.services.mariadb import Mariadb
    from tests.services.process import Server
    from typing_extensions import Self

PARTITIONS = 2
BATCH = 50
SESSION_SECONDS = 1
WAKING_SECONDS = 60
DRAIN_SECONDS = 30
ORDERS = 400
# In the order of the protocol.
STEPS = (
    "after_claim",
    "before_transaction",
    "after_rows",
    "after_positions",
    "before_commit_sql",
    "after_commit_sql",
    "after_outbox",
    "before_commit",
    "after_commit",
)
# Both partitions are claimed together.
COUNTS = {"after_claim": (1,), "after_outbox": (1, 2)}
AT_STEPS = [f"{step}:{count}" for step in STEPS for count in COUNTS.get(step, (1, 2, 5))]


@dataclass(frozen=True)
class Known:
    """What is on a topic: orders, newer and older snapshots of them, and messages that are none."""

    topic: str
    good: list[bytes]
    bad: int

    def load(self, kafka: Kafka, mariadb: Mariadb, folder: Path, **settings: object) -> Load:
        """A load of this topic into tables of its own."""
        given = {"batch_size": BATCH, "session_timeout_seconds": SESSION_SECONDS, "batch_interval_ms": 200}
        load = Load(kafka, mariadb, folder, partitions=PARTITIONS, topic=self.topic, settings={**given, **settings})
        load.init()
        return load

    def assert_exact(self, load: Load) -> None:
        """The tables are exact, and each message that is no order is one dead letter."""
        load.assert_exact(self.good)
        refused = Counter(load.refused())
        assert set(refused.values()) == {1}, [place for place, count in refused.items() if count > 1]
        assert len(refused) == self.bad


@pytest.fixture(scope="module")
def known(kafka) -> Known:
    """Orders with a bad message between every twenty; then newer snapshots of some and the first ones again."""
    first = [*orders.sample()[: ORDERS // 2], *map(orders.made, range(ORDERS // 2))]
    sent = [*first, *map(orders.newer, first[::3]), *first[::5]]
    topic = kafka.new_topic(PARTITIONS)
    bad = 0
    for begin in range(0, len(sent), 20):
        send(kafka, topic, PARTITIONS, sent[begin : begin + 20])
        send(kafka, topic, PARTITIONS, [(b"bad", b'{"purchaseOrderId":"%d"' % begin)])
        bad += 1
    return Known(topic, sent, bad)


@pytest.fixture(scope="module")
def killed(kafka, mariadb, known, tmp_path_factory) -> Iterator[dict[str, Future[Load]]]:
    """Loads that were killed at a step; another has run to the end."""

    def scenario(at: str) -> Load:
        load = known.load(kafka, mariadb, tmp_path_factory.mktemp("killed"))
        with load.worker(fault=f"{at}:kill") as child:
            child.wait_until_killed()
        load.work()
        return load

    yield from side_by_side(scenario, AT_STEPS)


@pytest.mark.parametrize("at", AT_STEPS)
def test_a_kill_at_any_step_of_walmart_to_mysql_loses_nothing_and_doubles_nothing(known, killed, at) -> None:
    known.assert_exact(killed[at].result())


def test_a_kill_at_every_step_in_turn_loses_nothing_and_doubles_nothing(kafka, mariadb, known, tmp_path) -> None:
    load = known.load(kafka, mariadb, tmp_path)
    for step in STEPS:
        with load.worker(fault=f"{step}:1:kill") as child:
            child.wait_until_killed()
    load.work()
    known.assert_exact(load)


def test_a_kill_at_random_moments_loses_nothing_and_doubles_nothing(kafka, mariadb, known, tmp_path) -> None:
    dice = seeded("random moments")
    load = known.load(kafka, mariadb, tmp_path, batch_size=20)
    for _ in range(6):
        with load.worker() as child:
            child.wait_for("reading a partition")
            time.sleep(dice.expovariate(4))
            child.kill()
            assert child.process.returncode in {-signal.SIGKILL, 0}, child.said
    load.work()
    load.assert_exact(known.good)
    assert len(set(load.refused())) == known.bad


@dataclass(frozen=True)
class Woken:
    """A load, what was in its tables when the zombie was woken, and how it ended."""

    load: Load
    before: Dump
    ended: Ended


FROZEN_AT = ("before_transaction", "after_rows", "after_positions", "before_commit_sql", "after_commit_sql")
# Where it freezes, and whether its successor is still in the group when it wakes.
Case = tuple[str, str]
ZOMBIES: list[Case] = [
    *((at, "empty") for at in FROZEN_AT),
    *((at, "shared") for at in ("after_positions", "before_commit_sql")),
]


@pytest.fixture(scope="module")
def zombies(kafka, mariadb, known, tmp_path_factory) -> Iterator[dict[Case, Future[Woken]]]:
    """Loaders frozen at a step past their session, and woken when a successor has loaded all."""

    def scenario(case: Case) -> Woken:
        at, group = case
        load = known.load(kafka, mariadb, tmp_path_factory.mktemp("zombie"))
        with load.worker(fault=f"{at}:2:stop") as zombie:
            zombie.wait_until_frozen()
            if group == "empty":
                load.work()
                before = load.dump()
                zombie.wake()
                return Woken(load, before, zombie.wait(WAKING_SECONDS))
            with load.worker(until="stopped") as other:
                load.wait_until_loaded(other)
                before = load.dump()
                zombie.wake()
                ended = zombie.wait(WAKING_SECONDS)
                other.send(signal.SIGTERM)
                assert other.wait(DRAIN_SECONDS).code == 143, other.said
                return Woken(load, before, ended)

    yield from side_by_side(scenario, ZOMBIES)


@pytest.mark.parametrize("case", ZOMBIES, ids=" ".join)
def test_a_zombie_changes_nothing_once_another_has_done_its_work(known, zombies, case) -> None:
    woken = zombies[case].result()
    assert woken.ended.code == 0, woken.ended.err[-3000:]
    assert woken.load.dump() == woken.before
    known.assert_exact(woken.load)


def test_a_zombie_that_held_a_transaction_is_fenced_and_says_so(zombies) -> None:
    for at in ("after_positions", "before_commit_sql"):
        woken = zombies[at, "empty"].result()
        assert woken.ended.report["rows_written"] < len(woken.before["order"]), "What was rolled back is not counted"


def test_workers_that_come_and_go_load_everything_once(kafka, mariadb, tmp_path) -> None:
    """Two loaders of four partitions, now and then one is killed or told to end, and another comes."""
    dice = seeded("a storm in a group")
    given = [*orders.sample(), *map(orders.newer, orders.sample()[::4])]
    load = Load(kafka, mariadb, tmp_path, partitions=4)
    load.settings |= {"batch_size": 40, "batch_interval_ms": 100, "session_timeout_seconds": 1.5, "until": "stopped"}
    load.init()
    sent = Feeding(load, given, pause=0.02)
    workers: list[Child] = []
    leaving: list[Child] = []
    try:
        with sent:
            workers += [load.worker(), load.worker()]
            while not sent.is_done:
                time.sleep(dice.uniform(0.3, 1.2))
                victim = workers.pop(dice.randrange(len(workers)))
                assert victim.is_running, victim.said[-3000:]
                victim.send(dice.choice([signal.SIGKILL, signal.SIGTERM]))
                workers.append(load.worker())
                leaving.append(victim)
        load.wait_until_loaded(*workers)
        for worker in workers:
            worker.send(signal.SIGTERM)
        # SIGTERM before Python has set its handlers ends a child that has done nothing yet.
        codes = {worker.wait(DRAIN_SECONDS).code for worker in [*workers, *leaving]}
        assert codes <= {143, -signal.SIGTERM, -signal.SIGKILL}, codes
        assert len(leaving) >= 4
    finally:
        for worker in [*workers, *leaving]:
            worker.kill()
    load.assert_exact(given)


@dataclass
class Feeding:
    """Sends orders a few at a time while a `with` lasts; its end waits for the last one."""

    load: Load
    given: list[bytes]
    pause: float
    some: int = 10
    is_done: bool = False
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(120)
        assert self.is_done, "The orders were not all sent"

    def _send(self) -> None:
        for begin in range(0, len(self.given), self.some):
            self.load.send(*self.given[begin : begin + self.some])
            time.sleep(self.pause)
        self.is_done = True


def restart(server: Server) -> None:
    server.restart()


def power_cut(server: Server) -> None:
    server.kill()
    time.sleep(1)
    server.start()


def freeze(server: Server) -> None:
    server.pause()
    time.sleep(3)
    server.resume()


def loaded_through(load: Load, given: list[bytes], troubles: list[Callable[[], object]]) -> Ended:
    """Load while something happens now and then; the one loader must carry on by itself."""

    def done() -> int:
        # A partition that was claimed and not begun has no position.
        return sum(at or 0 for at in load.positions().values())

    share = -(-len(given) // len(troubles))
    with load.worker(until="stopped") as worker:
        for number, trouble in enumerate(troubles):
            before = done()
            with Feeding(load, given[number * share : (number + 1) * share], pause=0.01):
                wait_until(lambda before=before: done() > before or not worker.is_running, "data flows")
                assert worker.is_running, worker.said[-3000:]
                trouble()
        load.wait_until_loaded(worker)
        worker.send(signal.SIGTERM)
        return worker.wait(DRAIN_SECONDS)


def test_a_loader_carries_on_by_itself_each_time_the_database_comes_back(kafka, own_mariadb, tmp_path) -> None:
    given = [*orders.sample()[:1200], *map(orders.newer, orders.sample()[:1200:3])]
    load = Load(kafka, own_mariadb, tmp_path, partitions=PARTITIONS)
    load.settings |= {"batch_size": 40, "batch_interval_ms": 50}
    load.init()
    troubles = [
        lambda trouble=trouble: trouble(own_mariadb.server) for trouble in (restart, power_cut, freeze, power_cut)
    ]
    ended = loaded_through(load, given, troubles)
    assert ended.code == 143, ended.err[-3000:]
    load.assert_exact(given)


def test_sessions_that_are_killed_are_opened_again(kafka, own_mariadb, tmp_path) -> None:
    given = orders.sample()[:1200]
    load = Load(kafka, own_mariadb, tmp_path, partitions=PARTITIONS)
    load.settings |= {"batch_size": 30, "batch_interval_ms": 50}
    load.init()
    killed: list[int] = []

    def kill_all() -> None:
        found = load.query(
            "SELECT id FROM information_schema.processlist WHERE id != CONNECTION_ID() AND user = 'root'"
        )
        for row in found:
            # One that has just ended by itself cannot be killed.
            with suppress(pymysql.err.OperationalError):
                load.query(f"KILL {row['id']}")
                killed.append(row["id"])

    ended = loaded_through(load, list(given), [kill_all] * 10)
    assert len(set(killed)) >= 10, "Sessions of a loader were killed"
    assert ended.code == 143, ended.err[-3000:]
    load.assert_exact(given)


@pytest.fixture
def updating(kafka, own_mariadb, tmp_path) -> tuple[Load, list[bytes]]:
    """Orders that are in the tables, and newer snapshots of them that are not yet."""
    load = Load(kafka, own_mariadb, tmp_path)
    load.settings |= {"rows_per_statement": 20, "batch_size": 5000, "connections": 1}
    load.init()
    given = sorted(map(orders.made, range(300)), key=orders.id_of)
    load.send(*given)
    load.run()
    later = [orders.newer(order) for order in given]
    load.send(*later)
    return load, [*given, *later]


def test_a_deadlock_is_tried_again(updating) -> None:
    """We lock the last order, wait until the loader waits for it, and ask for the first, which the loader has.

    The loader must give way: the server rolls back who has changed less.
    """
    load, given = updating
    numbers = [orders.id_of(given[0]), orders.id_of(given[-1])]
    lock = "SELECT lineNumber FROM walmart_order WHERE purchaseOrderId = %s FOR UPDATE"
    with load.session(autocommit=False) as cursor:
        cursor.execute("CREATE TABLE heavy (number INT PRIMARY KEY)")
        cursor.execute("INSERT INTO heavy SELECT seq FROM seq_1_to_100000")
        cursor.execute(lock, (numbers[1],))
        with load.worker() as worker:
            wait_until(lambda: waits_for_a_lock(load) or not worker.is_running, "the loader waits for our lock")
            assert worker.is_running, worker.said[-3000:]
            cursor.execute(lock, (numbers[0],))
            assert deadlocks(load) >= 1
            cursor.connection.rollback()
            ended = worker.wait()
    assert ended.code == 0, ended.err[-3000:]
    assert ended.report["details"]["retries"] >= 1
    load.assert_exact(given)


def waits_for_a_lock(load: Load) -> bool:
    # Not information_schema.innodb_trx: asked more than ten times a second, it answers as it did before.
    [row] = load.query("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
    return int(row["Value"]) > 0


def deadlocks(load: Load) -> int:
    [row] = load.query("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    return int(row["Value"])


@pytest.mark.parametrize("locked", ["walmart_order", "walmart_order_version", "pipeline_core_position"])
def test_a_lock_that_is_held_too_long_is_waited_for(updating, locked) -> None:
    load, given = updating
    load.query("SET GLOBAL innodb_lock_wait_timeout = 1")
    with load.session(autocommit=False) as cursor:
        cursor.execute(f"SELECT * FROM {locked} FOR UPDATE")
        assert cursor.fetchall()
        with load.worker() as worker:
            wait_until(lambda: waits_for_a_lock(load) or not worker.is_running, "the loader waits for our lock")
            worker.wait_for("trying again", 60)
            cursor.connection.rollback()
            ended = worker.wait()
    assert ended.code == 0, ended.err[-3000:]
    load.assert_exact(given)


def test_a_lock_that_is_never_released_ends_the_run_and_nothing_is_half_done(updating) -> None:
    load, given = updating
    load.query("SET GLOBAL innodb_lock_wait_timeout = 1")
    before = load.dump()
    with load.session(autocommit=False) as cursor:
        cursor.execute("SELECT * FROM walmart_order FOR UPDATE")
        with load.worker(max_retries=1) as worker:
            ended = worker.wait()
    assert ended.code == 1
    assert ended.error["kind"] == "unavailable"
    assert ended.error["hint"]
    assert load.dump() == before
    load.work()
    load.assert_exact(given)


LOST: dict[str, Callable[[MysqlProxy], object]] = {
    "the reply to every third COMMIT": lambda proxy: proxy.lose_reply("^COMMIT", every=3),
    "every third COMMIT": lambda proxy: proxy.lose_request("^COMMIT", every=3),
    "the reply to the first COMMIT": lambda proxy: proxy.lose_reply("^COMMIT", times=1),
    "replies to statements": lambda proxy: proxy.lose_reply("<execute>", every=23),
    "statements": lambda proxy: proxy.lose_request("<execute>", every=29),
    "replies and COMMITs in turn": lambda proxy: (
        proxy.lose_reply("^COMMIT", every=4),
        proxy.lose_request("^COMMIT", every=5),
    ),
}


@pytest.fixture(scope="module")
def cut_off(kafka, mariadb, known, tmp_path_factory) -> Iterator[dict[str, Future[tuple[Load, int]]]]:
    """Loads through a proxy that breaks connections around the COMMIT, and how often it did."""

    def scenario(case: str) -> tuple[Load, int]:
        load = known.load(kafka, mariadb, tmp_path_factory.mktemp("cut off"), mysql_tls="disabled")
        with MysqlProxy(mariadb.url) as proxy:
            load.url = proxy.url
            LOST[case](proxy)
            load.work(max_retries=30)
            return load, proxy.happened

    tmp_path_factory.getbasetemp()  # made by one thread, not by two at once
    yield from side_by_side(scenario, LOST)


@pytest.mark.parametrize("case", LOST)
def test_a_connection_that_breaks_around_the_commit_costs_nothing(known, cut_off, case) -> None:
    load, happened = cut_off[case].result()
    assert happened >= (1 if "first" in case else 3), "Something was lost"
    load.assert_exact(known.good)
    assert set(Counter(load.refused()).values()) == {1}
    assert len(load.refused()) == known.bad
