"""How runs of `cdc_to_postgres` begin, end and tell how they are; and after the original."""

from __future__ import annotations

import json
import random
import signal
import threading
import urllib.request

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.python.support import topics
from tests.python.support.applies import Apply, assert_same
from tests.python.support.children import wait_until
from tests.python.support.events import Event, History, Sent, deleted, everywhere, inserted, sent, updated
from tests.python.support.replicas import Replica
from tests.services.process import free_ports

from pipeline_core import CdcConsumer, Stop
from pipeline_core.exceptions import DataLossError, NotFoundError


@pytest.fixture(scope="module")
def history() -> History:
    """Inserts, updates, deletes and changed keys, many of each row."""
    found = History(random.Random(7), 40)
    found.more(400)
    return found


@pytest.fixture
def apply(kafka, target_postgres, tmp_path) -> Apply:
    """A topic of one partition and empty tables."""
    found = Apply(kafka, target_postgres, tmp_path)
    found.init()
    return found


def test_what_the_original_has_done_is_neither_read_nor_applied_again(apply, history) -> None:
    """It has left its group's offset in Kafka, rows without a version, and its ledger."""
    events = history.events[:300]
    done, missed = 200, 120
    apply.send(*sent(*events))
    messages = apply.messages()
    by_original = Replica().apply(messages[:done])
    columns = "emp_id, first_name, last_name, dob, city, salary"
    with apply.session() as session:
        cursor = session.cursor()
        cursor.executemany(
            f"INSERT INTO employees ({columns}) VALUES (%s, %s, %s, %s, %s, %s)",
            [list(row.values()) for row in by_original.rows.values()],
        )
        booked = [[event.number, int(event.key[0]), event.action, at] for at, event in enumerate(events[:done])]
        cursor.executemany(
            "INSERT INTO processed_events (action_id, emp_id, action, kafka_offset, kafka_partition)"
            " VALUES (%s, %s, %s, %s, 0)",
            booked,
        )
    group = Consumer({**apply.kafka.properties(), **topics.QUIET, "group.id": apply.database})
    group.commit(offsets=[TopicPartition(apply.topic, 0, missed)], asynchronous=False)
    group.close()
    report = apply.run()
    assert report.rows_read == len(events) - missed
    assert report.details["duplicates"] == done - missed
    expected = Replica().apply(messages)
    assert_same("rows", apply.rows(), apply.canonical(expected.rows.values()))
    assert {row["action_id"] for row in apply.dump()["ledger"]} == {event.number for event in events}


def left_by_the_original(apply: Apply, rows: dict[int, str], booked: list[Event]) -> None:
    """Rows without a version, by their city, and a ledger."""
    with apply.session() as session:
        cursor = session.cursor()
        cursor.executemany(
            "INSERT INTO employees (emp_id, first_name, last_name, city) VALUES (%s, 'a', 'b', %s)", list(rows.items())
        )
        cursor.executemany(
            "INSERT INTO processed_events (action_id, emp_id, action) VALUES (%s, %s, %s)",
            [[event.number, int(event.key[0]), event.action] for event in booked],
        )


def cities(apply: Apply) -> dict[str, str | None]:
    return {key: row["city"] for (key,), row in apply.rows().items()}


@pytest.mark.parametrize("batch_size", [1, 20_000])
def test_a_change_that_the_original_lost_never_replaces_a_newer_row(apply, batch_size) -> None:
    made, lost, newer = inserted(4, 1, city="four"), updated(5, 1, city="lost"), updated(7, 1, city="seven")
    gone, lost_too = deleted(8, 2), updated(6, 2, city="lost too")
    left_by_the_original(apply, {1: "seven"}, [made, newer, gone])
    apply.send(*sent(made, lost, lost_too, newer, gone))
    report = apply.run(batch_size=batch_size)
    assert report.details["duplicates"] == 3
    assert cities(apply) == {"1": "seven"}


def test_a_change_that_the_original_has_done_leaves_its_rows_alone(apply) -> None:
    older, newer = updated(5, 1, city="five"), updated(10, 1, city="ten")
    gone, again = deleted(6, 2), inserted(9, 2, city="again")
    left_by_the_original(apply, {1: "ten", 2: "again"}, [older, newer, gone, again])
    apply.send(*sent(older, gone))
    assert apply.run().details["duplicates"] == 2
    assert cities(apply) == {"1": "ten", "2": "again"}


def test_a_run_ends_after_so_many_rows_and_the_next_goes_on(apply, history) -> None:
    apply.send(*everywhere(history.events, 1))
    report = apply.run(until="50rows", batch_size=10)
    assert report.status == "complete"
    assert 50 <= report.rows_read < len(history.events)
    assert apply.positions() == {0: report.rows_read}
    assert apply.run().rows_read == len(history.events) - report.rows_read
    apply.assert_exact()


def test_a_run_ends_after_a_while_and_what_came_in_between_is_applied(apply) -> None:
    apply.send(*sent(inserted(1, 1)))
    late = threading.Thread(
        target=lambda: (wait_until(apply.is_at_end, "one is applied"), apply.send(*sent(inserted(2, 2))))
    )
    late.start()
    report = apply.run(until="8s", batch_interval_ms=100)
    late.join()
    assert report.status == "complete"
    assert 8 <= report.seconds < 30
    assert len(apply.assert_exact().rows) == 2


