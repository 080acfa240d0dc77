"""Changes that only the database refuses, and what happens when nothing may be put aside."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.applies import OUTBOX, Apply
from tests.python.support.events import Event, History, Sent, employee, everywhere, inserted, sent, truncated, updated
from tests.python.support.replicas import Replica

from pipeline_core.exceptions import RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.support.shapes import Values

PARTITIONS = 3
COPY_ROWS = pytest.mark.parametrize("copy_rows", [0, 10**9], ids=["COPY", "UNNEST"])


@dataclass(frozen=True)
class Cause:
    """Why the database refuses a row.

    Attributes:
        made: What makes it refuse.
        mended: What mends that.
        says: What a dead letter says of it.
        guilty: The values that make a row guilty.
    """

    made: str
    mended: str
    says: str
    guilty: dict[str, str | None]

    def refuses(self, row: Values) -> str | None:
        """What the database says of a row."""
        return self.says if row.items() >= self.guilty.items() else None


CAUSES = {
    "a CHECK": Cause(
        "ALTER TABLE employees ADD CONSTRAINT paid CHECK (salary <> -77)",
        "ALTER TABLE employees DROP CONSTRAINT paid",
        "PostgreSQL 23514",
        {"salary": "-77"},
    ),
    "a unique index": Cause(
        "CREATE UNIQUE INDEX taken ON employees (last_name) WHERE last_name = 'taken';"
        "INSERT INTO employees (emp_id, first_name, last_name, cdc_version) VALUES (-9, 'A', 'taken', 2::bigint ^ 62)",
        "DROP INDEX taken",
        "PostgreSQL 23505",
        {"last_name": "taken"},
    ),
    "a foreign key": Cause(
        "CREATE TABLE nobody (name VARCHAR(100) PRIMARY KEY); INSERT INTO nobody VALUES ('Ann');"
        "ALTER TABLE employees ADD no_one VARCHAR(100) GENERATED ALWAYS AS"
        " (CASE WHEN city = 'nowhere' THEN city END) STORED REFERENCES nobody",
        "ALTER TABLE employees DROP COLUMN no_one",
        "PostgreSQL 23503",
        {"city": "nowhere"},
    ),
    "a foreign key that is checked at the COMMIT": Cause(
        "CREATE TABLE nobody (name VARCHAR(100) PRIMARY KEY); INSERT INTO nobody VALUES ('Ann');"
        "ALTER TABLE employees ADD no_one VARCHAR(100) GENERATED ALWAYS AS"
        " (CASE WHEN city = 'nowhere' THEN city END) STORED REFERENCES nobody DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE employees DROP COLUMN no_one",
        "PostgreSQL 23503",
        {"city": "nowhere"},
    ),
    "a column that is narrower": Cause(
        "ALTER TABLE employees ALTER last_name TYPE VARCHAR(40)",
        "ALTER TABLE employees ALTER last_name TYPE VARCHAR(100)",
        "$.emp_LN",
        {"last_name": "x" * 41},
    ),
    "a number that its column has no room for": Cause(
        "ALTER TABLE employees ALTER salary TYPE NUMERIC(6, 0)",
        "ALTER TABLE employees ALTER salary TYPE INT",
        "PostgreSQL 22003",
        {"salary": "1000000"},
    ),
    "a column that must not be null": Cause(
        "ALTER TABLE employees ADD is_known INT GENERATED ALWAYS AS"
        " (CASE WHEN city IS DISTINCT FROM 'unknown' THEN 1 END) STORED NOT NULL",
        "ALTER TABLE employees DROP COLUMN is_known",
        "PostgreSQL 23502",
        {"city": "unknown"},
    ),
}


def spoilt(event: Event, cause: Cause) -> Event:
    """The event with values that the database refuses."""
    return Event(event.number, event.action, {**event.values, **cause.guilty}, event.shape, event.generation)


@pytest.fixture
def apply(kafka, target_postgres, tmp_path) -> Apply:
    """A topic of one partition and empty tables."""
    found = Apply(kafka, target_postgres, tmp_path)
    found.init()
    return found


def assert_exact(apply: Apply, cause: Cause, **rules: Any) -> Replica:
    """As `Apply.assert_exact`; the row of our own that others collide with is none of the topic's."""
    apply.query("DELETE FROM employees WHERE emp_id = -9")
    return apply.assert_exact(apply.replica(refuses=cause.refuses), **rules)


@pytest.mark.parametrize("form", ["ours", "Debezium's, without an LSN"])
def test_a_row_that_went_with_all_others_does_not_come_back_with_a_change_that_is_refused(apply, form) -> None:
    cause = CAUSES["a CHECK"]
    apply.query(cause.made)
    events = [
        *(inserted(1, 1), inserted(2, 2), updated(3, 2), truncated(4)),
        *(spoilt(inserted(5, 1), cause), inserted(6, 3), spoilt(updated(7, 2), cause)),
    ]
    apply.send(*(event.message() if form == "ours" else event.debezium() for event in events))
    apply.run(max_rejected_share=1)
    expected = assert_exact(apply, cause)
    assert {*expected.rows} == {("3",)}
    assert {*expected.letters} == {(0, 4), (0, 6)}


