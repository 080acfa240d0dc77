"""Changes of a real PostgreSQL on a real topic: as the contract has them byte by byte, each once."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest
from tests.python.support import sources, topics
from tests.python.support.captures import Capture
from tests.python.support.children import seeded, wait_until
from tests.python.support.histories import History
from tests.python.support.sources import SEQUENCE, number_of
from tests.python.support.stories import told

from pipeline_core.exceptions import ConflictError, NotFoundError, SettingsError

ANN = "INSERT INTO employees VALUES ({}, 'Ann', 'Lee', '1999-01-02', 'Perth', 70000)"
GENERATION = "pipeline_core.generation"
VALUE = '{{"action_id":{},"emp_id":{},"emp_FN":{},"emp_LN":{},"emp_dob":{},"emp_city":{},"emp_salary":{},"action":{}}}'


@pytest.fixture
def capture(kafka, source_postgres, tmp_path) -> Capture:
    """Tables and triggers, and nothing in them."""
    found = Capture(kafka, source_postgres, tmp_path)
    found.init()
    return found


def insert(capture: Capture, *keys: int) -> None:
    capture.query(*(ANN.format(key) for key in keys))


def value(*literals: object) -> bytes:
    """A message's value of these pieces of JSON."""
    return VALUE.format(*literals).encode()


def test_postgres_to_kafka_sends_each_change_as_the_contract_has_it(capture) -> None:
    capture.query(
        ANN.format(3),
        "INSERT INTO employees (emp_id, first_name, last_name) VALUES (4, 'Zoë', 'O''Neil \"q\" \\')",
        "UPDATE employees SET salary = 70001, city = NULL WHERE emp_id = 3",
        "DELETE FROM employees WHERE emp_id = 4",
    )
    report = capture.run()
    sent = sorted(capture.messages(), key=number_of)
    odd = ('"Zoë"', '"O\'Neil \\"q\\" \\\\"', "null", "null", "null")
    assert [(message.key, message.value) for message in sent] == [
        (b"3", value(1, 3, '"Ann"', '"Lee"', '"1999-01-02"', '"Perth"', "70000", '"INSERT"')),
        (b"4", value(2, 4, *odd, '"INSERT"')),
        (b"3", value(3, 3, '"Ann"', '"Lee"', '"1999-01-02"', "null", "70001", '"UPDATE"')),
        (b"4", value(4, 4, *odd, '"DELETE"')),
    ]
    assert [message.headers for message in sent] == [{}] * 4
    assert (report.pipeline, report.status) == ("postgres_to_kafka", "complete")
    assert (report.rows_read, report.rows_written, report.rows_rejected) == (4, 4, 0)
    details = report.details
    assert (details["topic"], details["table"]) == (capture.topic, "emp_cdc")
    assert details["actions"] == {"INSERT": 2, "UPDATE": 1, "DELETE": 1, "TRUNCATE": 0}
    assert (details["position"], details["generation"], details["snapshot_rows"]) == (4, 0, 0)
    assert details["fences"] >= 1
    assert details["server"].startswith("PostgreSQL ")
    assert details["held_back_by"] is None
    capture.assert_exact()


def test_values_that_are_hard_to_write_arrive_as_they_are(capture) -> None:
    with capture.session() as session:
        history = History(session, seeded("hard values"))
        history.grow(6000, truncates=2)
    report = capture.run()
    assert report.rows_read == history.changes
    capture.assert_exact()
    sent = {json.loads(message.value or b"")["emp_dob"] for message in capture.messages()}
    assert sent > {None, "0044-03-15 BC", "infinity", "2024-02-29"}


def test_a_topic_that_is_missing_is_made_with_its_partitions(capture) -> None:
    capture.topic = capture.settings["topic"] = f"{capture.topic}-of-its-own"
    insert(capture, *range(30))
    capture.run(partitions=3)
    assert topics.partitions(capture.kafka, capture.topic) == 3
    assert {message.partition for message in capture.messages()} == {0, 1, 2}
    capture.assert_exact()


def test_a_changed_key_is_a_delete_of_the_old_row_before_the_new_one(capture) -> None:
    insert(capture, 1)
    capture.query("UPDATE employees SET emp_id = 2 WHERE emp_id = 1")
    capture.run()
    capture.assert_exact()
    by_key = sources.by_key(capture.messages())
    assert [(event["action_id"], event["action"]) for event in by_key[b"1"]] == [(1, "INSERT"), (2, "DELETE")]
    assert [(event["action_id"], event["action"]) for event in by_key[b"2"]] == [(3, "UPDATE")]


