"""The tables of `cdc_to_postgres`: made on request, the original's kept, any other by a mapping; and swept."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.python.support.applies import LEDGER, OUTBOX, POSITION, TOMBSTONE, Apply
from tests.python.support.children import Child
from tests.python.support.events import Event, History, Sent, deleted, everywhere, inserted, sent, updated
from tests.python.support.making import together_in_postgres
from tests.python.support.shapes import EMPLOYEES, Column, Shape, Values

from pipeline_core.exceptions import AccessDeniedError, ConflictError, NotFoundError, SettingsError

# As the original's setup_db_with_idempotency.sql has them.
ORIGINAL = """
CREATE TABLE employees (
    emp_id INT PRIMARY KEY, first_name VARCHAR(100) NOT NULL, last_name VARCHAR(100) NOT NULL, dob DATE,
    city VARCHAR(100), salary INT, last_updated TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE processed_events (
    action_id INT PRIMARY KEY, emp_id INT, action VARCHAR(10), processed_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    kafka_offset BIGINT, kafka_partition INT);
CREATE INDEX idx_processed_events_emp_id ON processed_events(emp_id);
CREATE INDEX idx_processed_events_timestamp ON processed_events(processed_at);
"""
PLAIN = """
CREATE TABLE employees (
    emp_id INT PRIMARY KEY, first_name VARCHAR(100) NOT NULL, last_name VARCHAR(100) NOT NULL, dob DATE,
    city VARCHAR(100), salary INT);
"""
EVENTS_OF_ORIGINAL = ["action_id", "emp_id", "action", "processed_at", "kafka_offset", "kafka_partition"]
EMPLOYEE = ["emp_id", "first_name", "last_name", "dob", "city", "salary"]


@pytest.fixture
def bare(kafka, target_postgres, tmp_path) -> Apply:
    """A topic of one partition and a database without tables."""
    return Apply(kafka, target_postgres, tmp_path)


def columns(apply: Apply, table: str) -> dict[str, str]:
    """Names and types of a table's columns, in their order."""
    found = apply.query(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        table,
    )
    return {row["attname"]: row["type"] for row in found}


def everything(apply: Apply) -> list[dict[str, Any]]:
    """All tables, columns, defaults and indexes of the database."""
    return apply.query(
        "SELECT table_name, column_name, data_type, column_default, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
    ) + apply.query("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")


def test_init_db_makes_the_original_s_tables_with_a_version(bare) -> None:
    report = bare.init()
    assert report.server.startswith("PostgreSQL ")
    assert report.database == bare.database
    assert report.migrated is None
    made = {name.rpartition(".")[2] for name in report.created}
    assert made >= {"employees", LEDGER, POSITION, OUTBOX, TOMBSTONE}
    assert all(any(name in statement for statement in report.statements) for name in made)
    assert columns(bare, "employees") == {
        "emp_id": "integer",
        "first_name": "character varying(100)",
        "last_name": "character varying(100)",
        "dob": "date",
        "city": "character varying(100)",
        "salary": "integer",
        "last_updated": "timestamp without time zone",
        "cdc_version": "bigint",
    }
    assert list(columns(bare, LEDGER)) == EVENTS_OF_ORIGINAL
    indexes = {row["indexname"] for row in bare.query("SELECT indexname FROM pg_indexes WHERE tablename = %s", LEDGER)}
    assert indexes >= {"idx_processed_events_emp_id", "idx_processed_events_timestamp"}
    assert list(columns(bare, TOMBSTONE)) == ["table_name", "key", "version", "deleted_at"]


def test_a_second_init_db_changes_nothing(bare) -> None:
    bare.init()
    before = everything(bare)
    assert len(before) > 20
    bare.send(*sent(inserted(1, 1)))
    bare.run()
    rows = bare.dump()
    again = bare.init()
    assert again.created == []
    assert everything(bare) == before
    assert bare.dump() == rows


@pytest.mark.parametrize("script", [ORIGINAL, PLAIN], ids=["with idempotency", "plain"])
def test_tables_of_the_original_are_kept_with_their_rows_and_gain_a_version(bare, script) -> None:
    bare.query(script)
    bare.query("INSERT INTO employees (emp_id, first_name, last_name) SELECT n, 'A', 'B' FROM generate_series(1, 50) n")
    before = columns(bare, "employees")
    rows = bare.rows()
    report = bare.init()
    assert not {"employees", "public.employees"} & {*report.created}
    assert columns(bare, "employees") == {**before, "cdc_version": "bigint"}
    assert bare.rows() == rows
    assert bare.init().created == []
    bare.send(*sent(updated(1, 1, city="new"), deleted(2, 2), inserted(3, 51)))
    bare.run()
    found = bare.rows()
    assert (len(found), found["1",]["city"]) == (50, "new")
    assert [row["action_id"] for row in bare.dump()["ledger"]] == [1, 2, 3]


@pytest.mark.parametrize("script", ["", PLAIN], ids=["nothing", "plain"])
def test_several_may_make_the_tables_at_once(bare, script) -> None:
    if script:
        bare.query(script)
    given = {"environment": bare.environment, "json": True}
    start = partial(Child, bare.folder, "init-db cdc-to-postgres", **given)
    ended = together_in_postgres(bare.postgres, bare.database, start)
    created = [name for one in ended for name in one.report["created"]]
    assert len(created) == len({*created}), created
    assert {LEDGER, POSITION, OUTBOX, TOMBSTONE} <= {*created}
    said = [statement for one in ended for statement in one.report["statements"]]
    assert len(said) == len({*said}), said
    assert "cdc_version" in columns(bare, "employees")


def test_the_command_says_what_it_made(bare) -> None:
    with Child(bare.folder, "init-db cdc-to-postgres", environment=bare.environment, json=True) as child:
        ended = child.wait()
    assert ended.code == 0, ended.err
    assert any("employees" in name for name in json.loads(ended.out)["created"])
    bare.send(*sent(inserted(1, 1)))
    bare.run()
    bare.assert_exact()


@pytest.mark.parametrize("missing", ["employees", LEDGER, POSITION, OUTBOX, TOMBSTONE])
def test_a_missing_table_is_said_before_a_message_is_read(bare, missing) -> None:
    bare.init()
    bare.query(f"DROP TABLE {missing}")
    bare.send(*sent(inserted(1, 1)))
    with pytest.raises(NotFoundError, match=missing) as failed:
        bare.run()
    assert "init-db cdc-to-postgres" in str(failed.value.hint)
    bare.init()
    bare.run()
    bare.assert_exact()


def test_without_idempotency_no_ledger_is_needed(bare) -> None:
    bare.init()
    bare.query(f"DROP TABLE {LEDGER}")
    bare.send(*sent(inserted(1, 1), updated(2, 1, city="second")))
    bare.run(enable_idempotency=False)
    assert bare.rows()["1",]["city"] == "second"
    assert bare.is_at_end()


def test_a_table_without_a_version_is_said_with_the_way_out(bare) -> None:
    bare.init()
    bare.query("ALTER TABLE employees DROP COLUMN cdc_version")
    bare.send(*sent(inserted(1, 1)))
    with pytest.raises((NotFoundError, SettingsError), match="cdc_version") as failed:
        bare.run()
    assert "init-db" in str(failed.value.hint)
    assert bare.rows() == {}


def test_a_column_that_the_table_has_not_is_said_before_a_message_is_read(bare) -> None:
    bare.init()
    nickname = Shape(EMPLOYEES.key, (*EMPLOYEES.columns, Column("nickname", "text")))
    bare.send(*sent(inserted(1, 1)))
    with pytest.raises(SettingsError, match="nickname") as failed:
        bare.run(mapping=nickname.setting())
    assert failed.value.hint
    assert (bare.rows(), bare.letters()) == ({}, [])


def test_a_table_whose_key_is_another_is_refused(bare) -> None:
    bare.init()
    bare.query("ALTER TABLE employees DROP CONSTRAINT employees_pkey")
    bare.send(*sent(inserted(1, 1)))
    with pytest.raises((SettingsError, ConflictError), match=r"key|unique"):
        bare.run()
    assert (bare.rows(), bare.letters()) == ({}, [])


def test_a_user_who_may_not_write_is_refused_and_nothing_is_a_dead_letter(bare) -> None:
    bare.init()
    user = f"u_{bare.database}"
    bare.query(f"CREATE ROLE {user} LOGIN PASSWORD 'pw'")
    bare.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
    bare.query(f"GRANT ALL ON {POSITION}, {OUTBOX}, {TOMBSTONE}, {LEDGER} TO {user}")
    bare.send(*sent(inserted(1, 1)))
    login, _, place = bare.target.rpartition("@")
    bare.url = f"{login.partition('://')[0]}://{user}:pw@{place}"
    with pytest.raises(AccessDeniedError, match="employees"):
        bare.run()
    assert bare.letters() == []


def test_a_wrong_password_is_said_and_shown_nowhere(bare) -> None:
    bare.init()
    login, _, place = bare.target.rpartition("@")
    bare.url = f"{login.rpartition(':')[0]}:not-the-secret@{place}"
    with pytest.raises(AccessDeniedError) as failed:
        bare.run()
    assert "not-the-secret" not in f"{failed.value} {failed.value.hint} {failed.value!r}"


def test_old_rows_of_the_ledger_and_old_tombstones_are_swept_and_young_ones_kept(bare) -> None:
    bare.init()
    rows = range(1, 11)
    bare.send(*sent(*(inserted(row, row) for row in rows), *(deleted(10 + row, row) for row in rows)))
    bare.run()
    bare.query(f"UPDATE {LEDGER} SET processed_at = now() - interval '40 days' WHERE action_id <= 5 OR action_id > 15")
    bare.query(f"UPDATE {TOMBSTONE} SET deleted_at = now() - interval '40 days' WHERE key = ANY(%s)", [*"6789", "10"])
    bare.query(f"UPDATE {LEDGER} SET processed_at = now() - interval '20 days' WHERE action_id IN (6, 7)")
    bare.send(*sent(inserted(100, 100)))
    bare.run(processed_events_days=30, tombstone_days=30)
    assert [row["action_id"] for row in bare.dump()["ledger"]] == [*range(6, 16), 100]
    kept = {row["key"] for row in bare.query(f"SELECT key FROM {TOMBSTONE} WHERE key <> ''")}
    assert kept == {"1", "2", "3", "4", "5"}
    bare.send(*sent(updated(5, 5), inserted(101, 101)))
    bare.run()
    assert {*bare.rows()} == {("100",), ("101",)}, "What is still known as deleted stays so, booked or not"


def test_what_the_ledger_forgot_is_known_by_the_version(bare) -> None:
    bare.init()
    history = History(random.Random(8), 20)
    history.more(200)
    bare.send(*everywhere(history.events, 1))
    bare.run()
    bare.query(f"UPDATE {LEDGER} SET processed_at = now() - interval '40 days'")
    bare.send(*random.Random(9).sample(everywhere(history.events, 1), 150))
    bare.run()
    assert bare.rows() == bare.canonical(history.rows.values())


MANY = Shape(
    ("region", "number"),
    (
        Column("number", "bigint", "no"),
        Column("region", "varchar(20)", aliases=("area",)),
        Column("small", "smallint"),
        Column("note", "text", "Note"),
        Column("code", "char(4)"),
        Column("day", "date"),
        Column("at", "timestamp"),
        Column("at_utc", "timestamptz"),
        Column("amount", "numeric(12,2)"),
        Column("any_amount", "numeric"),
        Column("rough", "real"),
        Column("exact", "double precision"),
        Column("is_open", "boolean"),
        Column("id", "uuid"),
        Column("told", "json"),
        Column("kept", "jsonb"),
        Column("raw", "bytea"),
        Column("place", "inet"),
        Column("span", "interval"),
    ),
    table="many",
    id_field="seq",
    action_field="op_name",
)


def made(dice: random.Random, number: int) -> Values:
    """A row of many types; any that is not of the key may be NULL."""
    values: Values = {
        "small": str(dice.randrange(-(2**15), 2**15)),
        "note": dice.choice(["", "NULL", "ü\n😀", "\\N", "a\tb", '{"x"}']),
        "code": dice.choice(["", "ab", "äöüß"]),
        "day": dice.choice(["2024-02-29", "infinity"]),
        "at": dice.choice(["2025-03-30 02:30:00.123456", "2025-03-30T02:30:00"]),
        "at_utc": dice.choice(["2025-03-30T02:30:00+05:30", "2025-03-30 02:30:00Z"]),
        "amount": dice.choice(["0.10", "-9999999999.99", "7"]),
        "any_amount": dice.choice(["1e-30", "123456789012345678901234567890.5"]),
        "rough": dice.choice(["1.5", "-0.1"]),
        "exact": dice.choice(["0.1", "1e300", "5e-324"]),
        "is_open": dice.choice(["true", "false"]),
        "id": f"{dice.randrange(16**8):08x}-0000-4000-8000-{number:012d}",
        "told": dice.choice(['{"b": [1, null, "ü"]}', "[]", '"text"', "12"]),
        "kept": dice.choice(['{"b": {"c": 1.5}}', "true"]),
        "raw": "\\x00ff5c27",
        "place": f"10.0.0.{dice.randrange(256)}",
        "span": "1 day 02:03:04",
    }
    key: Values = {"number": str(2**40 + number), "region": dice.choice(["north", 'so"uth', "wést, x"])}
    return key | {name: None if dice.random() < 0.15 else value for name, value in values.items()}


def message(event: Event, dice: random.Random) -> Sent:
    """JSON is JSON, numbers are numbers or text, booleans may be either, the region has one of its names."""

    def edit(document: dict[str, Any]) -> None:
        for name in ("told", "kept"):
            document[name] = json.loads(document[name]) if document[name] is not None else None
        if document["is_open"] is not None and dice.random() < 0.5:
            document["is_open"] = document["is_open"] == "true"
        for name in ("rough", "exact"):
            if document[name] is not None and dice.random() < 0.5:
                document[name] = float(document[name])
        document["area"] = document.pop("region")

    return event.message().edited(edit)


@pytest.mark.parametrize("copy_rows", [0, 10**9], ids=["COPY", "UNNEST"])
def test_a_mapping_leads_any_types_and_several_key_columns_into_another_table(
    kafka, target_postgres, tmp_path, copy_rows
) -> None:
    apply = Apply(kafka, target_postgres, tmp_path, partitions=2, shape=MANY, settings={"copy_rows": copy_rows})
    apply.init()
    dice = random.Random(4)
    rows: dict[tuple[str, ...], Values] = {}
    events: list[Event] = []
    for number in range(1, 301):
        values = made(dice, dice.randrange(30))
        action = "UPDATE" if MANY.key_of(values) in rows else "INSERT"
        if action == "UPDATE" and dice.random() < 0.2:
            action = "DELETE"
            del rows[MANY.key_of(values)]
        else:
            rows[MANY.key_of(values)] = values
        events.append(Event(number, action, values, MANY))
    apply.send(*(message(event, dice) for event in events))
    apply.run(batch_size=64)
    expected = apply.assert_exact()
    assert expected.rows.keys() == rows.keys()
    assert apply.canonical(rows.values()) == apply.rows()
    assert len(rows) > 20
    victims = [*rows][:3]
    apply.send(*(Sent(MANY.message_key(key), None) for key in victims))
    apply.run()
    assert {*apply.rows()} == {*rows} - {*victims}


def test_a_table_may_be_in_a_schema_and_need_quotes(kafka, target_postgres, tmp_path) -> None:
    apply = Apply(kafka, target_postgres, tmp_path)
    apply.shape = replace(EMPLOYEES, table='"Staff$1"."Order"')
    apply.settings["table"] = "Staff$1.Order"
    apply.init()
    apply.query(f'ALTER DATABASE {apply.database} SET search_path = "Staff$1"')
    apply.send(*sent(inserted(1, 1), inserted(2, 2), deleted(3, 2)))
    apply.run()
    apply.assert_exact()


def test_the_ledger_may_have_another_name(bare) -> None:
    bare.init(processed_events="done")
    bare.send(*sent(inserted(1, 1)))
    bare.run(processed_events="done")
    assert [row["action_id"] for row in bare.query("SELECT action_id FROM done")] == [1]
    assert bare.query("SELECT to_regclass('processed_events') AS found") == [{"found": None}]