GUILTY = {0, 13, 14, 57, 99}


@COPY_ROWS
@pytest.mark.parametrize("are_known", [False, True])
@pytest.mark.parametrize("name", CAUSES)
def test_of_a_batch_that_the_database_refuses_only_the_guilty_changes_are_dead_letters(
    apply, name, are_known, copy_rows
) -> None:
    cause = CAUSES[name]
    rows = range(1, 101)
    before = [inserted(row, row, city="before") for row in rows] if are_known else []
    apply.send(*sent(*before))
    apply.query(cause.made)
    if are_known:
        apply.run()
    events = [updated(1000 + row, row, city="after") for row in rows]
    apply.send(*sent(*(spoilt(event, cause) if at in GUILTY else event for at, event in enumerate(events))))
    report = apply.run(batch_interval_ms=2000, copy_rows=copy_rows)
    assert (report.rows_read, report.rows_rejected, report.details["dead_letters"]) == (100, 5, 5)
    expected = assert_exact(apply, cause)
    assert set(expected.letters) == {(0, at + len(before)) for at in GUILTY}
    assert expected.loose == {}
    assert all(cause.says in letter.reason for letter in apply.letters())
    cities = {int(key[0]): row["city"] for key, row in apply.rows().items()}
    guilty = {at + 1 for at in GUILTY}
    assert {cities[row] for row in rows if row not in guilty} == {"after"}
    assert {cities.get(row) for row in guilty} == {"before" if are_known else None}


@pytest.mark.parametrize("at_once", [1, 3, 16])
@pytest.mark.parametrize("name", ["a CHECK", "a foreign key that is checked at the COMMIT"])
def test_changes_of_a_row_stay_in_order_around_one_that_the_database_refuses(apply, name, at_once) -> None:
    cause = CAUSES[name]
    apply.query(cause.made)

    def bad(number: int, row: int) -> Event:
        return spoilt(updated(number, row), cause)

    events = [
        *(inserted(1, 1, city="good"), bad(2, 1)),
        *(bad(3, 2), inserted(4, 2, city="good")),
        *(inserted(5, 3), bad(6, 3), updated(7, 3, city="good")),
        *(inserted(8, 4, city="good"), bad(9, 4), bad(10, 4)),
        bad(11, 5),
        *(inserted(12, 6), bad(13, 6), Event(14, "DELETE", employee(6))),
        *(bad(15, 7), inserted(16, 8, city="good")),
    ]
    rejected = 0
    for begin in range(0, len(events), at_once):
        apply.send(*sent(*events[begin : begin + at_once]))
        rejected += apply.run(max_rejected_share=1).rows_rejected
    expected = assert_exact(apply, cause)
    assert {int(key[0]): row["city"] for key, row in apply.rows().items()} == dict.fromkeys([1, 2, 3, 4, 8], "good")
    last = {event.number - 1 for event in events if event.number in {2, 9, 10, 11, 15}}
    assert {(0, offset) for offset in last} <= set(apply.refused())
    if at_once == 1:
        assert set(apply.refused()) == set(expected.letters)
    assert rejected == len(apply.letters())


@COPY_ROWS
@pytest.mark.parametrize("batch_size", [1, 40, 20_000])
@pytest.mark.parametrize("seed", range(2))
def test_a_history_with_poison_in_it_is_exact(kafka, target_postgres, tmp_path, batch_size, copy_rows, seed) -> None:
    """Of two kinds, on three partitions."""
    dice = random.Random(seed)
    cause = CAUSES["a CHECK"]
    history = History(dice, keys=25)
    history.more(300, truncates=1)
    given = [
        spoilt(event, cause) if event.action in {"INSERT", "UPDATE"} and dice.random() < 0.15 else event
        for event in history.events
    ]
    messages = [
        message.edited(lambda document: document.update(emp_dob="32.13.")) if dice.random() < 0.1 else message
        for message in everywhere(given, PARTITIONS)
    ]
    settings = {"batch_size": batch_size, "max_rejected_share": 1, "copy_rows": copy_rows}
    apply = Apply(kafka, target_postgres, tmp_path, partitions=PARTITIONS, settings=settings)
    apply.init()
    apply.query(cause.made)
    apply.send(*messages)
    apply.run()
    expected = assert_exact(apply, cause)
    assert {*map(len, expected.letters.values())} >= {len("$.emp_dob"), len("PostgreSQL 23514")}


