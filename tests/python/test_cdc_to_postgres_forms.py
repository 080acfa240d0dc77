"""Every form and value that a change may have, in the row that it makes."""

from __future__ import annotations

import random
from itertools import count

import pytest
from tests.python.support.applies import Apply
from tests.python.support.events import Event, History, Sent, deleted, employee, inserted, sent, updated

SHORT = 400


@pytest.fixture(scope="module")
def history() -> History:
    """Inserts, updates, deletes and changed keys, many of each row."""
    found = History(random.Random(6), 40)
    found.more(SHORT, truncates=1)
    return found


@pytest.fixture
def apply(kafka, target_postgres, tmp_path) -> Apply:
    """A topic of one partition and empty tables."""
    found = Apply(kafka, target_postgres, tmp_path)
    found.init()
    return found


def test_every_text_arrives_as_it_was_sent(apply) -> None:
    odd = ["", " ", "NULL", "None", "\\N", "\\", "{}", '{"a"}', "a,b", "a'b", 'a"b', "\t", "\r\n", "\x01", "é😀"]
    for first, copy_rows in ((100, 0), (200, 10**9)):
        apply.send(*sent(*(inserted(first + at, at, city=text, last_name=text) for at, text in enumerate(odd))))
        apply.run(copy_rows=copy_rows)
        apply.assert_exact()
        assert [apply.rows()[str(at),]["city"] for at in range(len(odd))] == odd
        apply.query("TRUNCATE employees")


def test_numbers_and_dates_arrive_to_their_limits(apply) -> None:
    rows = [
        inserted(1, 1, salary=str(2**31 - 1), dob="0001-01-01"),
        inserted(2, 2, salary=str(-(2**31)), dob="9999-12-31"),
        inserted(3, 3, emp_id=str(-(2**31)), dob="infinity"),
        inserted(4, 4, emp_id=str(2**31 - 1), dob="-infinity"),
        inserted(5, 5, salary=None, dob=None, city=None),
        inserted(6, 6, dob="2024-02-29"),
        inserted(7, 7, dob="0044-03-15 BC"),
    ]
    for copy_rows in (0, 10**9):
        apply.send(*sent(*rows))
        apply.run(copy_rows=copy_rows, enable_idempotency=False)
        apply.assert_exact(ledger=False)
        assert len(apply.rows()) == len(rows)
        apply.query("TRUNCATE employees")


@pytest.mark.parametrize("number", [0, -1])
def test_rows_with_the_number_nought_of_a_sibling_s_snapshot_are_all_applied(apply, number) -> None:
    apply.send(*(Event(number, "INSERT", employee(row)).sibling() for row in range(1, 6)))
    apply.send(*sent(updated(1, 2, city="changed")))
    apply.send(Event(number, "INSERT", employee(2)).sibling())
    apply.run()
    apply.assert_exact()
    assert len(apply.rows()) == 5
    assert apply.rows()["2",]["city"] == "changed"
    assert [row["action_id"] for row in apply.dump()["ledger"]] == [1]


def test_the_names_of_the_columns_are_accepted_in_place_of_the_contract_s(apply, history) -> None:
    events = [event for event in history.events if event.action != "TRUNCATE"]
    apply.send(*(event.sibling() if event.number % 2 else event.message() for event in events))
    apply.run()
    expected = apply.assert_exact()
    assert len(expected.rows) > 10
    assert None in {row["dob"] for row in apply.rows().values()}, "The text None is no date"


@pytest.mark.parametrize("lsn", [True, False], ids=["with an LSN", "without"])
@pytest.mark.parametrize("schema", [True, False], ids=["with a schema", "plain"])
def test_debezium_s_envelopes_and_tombstones_are_applied(apply, history, lsn, schema) -> None:
    sequence = count(10_000, 8)
    given: list[Sent] = []
    for event in history.events:
        given.append(event.debezium(lsn=next(sequence) if lsn else None, schema=schema))
        if event.action == "DELETE":
            given.append(event.tombstone())
    apply.send(*given)
    report = apply.run(batch_size=50)
    expected = apply.assert_exact()
    rows: dict[tuple[str, ...], object] = {}
    for event in history.events:
        if event.action == "TRUNCATE":
            rows.clear()
        elif event.action == "DELETE":
            del rows[event.key]
        else:
            rows[event.key] = event.values
    assert expected.rows == rows
    assert report.rows_read == len(given)
    assert sum(message.value is None for message in given) > 10


def test_a_tombstone_deletes_its_row(apply) -> None:
    apply.send(*sent(inserted(1, 1), inserted(2, 2)))
    apply.run()
    apply.send(inserted(1, 1).tombstone(), Sent(b'{"emp_id": 2}', None), Sent(b"77", None))
    report = apply.run()
    assert (report.rows_read, report.rows_rejected) == (3, 0)
    assert apply.rows() == {}


def test_unknown_fields_are_passed_over_on_request(apply) -> None:
    given = [message.edited(lambda document: document.update(extra={"a": [1]})) for message in sent(inserted(1, 1))]
    apply.send(*given)
    apply.run(unknown_fields="ignore")
    assert len(apply.assert_exact(apply.replica(ignores_unknown=True)).rows) == 1


def test_words_for_actions_may_be_small_and_numbers_may_be_text(apply) -> None:
    def small(document) -> None:
        document.update(action=document["action"].lower(), action_id=str(document["action_id"]), emp_salary="5")

    apply.send(
        *(message.edited(small) for message in sent(inserted(1, 1), updated(2, 1), inserted(3, 2), deleted(4, 2)))
    )
    apply.run()
    apply.assert_exact()
    assert {key: row["salary"] for key, row in apply.rows().items()} == {("1",): "5"}
