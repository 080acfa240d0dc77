"""Changes on a real topic into a real PostgreSQL: each once in effect, in any order, however often they come."""

from __future__ import annotations

import random
from itertools import count

import pytest
from tests.python.support.applies import Apply
from tests.python.support.changes import GENERATION
from tests.python.support.children import seeded
from tests.python.support.events import (
    Event,
    History,
    deleted,
    employee,
    everywhere,
    inserted,
    sent,
    truncated,
    updated,
)

PARTITIONS = 3
CHANGES = 3000
ROWS = 120
TRUNCATES = 3
SHORT = 400


@pytest.fixture(scope="module")
def history() -> History:
    """Inserts, updates, deletes and changed keys, many of each row, and three times all rows at once."""
    found = History(random.Random(5), ROWS)
    found.more(CHANGES, truncates=TRUNCATES)
    assert {event.action for event in found.events} == {"INSERT", "UPDATE", "DELETE", "TRUNCATE"}
    assert len(found.rows) > ROWS / 3
    return found


@pytest.fixture(scope="module")
def applied(kafka, target_postgres, history, tmp_path_factory) -> Apply:
    """The history on three partitions, in the table."""
    apply = Apply(kafka, target_postgres, tmp_path_factory.mktemp("applied"), partitions=PARTITIONS)
    apply.init()
    given = everywhere(history.events, PARTITIONS)
    apply.send(*given)
    report = apply.run()
    assert (report.pipeline, report.status) == ("cdc_to_postgres", "complete")
    assert (report.rows_read, report.rows_rejected) == (len(given), 0)
    assert report.bytes_read >= sum(len(message.value or b"") for message in given)
    details = report.details
    assert (details["topic"], details["group_id"], details["table"]) == (apply.topic, apply.database, "employees")
    assert report.rows_written == report.rows_read - details["duplicates"]
    assert details["duplicates"] == apply.replica().duplicates == TRUNCATES * (PARTITIONS - 1)
    assert (details["dead_letters"], details["retries"]) == (0, 0)
    assert details["superseded"] > CHANGES / 5, "There are many changes of each row in a batch"
    assert min(details["upserted"], details["truncates"], details["transactions"]) > 0
    assert 0 < details["transaction_seconds"]["mean"] <= details["transaction_seconds"]["max"]
    assert details["server"].startswith("PostgreSQL ")
    return apply


@pytest.fixture
def apply(kafka, target_postgres, tmp_path) -> Apply:
    """A topic of one partition and empty tables."""
    found = Apply(kafka, target_postgres, tmp_path)
    found.init()
    return found


@pytest.fixture
def wide(kafka, target_postgres, tmp_path) -> Apply:
    """A topic of three partitions and empty tables."""
    found = Apply(kafka, target_postgres, tmp_path, partitions=PARTITIONS)
    found.init()
    return found


def city(apply: Apply, row: int) -> str | None:
    return apply.rows()[str(row),]["city"]


def test_cdc_to_postgres_leaves_the_rows_of_the_source_and_books_each_change(applied, history) -> None:
    expected = applied.assert_exact()
    assert expected.rows == history.rows, "Two checks that know nothing of each other say the same"
    assert set(expected.ledger) == {event.number for event in history.events}


def test_what_was_applied_is_not_read_again(applied) -> None:
    before = applied.dump()
    assert applied.run().rows_read == 0
    assert applied.dump() == before