def test_a_truncate_is_a_change_without_a_key(capture) -> None:
    insert(capture, 1, 2)
    capture.query("TRUNCATE employees", ANN.format(3))
    report = capture.run()
    assert report.details["actions"] == {"INSERT": 3, "UPDATE": 0, "DELETE": 0, "TRUNCATE": 1}
    capture.assert_exact()
    [truncate] = [message for message in capture.messages() if number_of(message) == 3]
    assert (truncate.key, json.loads(truncate.value or b"")["action"]) == (None, "TRUNCATE")


def test_the_position_is_remembered_on_the_topic_and_nothing_is_sent_again(capture) -> None:
    for keys in (range(10), range(10, 25)):
        insert(capture, *keys)
        report = capture.run()
        assert report.rows_read == len(keys)
        assert report.details["position"] == keys[-1] + 1
        assert report.details["resumed_from"] == (keys[0] or None)
    assert capture.run().rows_read == 0
    capture.assert_exact()


def test_changes_that_were_sent_may_be_removed_from_their_table(capture) -> None:
    insert(capture, *range(10))
    capture.run()
    capture.query("DELETE FROM emp_cdc WHERE action_id <= 8", ANN.format(11))
    assert capture.run().rows_read == 1
    assert capture.numbers() == [*range(1, 12)]


def test_numbers_that_were_rolled_back_are_left_out_and_not_waited_for(capture) -> None:
    with capture.session(autocommit=False) as session:
        for key in range(200):
            session.execute(ANN.format(key))
        session.rollback()
    assert capture.run().rows_read == 0
    insert(capture, 1)
    assert capture.run().rows_read == 1
    capture.assert_exact()


def test_a_run_until_the_end_leaves_what_comes_later_to_the_next(capture) -> None:
    insert(capture, *range(300))

    def later() -> None:
        wait_until(lambda: capture.sent() > 0, "the run has begun")
        insert(capture, 1000)

    report = told(capture, later, is_stopped=False, until="end", batch_size=10)
    assert (report.status, report.rows_read) == ("complete", 300)
    assert capture.run().rows_read == 1
    capture.assert_exact()


def test_a_run_ends_after_so_many_rows_and_the_next_goes_on(capture) -> None:
    insert(capture, *range(300))
    report = capture.run(until="50rows", batch_size=10)
    assert report.status == "complete"
    assert 50 <= report.rows_read < 300
    assert capture.run().rows_read == 300 - report.rows_read
    capture.assert_exact()


def test_a_run_ends_after_a_while_and_what_came_in_between_is_sent(capture) -> None:
    insert(capture, 1)

    def later() -> None:
        wait_until(lambda: capture.numbers() == [1], "one is sent")
        insert(capture, 2)

    report = told(capture, later, until="8s", is_stopped=False)
    assert (report.status, report.rows_read) == ("complete", 2)
    assert 8 <= report.seconds < 30
    capture.assert_exact()


def test_a_change_is_on_the_topic_soon_after_its_commit(capture) -> None:
    waits: list[float] = []

    def changes() -> None:
        for key in range(20):
            begun = time.monotonic()
            insert(capture, key)
            wait_until(lambda key=key: capture.sent() > 0 and len(capture.messages()) > key, "it is sent", 20)
            waits.append(time.monotonic() - begun)

    assert told(capture, changes).rows_read == 20
    # Once the topic is there; reading it takes most of this.
    assert sorted(waits)[10] < 1, waits


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_transaction_of_kafka_holds_no_more_changes_than_told(kafka, source_postgres, tmp_path, batch_size) -> None:
    capture = Capture(kafka, source_postgres, tmp_path, partitions=1)
    capture.init()
    insert(capture, *range(50))
    capture.run(batch_size=batch_size)
    capture.assert_exact()
    # The end of a transaction has an offset of its own.
    assert capture.sent() - 50 >= 50 / batch_size
    offsets = [message.offset for message in capture.messages()]
    longest = max(len(run) for run in re.findall(r"1+", "".join("1" if at in offsets else "0" for at in range(200))))
    assert longest == batch_size


def test_a_position_that_is_given_counts_whatever_was_remembered(capture) -> None:
    insert(capture, *range(10))
    capture.run()
    report = capture.run(position=7)
    assert report.rows_read == 3
    assert capture.numbers() == [*range(1, 8), 8, 8, 9, 9, 10, 10]
    assert capture.run().rows_read == 0
    assert capture.run(position=10).rows_read == 0
    assert {str(message.headers) for message in capture.messages()} == {"{}"}


def test_a_restart_sends_all_changes_again_as_a_new_generation(capture) -> None:
    insert(capture, *range(5))
    capture.run()
    for generation in (1, 2):
        report = capture.run(restart=True)
        assert (report.rows_read, report.details["generation"]) == (5, generation)
        sent = [one for one in capture.messages() if one.headers.get(GENERATION) == str(generation)]
        capture.assert_exact(sent, generation=generation)
    insert(capture, 5)
    report = capture.run()
    assert (report.rows_read, report.details["generation"]) == (1, 2)
    [last] = [one for one in capture.messages() if number_of(one) == 6]
    assert last.headers == {GENERATION: "2"}
    assert [one.headers for one in capture.messages()].count({}) == 5


