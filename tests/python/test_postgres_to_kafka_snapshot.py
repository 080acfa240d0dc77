"""A snapshot by ranges of keys: every row once, gone on with after a kill, and handed over to the stream."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.python.support.captures import SNAPSHOT, Capture
from tests.python.support.children import seeded
from tests.python.support.replicas import Replica
from tests.python.support.sources import assert_same_rows, number_of
from tests.python.support.stories import told
from tests.python.support.writers import Writers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.python.support.topics import Message

ROWS = 1000
CHUNK = 60
KEYS = range(-ROWS // 2, ROWS // 2)


@pytest.fixture
def capture(kafka, source_postgres, tmp_path) -> Capture:
    """Rows that no change tells of, on both sides of those that the writers change."""
    return with_rows(kafka, source_postgres, tmp_path)


def with_rows(kafka, source_postgres, folder) -> Capture:
    found = Capture(kafka, source_postgres, folder, settings={"snapshot_rows": CHUNK})
    found.init()
    found.query(
        "ALTER TABLE employees DISABLE TRIGGER USER",
        "INSERT INTO employees SELECT n * 7, 'A' || n, 'B', NULL, 'C', NULL"
        f" FROM generate_series({KEYS.start}, {KEYS.stop - 1}) AS n",
        "ALTER TABLE employees ENABLE TRIGGER USER",
    )
    return found


def parted(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """The rows of a snapshot, and the changes of the stream."""
    rows = [message for message in messages if message.headers == SNAPSHOT]
    return rows, [message for message in messages if message not in rows]


def assert_handed_over(capture: Capture, rows: int | None = None) -> None:
    """No row is told twice, and with the changes that come after it the whole is the table as it is now."""
    messages = capture.messages()
    snapshot, changes = parted(messages)
    assert set(Counter(message.key for message in snapshot).values()) == {1}
    assert rows is None or len(snapshot) == rows
    [fence] = {number_of(message) for message in snapshot}
    assert {json.loads(message.value or b"")["action"] for message in snapshot} == {"INSERT"}
    if changes:
        capture.assert_exact(changes, after=fence)
    else:
        assert all(change.number <= fence for change in capture.committed())
    found = {key: tuple(row.values()) for (key,), row in Replica().apply(messages).rows.items()}
    assert_same_rows(found, capture.rows())


def test_a_snapshot_sends_every_row_once_as_an_insert(capture) -> None:
    report = capture.run(snapshot=True)
    assert (report.rows_read, report.details["snapshot_rows"]) == (ROWS, ROWS)
    assert_handed_over(capture, ROWS)
    [one] = [message for message in capture.messages() if message.key == b"7"]
    assert one.value == (
        b'{"action_id":0,"emp_id":7,"emp_FN":"A1","emp_LN":"B","emp_dob":null,"emp_city":"C","emp_salary":null,'
        b'"action":"INSERT"}'
    )


def test_a_snapshot_takes_the_place_of_the_changes_before_it(capture) -> None:
    capture.query("UPDATE employees SET salary = 5 WHERE emp_id < 0", "DELETE FROM employees WHERE emp_id = 7")
    report = capture.run(snapshot=True)
    assert report.rows_read == ROWS - 1
    assert_handed_over(capture, ROWS - 1)
    capture.query("UPDATE employees SET salary = 6 WHERE emp_id > 700", "TRUNCATE employees")
    capture.query("INSERT INTO employees VALUES (1, 'A', 'B')")
    capture.run()
    assert_handed_over(capture, ROWS - 1)


def test_a_finished_snapshot_is_not_sent_again(capture) -> None:
    capture.run(snapshot=True)
    report = capture.run(snapshot=True)
    assert (report.rows_read, report.details["snapshot_rows"]) == (0, 0)
    assert_handed_over(capture, ROWS)


def test_a_snapshot_is_sent_again_on_a_restart_as_a_new_generation(capture) -> None:
    capture.run(snapshot=True)
    report = capture.run(snapshot=True, restart=True)
    assert report.details["snapshot_rows"] == ROWS
    again = [one for one in capture.messages() if one.headers == {**SNAPSHOT, "pipeline_core.generation": "1"}]
    assert len({one.key for one in again}) == len(again) == ROWS


def test_a_snapshot_may_be_asked_for_when_changes_were_sent_before(capture) -> None:
    capture.query("UPDATE employees SET salary = 5 WHERE emp_id = 7")
    capture.run()
    before = len(capture.messages())
    capture.query("UPDATE employees SET salary = 6 WHERE emp_id = 7")
    report = capture.run(snapshot=True)
    assert before == 1
    assert report.details["snapshot_rows"] == ROWS
    found = {key: tuple(row.values()) for (key,), row in Replica().apply(capture.messages()).rows.items()}
    assert_same_rows(found, capture.rows())


def test_a_snapshot_of_an_empty_table_is_finished_at_once(kafka, source_postgres, tmp_path) -> None:
    capture = Capture(kafka, source_postgres, tmp_path)
    capture.init()
    assert capture.run(snapshot=True).rows_read == 0
    capture.query("INSERT INTO employees VALUES (1, 'A', 'B')")
    assert capture.run(snapshot=True).rows_read == 1
    capture.assert_exact()


def test_rows_that_change_while_they_are_sent_are_right_in_the_end(capture) -> None:
    writers = Writers(capture.source, capture.database, seeded("a snapshot under load"), threads=4)

    def story() -> None:
        capture.wait_until_sent(count=ROWS)

    with writers:
        report = told(capture, story, snapshot=True, snapshot_rows=20)
    assert report.details["snapshot_rows"] > 0
    capture.run()
    assert_handed_over(capture)


def test_a_snapshot_that_is_killed_after_a_range_goes_on_with_the_next(capture) -> None:
    for count in (1, 2, 5):
        with capture.worker(snapshot=True, fault=f"after_chunk:{count}:kill") as child:
            child.wait_until_killed()
        capture.query(f"UPDATE employees SET salary = {count} WHERE emp_id % 3 = 0")
    ended = capture.work(snapshot=True)
    assert ended.report["details"]["snapshot_rows"] <= ROWS - CHUNK
    assert_handed_over(capture, ROWS)


def test_a_snapshot_that_was_interrupted_is_gone_on_with_though_it_is_not_asked_for(capture) -> None:
    """What is half a table would else stay half a table, and nobody would know."""
    with capture.worker(snapshot=True, fault="after_chunk:3:kill") as child:
        child.wait_until_killed()
    capture.work()
    assert_handed_over(capture, ROWS)


def test_a_snapshot_that_is_stopped_goes_on_with_the_next_run(capture) -> None:
    report = told(capture, lambda: capture.wait_until_sent(count=CHUNK), snapshot=True, snapshot_rows=5)
    assert report.status == "stopped"
    assert 0 < report.rows_read < ROWS
    capture.run(snapshot=True)
    assert_handed_over(capture, ROWS)