@pytest.mark.parametrize("enable_idempotency", [True, False])
@pytest.mark.parametrize("again", ["in order", "in reverse", "shuffled onto other partitions", "a half, twice"])
def test_a_replay_changes_nothing_with_the_ledger_and_without(applied, history, again, enable_idempotency) -> None:
    before = applied.dump()
    dice = seeded(again)
    replayed = everywhere(history.events, PARTITIONS)
    if again == "in reverse":
        replayed.reverse()
    elif again == "shuffled onto other partitions":
        replayed = [message.on(dice.randrange(PARTITIONS)) for message in replayed]
        dice.shuffle(replayed)
    elif again == "a half, twice":
        replayed = dice.sample(replayed, len(replayed) // 2) * 2
    applied.send(*replayed)
    report = applied.run(enable_idempotency=enable_idempotency)
    assert applied.dump() == before
    assert (report.rows_read, report.rows_rejected) == (len(replayed), 0)
    if enable_idempotency:
        assert report.details["duplicates"] == len(replayed)
    else:
        assert report.details["duplicates"] == 0
        assert report.details["stale"] > 0
    assert applied.is_at_end()


@pytest.mark.parametrize("batch_size", [1, 7, 20_000])
def test_changes_in_any_order_on_any_partition_leave_the_same_rows(
    kafka, target_postgres, tmp_path, batch_size
) -> None:
    dice = seeded("any order")
    history = History(dice, keys=15)
    history.more(SHORT, truncates=2)
    mixed = [message.on(dice.randrange(PARTITIONS)) for message in everywhere(history.events, PARTITIONS)]
    mixed += dice.sample(mixed, SHORT // 4)
    dice.shuffle(mixed)
    apply = Apply(kafka, target_postgres, tmp_path, partitions=PARTITIONS, settings={"batch_size": batch_size})
    apply.init()
    half = len(mixed) // 2
    apply.send(*mixed[:half])
    apply.run()
    apply.assert_exact()
    apply.send(*mixed[half:])
    report = apply.run()
    assert apply.assert_exact().rows == history.rows
    assert report.details["stale"] + report.details["superseded"] > 0


@pytest.mark.parametrize("enable_idempotency", [True, False])
@pytest.mark.parametrize("copy_rows", [0, 10**9], ids=["COPY", "UNNEST"])
def test_both_ways_to_write_leave_the_same_rows(
    kafka, target_postgres, history, tmp_path, copy_rows, enable_idempotency
) -> None:
    settings = {"copy_rows": copy_rows, "enable_idempotency": enable_idempotency, "batch_size": 500}
    apply = Apply(kafka, target_postgres, tmp_path, partitions=PARTITIONS, settings=settings)
    apply.init()
    apply.send(*everywhere(history.events, PARTITIONS))
    apply.run()
    assert apply.assert_exact(ledger=enable_idempotency).rows == history.rows


@pytest.mark.parametrize("connections", [1, 4])
def test_the_number_of_connections_changes_no_row(kafka, target_postgres, history, tmp_path, connections) -> None:
    settings = {"connections": connections, "batch_size": 100, "batch_interval_ms": 10}
    apply = Apply(kafka, target_postgres, tmp_path, partitions=6, settings=settings)
    apply.init()
    apply.send(*everywhere(history.events, 6))
    apply.run()
    assert apply.assert_exact().rows == history.rows


def test_the_report_counts_what_was_done_to_the_table(apply) -> None:
    names = ("upserted", "deleted", "truncates", "superseded", "stale", "duplicates", "dead_letters")
    rows = [inserted(row, row) for row in range(1, 6)]
    steps = [
        ((*rows, updated(6, 5)), (5, 0, 0, 1, 0, 0, 0)),
        ((deleted(7, 1), deleted(8, 2), updated(9, 3)), (1, 2, 0, 0, 0, 0, 0)),
        ((updated(9, 3), updated(8, 4), updated(5, 3)), (0, 0, 0, 0, 0, 3, 0)),
        ((truncated(20), inserted(21, 6)), (1, 0, 1, 0, 0, 0, 0)),
        ((updated(19, 3), inserted(18, 7)), (0, 0, 0, 0, 2, 0, 0)),
    ]
    for events, counts in steps:
        apply.send(*sent(*events))
        details = apply.run().details
        assert tuple(details[name] for name in names) == counts, events
    apply.assert_exact()


def test_an_update_of_a_row_that_is_not_there_makes_it_and_an_insert_of_one_that_is_changes_it(apply) -> None:
    apply.send(*sent(updated(1, 1, city="made"), inserted(2, 2, city="first")))
    apply.run()
    apply.send(*sent(inserted(3, 2, city="changed")))
    apply.run()
    apply.assert_exact()
    assert (city(apply, 1), city(apply, 2)) == ("made", "changed")


def test_an_update_leaves_the_time_that_the_row_was_made(apply) -> None:
    apply.send(*sent(inserted(1, 1), inserted(2, 2)))
    apply.run()
    before = apply.query("SELECT emp_id, last_updated FROM employees ORDER BY emp_id")
    assert all(row["last_updated"] for row in before)
    for copy_rows in (0, 10**9):
        number = 3 if copy_rows == 0 else 4
        apply.send(*sent(updated(number, 1, city=f"new {number}")))
        apply.run(copy_rows=copy_rows)
        assert city(apply, 1) == f"new {number}"
        assert apply.query("SELECT emp_id, last_updated FROM employees ORDER BY emp_id") == before


def test_the_ledger_says_of_each_change_where_it_was(wide) -> None:
    wide.send(
        *(message.on(at % PARTITIONS) for at, message in enumerate(sent(*(inserted(n, n) for n in range(1, 31)))))
    )
    wide.run()
    rows = wide.query("SELECT * FROM processed_events ORDER BY action_id")
    assert list(rows[0]) == ["action_id", "emp_id", "action", "processed_at", "kafka_offset", "kafka_partition"]
    for at, row in enumerate(rows):
        assert (row["action_id"], row["emp_id"], row["action"]) == (at + 1, at + 1, "INSERT")
        assert (row["kafka_partition"], row["kafka_offset"]) == (at % PARTITIONS, at // PARTITIONS)
        assert row["processed_at"]
    assert len(rows) == 30


def test_a_change_that_comes_twice_is_counted_and_booked_where_it_was_first(apply) -> None:
    events = sent(inserted(1, 1), updated(2, 1, city="second"))
    apply.send(*events, *events)
    report = apply.run()
    apply.send(*events)
    again = apply.run()
    assert (report.details["duplicates"], report.rows_written) == (2, 2)
    assert (again.details["duplicates"], again.rows_written) == (2, 0)
    apply.assert_exact()
    assert [row["kafka_offset"] for row in apply.dump()["ledger"]] == [0, 1]


def test_a_change_that_is_older_than_the_row_is_booked_and_changes_nothing(apply) -> None:
    apply.send(*sent(inserted(5, 1, city="fifth"), inserted(6, 2, city="sixth")))
    apply.run()
    apply.send(*sent(updated(3, 1, city="third"), deleted(4, 2)))
    report = apply.run()
    assert (report.details["stale"], report.details["duplicates"], report.rows_written) == (2, 0, 2)
    apply.assert_exact()
    assert (city(apply, 1), city(apply, 2)) == ("fifth", "sixth")


def test_a_row_that_was_deleted_does_not_come_back_with_an_older_change(apply) -> None:
    apply.send(*sent(inserted(1, 1), deleted(5, 1), deleted(6, 2)))
    apply.run()
    apply.send(*sent(updated(4, 1), inserted(2, 2)))
    report = apply.run()
    assert report.details["stale"] == 2
    apply.assert_exact()
    assert apply.rows() == {}
    apply.send(*sent(inserted(7, 1, city="again")))
    apply.run()
    apply.assert_exact()
    assert city(apply, 1) == "again"


@pytest.mark.parametrize("copy_rows", [0, 10**9], ids=["COPY", "UNNEST"])
@pytest.mark.parametrize(("writes", "deletes"), [(2, 1), (1, 2)], ids=["written later", "deleted later"])
def test_a_row_does_not_stay_that_is_written_and_deleted_side_by_side(wide, writes, deletes, copy_rows) -> None:
    """Neither of the two transactions sees the other's row, for they take some seconds."""
    for table, seconds in (("employees", writes), ("pipeline_core_tombstone", deletes)):
        wide.query(f"""
            CREATE FUNCTION slow_{table}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                IF to_jsonb(NEW) ->> 'key' IS DISTINCT FROM '' THEN PERFORM pg_sleep({seconds}); END IF; RETURN NEW;
            END$$;
            CREATE TRIGGER slow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION slow_{table}()
        """)
    wide.send(*(message.on(at) for at, message in enumerate(sent(inserted(1, 1), deleted(2, 1)))))
    report = wide.run(copy_rows=copy_rows, batch_interval_ms=3000)
    wide.assert_exact()
    assert wide.rows() == {}
    assert (report.details["upserted"], report.details["deleted"]) == (1, 1), "They were side by side"


def test_a_deleted_row_that_is_made_again_in_one_batch_is_there(apply) -> None:
    apply.send(*sent(inserted(1, 1), deleted(2, 1), inserted(3, 1, city="again"), inserted(4, 2), deleted(5, 2)))
    report = apply.run(batch_interval_ms=2000)
    apply.assert_exact()
    assert {*apply.rows()} == {("1",)}
    assert report.details["superseded"] == 3


@pytest.mark.parametrize("first", ["the newer row", "what empties the table"])
def test_what_empties_the_table_leaves_newer_rows_whichever_is_seen_first(wide, first) -> None:
    wide.send(*(message.on(0) for message in sent(inserted(1, 1), inserted(2, 2))))
    wide.run()
    newer = [message.on(1) for message in sent(inserted(6, 2, city="newer"), inserted(7, 3))]
    emptying = [truncated(5).message().on(at) for at in range(PARTITIONS)]
    for part in (newer, emptying) if first == "the newer row" else (emptying, newer):
        wide.send(*part)
        wide.run()
    wide.assert_exact()
    assert {*wide.rows()} == {("2",), ("3",)}
    wide.send(*(message.on(2) for message in sent(updated(3, 1), updated(4, 2, city="older"))))
    report = wide.run()
    assert report.details["stale"] == 2
    wide.assert_exact()


def test_rows_that_nobody_gave_a_version_go_when_the_table_is_emptied(apply) -> None:
    apply.query("INSERT INTO employees (emp_id, first_name, last_name) VALUES (90, 'by', 'hand')")
    apply.send(*sent(inserted(1, 1), truncated(2)))
    apply.run()
    assert apply.rows() == {}


def test_changes_of_a_source_that_was_made_again_count_as_newer(apply) -> None:
    """Its numbers begin at 1 again: the original took them all for done."""
    old = History(seeded("the old source"), keys=20)
    old.more(SHORT, truncates=1)
    apply.send(*everywhere(old.events, 1))
    apply.run()
    new = History(seeded("the new source"), keys=20, numbers=count(3), generation=1)
    rows = [Event(2, "INSERT", employee(number), generation=1) for number in range(1, 11)]
    new.rows |= {event.key: event.values for event in rows}
    snapshot = [event.snapshot() for event in rows]
    new.more(SHORT // 2)
    apply.send(Event(1, "TRUNCATE", generation=1).message(), *snapshot, *everywhere(new.events, 1))
    report = apply.run()
    assert apply.rows() == apply.canonical(new.rows.values())
    assert report.details["duplicates"] == 0
    booked = {row["action_id"] for row in apply.dump()["ledger"]}
    assert booked >= {event.number for event in old.events}, "What was booked of the old source stays"
    late = random.Random(1).sample(everywhere(old.events, 1), 100)
    apply.send(*late)
    apply.run(enable_idempotency=False)
    assert apply.rows() == apply.canonical(new.rows.values())
    versions = [row["cdc_version"] for row in apply.dump()["table"]]
    assert min(versions) >= GENERATION


def test_the_rows_of_a_snapshot_are_all_applied_and_not_booked(apply) -> None:
    """They share one number, that of the fence; what changed after it is newer, what changed before is older."""
    rows = [Event(10, "INSERT", {**employee(number), "city": "snapshot"}) for number in range(1, 8)]
    apply.send(*sent(inserted(8, 1, city="before"), deleted(9, 2), updated(11, 3, city="after"), deleted(12, 4)))
    apply.run()
    apply.send(*(event.snapshot() for event in rows), *sent(updated(13, 5, city="later")))
    report = apply.run()
    apply.assert_exact()
    cities = {key[0]: row["city"] for key, row in apply.rows().items()}
    assert cities == {
        "1": "snapshot",
        "2": "snapshot",
        "3": "after",
        "5": "later",
        "6": "snapshot",
        "7": "snapshot",
    }
    assert (report.details["duplicates"], report.details["stale"]) == (0, 2)
    assert {row["action_id"] for row in apply.dump()["ledger"]} == {8, 9, 11, 12, 13}
    apply.send(*(event.snapshot() for event in rows))
    before = apply.dump()
    apply.run()
    assert apply.dump() == before