def made_again(capture: Capture) -> None:
    """The tables are others of the same name."""
    capture.query("DROP TABLE employees, emp_cdc CASCADE")
    capture.init()


def emptied(capture: Capture) -> None:
    """The table is the same, and its numbers begin again."""
    capture.query("TRUNCATE emp_cdc, employees RESTART IDENTITY")


@pytest.mark.parametrize("way", ["restart", "position"])
@pytest.mark.parametrize("happens", [made_again, emptied])
def test_a_source_that_was_made_again_is_refused_until_the_user_says_how_to_go_on(capture, happens, way) -> None:
    insert(capture, *range(10))
    capture.run()
    happens(capture)
    insert(capture, 77)
    before = capture.messages()
    with pytest.raises(ConflictError) as failed:
        capture.run()
    assert "--restart" in (failed.value.hint or "")
    assert "--position" in (failed.value.hint or "")
    assert capture.messages() == before
    report = capture.run(restart=True) if way == "restart" else capture.run(position=0)
    assert report.rows_read == len(capture.committed())
    [sent] = [one for one in capture.messages() if one.key == b"77"]
    assert sent.headers == ({GENERATION: "1"} if way == "restart" else {})
    assert capture.run().rows_read == 0


def test_a_source_made_again_with_higher_numbers_is_refused_as_well(capture) -> None:
    insert(capture, 1, 2)
    capture.run()
    made_again(capture)
    insert(capture, *range(10))
    with pytest.raises(ConflictError):
        capture.run()


@pytest.mark.parametrize("cache", [2, 100])
def test_a_sequence_that_caches_numbers_is_refused_with_the_statement_that_mends_it(capture, cache) -> None:
    capture.query(f"ALTER SEQUENCE {SEQUENCE} CACHE {cache}", ANN.format(1))
    with pytest.raises(SettingsError) as failed:
        capture.run()
    mends = re.search(r"ALTER SEQUENCE \S+ CACHE 1;", failed.value.hint or "")
    assert mends, failed.value.hint
    capture.query(mends[0])
    assert capture.run().rows_read == 1
    capture.assert_exact()


@pytest.mark.parametrize("is_there", [True, False], ids=["another table", "no table"])
def test_a_missing_change_table_is_named_with_the_way_to_make_it(kafka, source_postgres, tmp_path, is_there) -> None:
    capture = Capture(kafka, source_postgres, tmp_path)
    if is_there:
        capture.init()
    with pytest.raises(NotFoundError, match="nowhere" if is_there else "emp_cdc") as failed:
        capture.run(**({"table": "nowhere"} if is_there else {}))
    assert "pipeline-core init-db postgres-to-kafka" in (failed.value.hint or "")
    assert capture.messages() == []


def test_a_database_that_is_missing_is_named(kafka, source_postgres, tmp_path) -> None:
    capture = Capture(kafka, source_postgres, tmp_path)
    capture.url = source_postgres.url_of("nowhere")
    with pytest.raises(NotFoundError, match="nowhere"):
        capture.run()


def test_a_second_run_of_the_same_work_takes_over_from_the_first(capture) -> None:
    insert(capture, *range(5))
    with capture.worker(until="stopped") as first:
        capture.wait_until_sent(first)
        with capture.worker(until="stopped") as second:
            keys = iter(range(100, 10_000))

            def has_ended() -> bool:
                insert(capture, next(keys))
                return not first.is_running

            wait_until(has_ended, "the first run ends", 60)
            ended = first.wait()
            assert (ended.code, ended.error["kind"]) == (1, "conflict")
            capture.wait_until_sent(second)
            second.send(signal.SIGTERM)
            assert second.wait().code == 143
    capture.assert_exact()


def test_sigterm_ends_a_run_after_what_it_has_read_is_sent(capture) -> None:
    insert(capture, *range(100))
    with capture.worker(until="stopped", batch_size=10) as child:
        capture.wait_until_sent(child, count=1)
        child.send(signal.SIGTERM)
        ended = child.wait()
    assert ended.code == 143, ended.err
    capture.work()
    capture.assert_exact()


def test_statistics_are_logged_now_and_then(capture) -> None:
    insert(capture, *range(10))
    with capture.worker(until="stopped", stats_interval_seconds=0.2) as child:
        capture.wait_until_sent(child)
        child.wait_for('"statistics"', 20)
        child.send(signal.SIGTERM)
        ended = child.wait()
    lines = [json.loads(line) for line in ended.err.splitlines() if '"statistics"' in line]
    assert lines
    assert lines[-1]["lag"] == 0, lines[-1]