def test_a_run_is_stopped_after_what_it_has_read_is_applied(apply) -> None:
    stop = Stop()
    apply.send(*sent(*(inserted(number, number) for number in range(1, 21))))
    stopper = threading.Thread(target=lambda: (wait_until(apply.is_at_end, "all is applied"), stop.set()))
    stopper.start()
    report = apply.run(until="stopped", stop=stop, batch_interval_ms=100)
    stopper.join()
    assert report.status == "stopped"
    assert len(apply.assert_exact().rows) == 20


def test_a_new_group_may_begin_with_the_latest(apply) -> None:
    apply.send(*sent(inserted(1, 1)))
    report = apply.run(auto_offset_reset="latest")
    assert (report.rows_read, apply.rows()) == (0, {})


def test_a_topic_that_is_not_there_is_said_with_its_name(apply) -> None:
    with pytest.raises(NotFoundError, match="t-none"):
        apply.run(topic="t-none")


def test_a_topic_that_lost_what_comes_next_ends_the_run(apply) -> None:
    apply.send(*sent(*(inserted(number, number) for number in range(1, 11))))
    apply.run(until="1rows", batch_size=1)
    position = apply.positions()[0]
    admin = AdminClient({**apply.kafka.properties(), **topics.QUIET})
    [gone] = admin.delete_records([TopicPartition(apply.topic, 0, position + 2)]).values()
    gone.result(timeout=30)
    with pytest.raises(DataLossError):
        apply.run()
    assert apply.positions() == {0: position}


def test_the_class_of_the_original_takes_its_arguments(apply, history, monkeypatch) -> None:
    apply.send(*everywhere(history.events, 1))
    monkeypatch.setenv("TARGET_URL", apply.target)
    host, _, port = apply.kafka.bootstrap.partition(":")
    consumer = CdcConsumer(
        host=host, port=port, group_id=apply.database, enable_dlq=True, enable_idempotency=True, until="end"
    )
    reports = consumer.consume([apply.topic])
    assert {*reports} == {apply.topic}
    assert reports[apply.topic].rows_read == len(history.events)
    apply.assert_exact()


def scraped(port: int) -> dict[str, float]:
    """The samples of our metrics by name, without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.status == 200
        lines = answer.read().decode().splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if line and not line.startswith("#")]
    assert samples, "There are metrics"
    return {name.partition("{")[0]: float(value) for name, value in samples}


def test_numbers_can_be_scraped_while_it_runs_and_are_logged_as_a_line(apply, history) -> None:
    events = everywhere(history.events, 1)
    bad = Sent(b"1", b"no JSON")
    apply.send(*events, *events[:7], bad)
    [port] = free_ports(1)
    with apply.worker(until="stopped", metrics_port=port, stats_interval_seconds=0.2) as worker:
        apply.wait_until_applied(worker)
        wait_until(lambda: last_statistics(worker.said).get("dlq") == 1, "the line tells of all")
        wait_until(lambda: last_statistics(worker.said).get("lag") == 0, "the line tells of the end")
        line = last_statistics(worker.said)
        wait_until(lambda: scraped(port)["pipeline_core_dead_letters_total"] == 1, "a scrape tells of all")
        samples = scraped(port)
        worker.send(signal.SIGTERM)
        ended = worker.wait()
    assert ended.code == 143, ended.err[-3000:]
    assert {"processed", "failed", "duplicates", "dlq", "rate", "lag", "transaction_ms"} <= set(line), line
    assert (line["duplicates"], line["dlq"], line["failed"], line["lag"]) == (7, 1, 1, 0)
    assert line["transaction_ms"] > 0
    for name, value in (("duplicates", 7), ("dead_letters", 1), ("lag", 0), ("rows_read", len(events) + 8)):
        found = {sample: number for sample, number in samples.items() if sample.removesuffix("_total").endswith(name)}
        assert set(found.values()) == {value}, (name, samples)
    assert any("transaction_seconds" in name for name in samples), samples


def last_statistics(said: str) -> dict[str, float]:
    """The fields of the last line of statistics."""
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return next((line for line in reversed(lines) if line.get("event") == "statistics"), {})


def test_lag_is_what_is_not_applied_yet(apply) -> None:
    apply.send(*sent(*(inserted(number, number) for number in range(1, 6))))
    apply.run()
    with apply.session(autocommit=False) as session:
        session.execute("SELECT * FROM employees WHERE emp_id = 3 FOR UPDATE")
        [port] = free_ports(1)
        with apply.worker(until="stopped", metrics_port=port, stats_interval_seconds=0.2) as worker:
            worker.wait_for("reading a partition")
            apply.send(*sent(*(updated(number + 10, number) for number in range(1, 6))))
            wait_until(lambda: last_statistics(worker.said).get("lag") == 5, "the lag is told")
            session.rollback()
            wait_until(lambda: last_statistics(worker.said).get("lag") == 0, "it is gone")
            assert next(value for name, value in scraped(port).items() if name.endswith("lag")) == 0