def test_changes_of_which_the_database_takes_none_are_all_dead_letters(apply) -> None:
    cause = CAUSES["a CHECK"]
    apply.query(cause.made)
    apply.send(*sent(*(spoilt(inserted(row, row), cause) for row in range(1, 8))))
    report = apply.run(max_rejected_share=1)
    assert (report.rows_rejected, report.rows_written) == (7, 0)
    assert_exact(apply, cause)
    assert apply.rows() == {}


@pytest.mark.parametrize("by", ["the database", "the rules"])
def test_more_poison_than_allowed_ends_the_run_before_the_topic_is_in_the_dead_letters(apply, by) -> None:
    cause = CAUSES["a CHECK"]
    apply.query(cause.made)
    events = [spoilt(inserted(row, row), cause) for row in range(1, 40_001)]
    messages = [Sent(message.key, b"bad") for message in sent(*events)] if by == "the rules" else sent(*events)
    apply.send(*messages)
    with pytest.raises(RejectedError, match="max_rejected_share") as failed:
        apply.run(batch_size=100)
    assert failed.value.hint
    assert not failed.value.retryable
    assert 50 <= len(apply.letters()) < 20_000
    assert max(apply.refused().values()) == 1
    assert (apply.positions()[0] or 0) < 20_000


def unknown_field(number: int, row: int) -> Sent:
    return inserted(number, row).message().edited(lambda document: document.update(note="x"))


@dataclass(frozen=True)
class Stopper:
    """Poison that stops a run, what it is stopped with, and how that is mended."""

    cause: Cause
    message: Callable[[int, int], Sent]
    says: str
    mended: dict[str, Any]


STOPPERS = {
    "the database": Stopper(
        CAUSES["a CHECK"],
        lambda number, row: spoilt(inserted(number, row), CAUSES["a CHECK"]).message(),
        "23514",
        {},
    ),
    "the rules": Stopper(
        Cause("SELECT 1", "SELECT 1", "", {}), unknown_field, r"\$\.note", {"unknown_fields": "ignore"}
    ),
}


@pytest.mark.parametrize("enable_idempotency", [True, False])
@pytest.mark.parametrize("batch_size", [7, 20_000])
@pytest.mark.parametrize("by", STOPPERS)
def test_without_dead_letters_poison_stops_the_run_until_it_is_mended(
    apply, by, batch_size, enable_idempotency
) -> None:
    stopper = STOPPERS[by]
    apply.settings |= {"enable_dlq": False, "batch_size": batch_size, "enable_idempotency": enable_idempotency}
    apply.query(stopper.cause.made)
    poison = {30, 60}
    rows = range(1, 101)
    # Rows come twice, so that a later change of one that is before the poison must not be applied yet.
    apply.send(
        *(
            stopper.message(row, row) if row - 1 in poison else inserted(row, row, city="first").message()
            for row in rows
        )
    )
    apply.send(*sent(*(updated(200 + row, row, city="second") for row in range(1, 11))))
    for _ in range(2):
        with pytest.raises(RejectedError, match=stopper.says) as failed:
            apply.run()
        assert failed.value.hint
        assert "30" in str(failed.value), "It says where"
        assert apply.positions() == {0: 30}
        assert {int(key[0]) for key in apply.rows()} == set(range(1, 31))
        assert {row["city"] for row in apply.rows().values()} == {"first"}
        assert len(apply.dump()["ledger"]) == 30 * enable_idempotency
    apply.query(stopper.cause.mended)
    report = apply.run(**stopper.mended)
    assert report.rows_read == 110 - 30
    rules = {"ignores_unknown": True} if stopper.mended else {}
    expected = apply.replica(**rules)
    assert len(expected.rows) == 100
    apply.assert_exact(expected, ledger=enable_idempotency)
    assert apply.query(f"SELECT count(*) AS letters FROM {OUTBOX}") == [{"letters": 0}]


def test_without_dead_letters_no_partition_goes_past_its_poison(kafka, target_postgres, tmp_path) -> None:
    settings = {"enable_dlq": False, "batch_size": 20}
    apply = Apply(kafka, target_postgres, tmp_path, partitions=PARTITIONS, settings=settings)
    apply.init()
    poison = {0: 50, 1: 10, 2: None}
    numbers = iter(range(1, 1000))
    for partition, bad in poison.items():
        for offset in range(100):
            number = next(numbers)
            message = unknown_field(number, number) if offset == bad else inserted(number, number).message()
            apply.send(message.on(partition))
    for _ in range(6):
        with pytest.raises(RejectedError):
            apply.run()
        positions = apply.positions()
        assert all(positions[partition] <= bad for partition, bad in poison.items() if bad is not None)
        applied = [message for message in apply.messages() if message.offset < positions[message.partition]]
        assert apply.rows() == apply.canonical(Replica().apply(applied).rows.values())
    assert positions[0] == 50 or positions[1] == 10
    apply.run(unknown_fields="ignore")
    apply.assert_exact(apply.replica(ignores_unknown=True))
