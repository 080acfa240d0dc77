"""Walmart's orders through Flink: a cluster whose machines are killed, a savepoint, offsets, and what is refused."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.flink.flinks import Flink, Submitted, ended
from tests.python.support import orders
from tests.python.support.children import wait_until
from tests.python.support.loads import Load, assert_same_rows, send
from tests.python.support.order_columns import Rules, newest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.services.flink import Cluster
    from tests.services.kafka import Kafka, KafkaSasl
    from tests.services.mariadb import Mariadb

PARTITIONS = 2
BAD = (b"bad", b'{"purchaseOrderId":"none"}')
NO_TEXT = (b"no text", b'{"purchaseOrderId":"\xff"}')
TOMBSTONE = (b"tombstone", None)


class Orders(Load):
    """A topic of orders and a table, for the jobs of Flink."""

    @property
    def flags(self) -> dict[str, Any]:
        """What a job is told."""
        names = ("topic", "group_id", "bootstrap_servers", "database", "dead_letter_topic")
        return {**{name: self.settings[name] for name in names}, "checkpoint_seconds": 1, "batch_interval_ms": 200}

    def assert_table_exact(self, sent: Sequence[bytes]) -> None:
        """The table holds the newest snapshot of each order, every column of it."""
        found = self.rows("order")
        for row in found:
            assert row["load_time"] is not None
            row["load_time"] = None
        expected = Rules().all_tables(newest(sent))["order"]
        assert_same_rows("order", found, expected)
        assert sum(row["chargeAmount"] for row in found) == sum(row["chargeAmount"] for row in expected)

    def has_lines(self, sent: Sequence[bytes]) -> bool:
        """Whether there are as many rows as the orders have lines, and the dearest ones among them."""
        wanted = Rules().all_tables(newest(sent))["order"]
        asked = "SELECT COUNT(*) AS line_count, SUM(chargeAmount) AS money FROM walmart_order"
        money = sum(row["chargeAmount"] for row in wanted)
        return self.query(asked) == [{"line_count": len(wanted), "money": money}]

    def buried(self) -> Counter[tuple[int, int]]:
        """How often each refused message is on the dead-letter topic."""
        return Counter(self.refused())


@pytest.fixture
def load(kafka: Kafka, mariadb: Mariadb, tmp_path: Path) -> Load:
    """A fresh topic and an empty table."""
    made = Orders(kafka, mariadb, tmp_path, partitions=PARTITIONS)
    made.init()
    return made


@contextmanager
def flowing(load: Orders, sent: Sequence[bytes], pause: float) -> Iterator[threading.Thread]:
    """Orders that are sent twenty at a time, with a bad message between, by a thread of its own."""
    stop = threading.Event()

    def feed() -> None:
        for begin in range(0, len(sent), 20):
            send(load.kafka, load.topic, PARTITIONS, sent[begin : begin + 20])
            send(load.kafka, load.topic, PARTITIONS, [BAD])
            if stop.wait(pause):
                return

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        yield feeding
    finally:
        stop.set()
        feeding.join()


def submitted(flink: Flink, cluster: Cluster, load: Orders, **settings: Any) -> Submitted:
    """The job in the cluster, on both of its machines."""
    given = {**load.flags, "jobmanager": cluster.rest, "parallelism": PARTITIONS, **settings}
    report = flink.succeed(load.folder, "submit walmart", load.environment, **given)
    job = Submitted(cluster, report["job_id"])
    job.wait_until_running()
    return job


def test_a_killed_task_manager_and_a_savepoint_lose_nothing_and_double_nothing(flink, cluster, load) -> None:
    first = [*orders.sample()[:600], *map(orders.made, range(600))]
    while_away = [*map(orders.newer, first[::3]), *first[::5]]
    job = submitted(flink, cluster, load)
    with flowing(load, first, pause=0.15) as feeding:
        job.wait_for_checkpoint()
        wait_until(
            lambda: load.query("SELECT COUNT(*) AS line_count FROM walmart_order")[0]["line_count"] > 100, "rows", 120
        )
        busy = cluster.busy()
        assert len(busy) == PARTITIONS, "Both machines have a part of the job"
        assert feeding.is_alive(), "Orders flow"
        job.lose(busy[1])
        feeding.join()
    job.wait_until(lambda: load.has_lines(first), "all orders are in the table")
    savepoint = job.stop()
    assert job.state == "FINISHED"
    load.assert_table_exact(first)

    for begin in range(0, len(while_away), 20):
        send(load.kafka, load.topic, PARTITIONS, while_away[begin : begin + 20])
    again = submitted(flink, cluster, load, savepoint=savepoint)
    again.wait_until(lambda: load.has_lines([*first, *while_away]), "the newer snapshots are in the table")
    again.wait_for_checkpoint()
    load.assert_table_exact([*first, *while_away])
    again.cancel()

    letters = load.buried()
    assert len(letters) == len(range(0, len(first), 20)), "Each bad message is there, at least once"
    letter = load.letters()[0]
    assert (letter.key, letter.value) == BAD
    assert letter.headers["pipeline_core.pipeline"] == "flink_walmart"
    assert letter.headers["__connect.errors.topic"] == load.topic
    assert letter.headers["__connect.errors.exception.message"].startswith("$.purchaseOrderId: ")


def test_a_job_goes_on_from_the_offsets_of_its_group(flink, load) -> None:
    """The original began at the end of the topic and lost what had come while it was down."""
    first, second = orders.sample()[:300], [*orders.sample()[300:500], *map(orders.newer, orders.sample()[:50])]
    load.send(*first, BAD, NO_TEXT, TOMBSTONE)
    report = flink.succeed(load.folder, "run walmart", load.environment, until="end", batch_size=100, **load.flags)
    assert report["job"] == "walmart_orders"
    assert report["seconds"] > 0
    load.assert_table_exact(first)
    assert set(load.buried().values()) == {1}
    assert sorted((letter.key, letter.value) for letter in load.letters()) == [BAD, NO_TEXT, TOMBSTONE]

    load.send(*second)
    flink.succeed(load.folder, "run walmart", load.environment, until="end", **load.flags)
    load.assert_table_exact([*first, *second])
    assert set(load.buried().values()) == {1}, "What was read before is not read again"


def test_over_tls_with_a_login(flink, kafka_sasl: KafkaSasl, mariadb: Mariadb, tmp_path: Path) -> None:
    load = Orders(kafka_sasl, mariadb, tmp_path)
    load.init()
    load.send(*orders.sample()[:50], BAD)
    login = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": kafka_sasl.mechanism,
        "sasl_username": kafka_sasl.user,
        "sasl_password": kafka_sasl.password,
        "ssl_ca_location": kafka_sasl.ca,
        "mysql_tls": "verify_identity",
        "mysql_ca_location": mariadb.ca,
    }
    flink.succeed(load.folder, "run walmart", load.environment, until="end", **load.flags, **login)
    load.assert_table_exact(orders.sample()[:50])
    assert len(load.letters()) == 1


def test_a_job_that_is_told_to_end_goes_on_where_it_was(flink, load) -> None:
    load.send(*orders.sample()[:100])
    process = flink.start(load.folder, "run walmart", load.environment, **load.flags)
    wait_until(lambda: load.has_lines(orders.sample()[:100]), "the orders are in the table", 120)
    process.terminate()
    done = ended(process)
    assert done.code == 143, done.err[-3000:]
    load.send(*orders.sample()[100:150])
    flink.succeed(load.folder, "run walmart", load.environment, until="end", **load.flags)
    load.assert_table_exact(orders.sample()[:150])


def test_what_is_missing_is_said(flink, load, tmp_path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    missing = flink.end(
        load.folder, "run walmart", load.environment, **{**load.flags, "jars": nothing}, log_format="json"
    )
    assert missing.code == 1
    assert "There are no jars at" in missing.error["event"]
    no_java = {**load.environment, "PATH": str(nothing), "JAVA_HOME": ""}
    without = flink.end(load.folder, "run walmart", no_java, **load.flags, log_format="json")
    assert without.code == 2
    assert "Java is not there" in without.error["event"]
    away = {"jobmanager": "127.0.0.1:1", "log_format": "json"}
    nobody = flink.end(load.folder, "submit walmart", load.environment, **load.flags, **away)
    assert nobody.code == 1
    assert nobody.error["kind"] == "unavailable"
