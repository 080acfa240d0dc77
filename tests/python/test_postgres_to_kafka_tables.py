"""The tables and triggers of `postgres_to_kafka`: made on request, the original's kept; tables of any other kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.python.support.captures import COMMAND, Capture
from tests.python.support.children import Child
from tests.python.support.making import together_in_postgres
from tests.python.support.replicas import Replica
from tests.python.support.shapes import Column, Shape
from tests.python.support.sources import ORIGINAL, PEOPLE, number_of

INIT = f"init-db {COMMAND}"
OURS = {"employee_key_trigger", "employee_truncate_trigger"}
TRIGGERS = {f"employee_{action}_trigger" for action in ("insert", "update", "delete")}
SCRIPT = """
CREATE TABLE employees (emp_id INT PRIMARY KEY, first_name VARCHAR(100) NOT NULL, last_name VARCHAR(100) NOT NULL,
    dob DATE, city VARCHAR(100), salary INT);
"""


@pytest.fixture
def capture(kafka, source_postgres, tmp_path) -> Capture:
    """A database without tables."""
    return Capture(kafka, source_postgres, tmp_path)


def triggers(capture: Capture) -> set[str]:
    return {name for (name,) in capture.query("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")}


def catalog(capture: Capture) -> set[tuple[Any, ...]]:
    """Every relation, column, trigger and function of the database, with what tells it from one made again."""
    return {
        *capture.query(
            "SELECT oid, relname, relkind::text FROM pg_class WHERE relnamespace IN"
            " (SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema')"
        ),
        *capture.query(
            "SELECT attrelid, attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute JOIN pg_class"
            " ON pg_class.oid = attrelid WHERE attnum > 0 AND relnamespace = 'public'::regnamespace"
        ),
        *capture.query("SELECT oid, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"),
        *capture.query("SELECT oid, proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"),
    }


def columns(capture: Capture, table: str) -> dict[str, str]:
    asked = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 AND attrelid = "
    return dict(capture.query(f"{asked} '{table}'::regclass ORDER BY attnum"))


def test_init_db_makes_the_original_s_tables_and_two_triggers_more(capture) -> None:
    report = capture.init()
    assert report.server.startswith("PostgreSQL ")
    assert report.database == capture.database
    assert report.migrated is None
    assert {"employees", "emp_cdc"} <= {*report.created}
    person = {"first_name": "character varying(100)", "last_name": "character varying(100)", "dob": "date"}
    person |= {"city": "character varying(100)", "salary": "integer"}
    assert columns(capture, "employees") == {"emp_id": "integer", **person}
    change = {"action": "character varying(10)", "timestamp": "timestamp without time zone"}
    assert columns(capture, "emp_cdc") == {"action_id": "integer", "emp_id": "integer", **person, **change}
    assert triggers(capture) == TRIGGERS | OURS
    functions = {name for (name,) in capture.query("SELECT proname FROM pg_proc WHERE proname LIKE 'log_employee%'")}
    assert functions >= {"log_employee_insert", "log_employee_update", "log_employee_delete"}
    # The keys of both tables are given out by themselves.
    capture.query(PEOPLE, "UPDATE employees SET salary = 1", "DELETE FROM employees WHERE emp_id = 1")
    kept = capture.query("SELECT action, emp_id, salary FROM emp_cdc ORDER BY action_id")
    assert kept[:3] == [("INSERT", 1, 70000), ("INSERT", 2, None), ("INSERT", 3, 81000)]
    assert kept[3:] == [*[("UPDATE", key, 1) for key in (1, 2, 3)], ("DELETE", 1, 1)]


def test_init_db_may_be_run_again_and_does_nothing(capture) -> None:
    first = capture.init()
    assert first.created
    assert first.statements
    capture.query(PEOPLE)
    before = catalog(capture)
    again = capture.init()
    assert (again.created, again.statements) == ([], [])
    assert catalog(capture) == before
    assert len(capture.committed()) == 3


def test_init_db_makes_the_schemas_that_are_missing(capture) -> None:
    capture.settings |= {"snapshot_table": "staff.employees", "table": "audit.emp_cdc"}
    assert {"staff", "staff.employees", "audit", "audit.emp_cdc"} <= {*capture.init().created}
    assert capture.init().created == []


def test_init_db_drops_and_changes_nothing_of_what_the_original_made(capture) -> None:
    capture.query(ORIGINAL, PEOPLE)
    before, rows, changes = catalog(capture), capture.rows(), capture.committed()
    assert triggers(capture) == TRIGGERS
    report = capture.init()
    assert not any("DROP" in statement.upper() for statement in report.statements)
    assert before <= catalog(capture)
    assert triggers(capture) == TRIGGERS | OURS
    assert (capture.rows(), capture.committed()) == (rows, changes)
    capture.query("UPDATE employees SET emp_id = 77 WHERE emp_id = 1", "TRUNCATE employees")
    assert [change.action for change in capture.committed()[3:]] == ["DELETE", "UPDATE", "TRUNCATE"]
    capture.run()
    capture.assert_exact()


def test_a_function_of_the_user_s_is_kept(capture) -> None:
    ours = "CREATE OR REPLACE FUNCTION log_employee_insert() RETURNS TRIGGER AS $$ BEGIN"
    capture.query(
        ORIGINAL,
        f"{ours} INSERT INTO emp_cdc (emp_id, action) VALUES (-1, 'INSERT'); RETURN NEW; END; $$ LANGUAGE plpgsql",
    )
    before = catalog(capture)
    capture.init()
    assert before <= catalog(capture)
    capture.query(PEOPLE)
    assert {change.key for change in capture.committed()} == {b"-1"}


def test_the_original_s_tables_are_captured_without_init_db(capture) -> None:
    capture.query(ORIGINAL, PEOPLE, "UPDATE employees SET salary = 5", "DELETE FROM employees WHERE emp_id = 2")
    assert capture.run().rows_read == 7
    capture.assert_exact()


def test_a_source_whose_triggers_the_original_s_script_has_dropped_is_mended(capture) -> None:
    """Run whole on the source, it drops `employees` with its triggers, and makes it again without."""
    capture.query(ORIGINAL, PEOPLE, "DROP TABLE employees CASCADE", SCRIPT)
    assert triggers(capture) == set()
    report = capture.init()
    assert report.created
    assert triggers(capture) == TRIGGERS | OURS
    capture.query("INSERT INTO employees VALUES (9, 'Di', 'Ox')", "UPDATE employees SET emp_id = 10")
    capture.run()
    capture.assert_exact()
    assert [change.action for change in capture.committed()[3:]] == ["INSERT", "DELETE", "UPDATE"]


def test_several_may_make_the_tables_at_once(capture) -> None:
    given = {"environment": {"SOURCE_URL": capture.url}, "json": True, "log_format": "json"}
    ended = together_in_postgres(capture.source, capture.database, lambda: Child(capture.folder, INIT, **given))
    created = [name for one in ended for name in one.report["created"]]
    assert len(created) == len({*created}), created
    assert {"employees", "emp_cdc"} <= {*created}
    assert triggers(capture) == TRIGGERS | OURS


@pytest.mark.parametrize("shift", [1, -1])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_keys_that_are_shifted_in_one_statement_leave_the_right_rows(capture, shift, order) -> None:
    """With a key that is checked at the statement's end, a row may take the key of one that has not moved yet."""
    capture.init()
    capture.query(
        "ALTER TABLE employees DROP CONSTRAINT employees_pkey, ADD PRIMARY KEY (emp_id) DEFERRABLE",
        f"INSERT INTO employees SELECT n, 'A' || n, 'B' FROM generate_series(1, 9) AS n ORDER BY n {order}",
        f"UPDATE employees SET emp_id = emp_id + {shift}",
    )
    capture.run()
    capture.assert_exact()
    rows = Replica().apply(capture.messages()).rows
    assert {key: tuple(row.values()) for (key,), row in rows.items()} == capture.rows()
    assert len(rows) == 9


STOCK = Shape(
    ("Warehouse", "item"),
    (
        Column("Warehouse", "text", "warehouse_name", required=True),
        Column("item", "bigint", required=True),
        Column("order", "smallint", "Order"),
        Column("End$", "char(3)"),
        Column("price", "numeric(12,2)"),
        Column("any_number", "numeric"),
        Column("narrow", "real"),
        Column("wide", "double precision"),
        Column("is_left", "boolean"),
        Column("made", "timestamp"),
        Column("seen", "timestamptz"),
        Column("day", "date"),
        Column("tag", "uuid"),
        Column("note", "json"),
        Column("Extra", "jsonb"),
        Column("raw", "bytea"),
        Column("span", "interval"),
        Column("parts", "integer[]"),
    ),
    table="shop.stock",
    id_column="Change",
    id_field="seq",
    action_column="what",
    action_field="op",
)
# As SQL has it, and as JSON does.
VALUES = {
    "Warehouse": ("'Nord \"1\"'", 'Nord "1"'),
    "item": ("9007199254740993", 9007199254740993),
    "order": ("-32768", -32768),
    "End$": ("'abc'", "abc"),
    "price": ("-1234567890.5", "-1234567890.50"),
    "any_number": ("12345678901234567890.000000000010", "12345678901234567890.000000000010"),
    "narrow": ("0.1", 0.1),
    "wide": ("1e-300", 1e-300),
    "is_left": ("true", True),
    "made": ("'2024-02-29 23:59:59.123456'", "2024-02-29 23:59:59.123456"),
    "seen": ("'2024-03-31 02:30:00+05:30'", "2024-03-30 21:00:00+00"),
    "day": ("'0044-03-15 BC'", "0044-03-15 BC"),
    "tag": ("'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    "note": ("""'{"b": [1.50, null], "a": "ü"}'""", {"b": [1.5, None], "a": "ü"}),
    "Extra": ("""'[{"deep": {"x": true}}, "s"]'""", [{"deep": {"x": True}}, "s"]),
    "raw": (r"'\x00ff5c27'", r"\x00ff5c27"),
    "span": ("'1 year 2 days'", "1 year 2 days"),
    "parts": ("'{1,NULL,3}'", "{1,NULL,3}"),
}


@pytest.fixture
def stock(kafka, source_postgres, tmp_path) -> Capture:
    """Another table with its changes, in a database whose texts have other forms by default."""
    found = Capture(kafka, source_postgres, tmp_path, shape=STOCK, changes="shop.stock_cdc")
    found.query(
        "CREATE SCHEMA shop",
        f"ALTER DATABASE {found.database} SET timezone = 'Asia/Kolkata'",
        f"ALTER DATABASE {found.database} SET datestyle = 'German'",
        f"ALTER DATABASE {found.database} SET intervalstyle = 'iso_8601'",
        f"ALTER DATABASE {found.database} SET bytea_output = 'escape'",
        f"ALTER DATABASE {found.database} SET extra_float_digits = -5",
    )
    found.init()
    return found


def insert_into_stock(capture: Capture, **changed: str) -> None:
    given = {name: sql for name, (sql, _) in VALUES.items()} | changed
    names = ", ".join(f'"{name}"' for name in given)
    capture.query(f"INSERT INTO shop.stock ({names}) VALUES ({', '.join(given.values())})")


def document(number: int, action: str, **changed: Any) -> dict[str, Any]:
    """What the message of a change of `VALUES` says."""
    values = {column.names[0]: changed.get(column.name, VALUES[column.name][1]) for column in STOCK.columns}
    return {"seq": number, **values, "op": action}


def test_every_type_of_another_table_is_sent_as_its_rule_says(stock) -> None:
    insert_into_stock(stock)
    stock.run()
    [message] = stock.messages()
    assert message.key == b'["Nord \\"1\\"","9007199254740993"]'
    told = json.loads(message.value or b"")
    assert told == document(1, "INSERT")
    assert [*told] == [*document(1, "INSERT")], "The fields are in the mapping's order"
    assert {name: type(value) for name, value in told.items()} == {
        name: type(value) for name, value in document(1, "INSERT").items()
    }


def test_a_column_that_may_be_null_is_null_whatever_its_type(stock) -> None:
    nullable = {name: None for name in VALUES if name not in STOCK.key}
    insert_into_stock(stock, **dict.fromkeys(nullable, "NULL"))
    stock.run()
    [message] = stock.messages()
    assert json.loads(message.value or b"") == document(1, "INSERT", **nullable)


def test_all_changes_of_another_table_are_sent(stock) -> None:
    insert_into_stock(stock)
    insert_into_stock(stock, item="2")
    stock.query(
        'UPDATE shop.stock SET "order" = 7 WHERE item = 2',
        "UPDATE shop.stock SET \"Warehouse\" = 'Ost', is_left = false WHERE item = 2",
        "DELETE FROM shop.stock WHERE item = 2",
        "TRUNCATE shop.stock",
    )
    report = stock.run()
    assert report.details["actions"] == {"INSERT": 2, "UPDATE": 2, "DELETE": 2, "TRUNCATE": 1}
    sent = sorted(stock.messages(), key=lambda message: number_of(message, "seq"))
    assert [message.key for message in sent[1:]] == [
        *[b'["Nord \\"1\\"","2"]'] * 3,
        *[b'["Ost","2"]'] * 2,
        None,
    ]
    moved = {"Warehouse": "Ost", "item": 2, "order": 7, "is_left": False}
    assert [json.loads(message.value or b"") for message in sent] == [
        document(1, "INSERT"),
        document(2, "INSERT", item=2),
        document(3, "UPDATE", item=2, order=7),
        document(4, "DELETE", item=2, order=7),
        document(5, "UPDATE", **moved),
        document(6, "DELETE", **moved),
        document(7, "TRUNCATE", **dict.fromkeys(VALUES)),
    ]


def test_a_snapshot_of_another_table_goes_by_all_columns_of_its_key(stock) -> None:
    stock.query("ALTER TABLE shop.stock DISABLE TRIGGER USER")
    keys = [(warehouse, item) for warehouse in ("b", "a", "é", "a b", "B", "") for item in (3, -1, 2**40, 7, 10)]
    for warehouse, item in keys:
        insert_into_stock(stock, Warehouse=f"'{warehouse}'", item=str(item))
    report = stock.run(snapshot=True, snapshot_rows=4)
    assert report.details["snapshot_rows"] == len(keys)
    sent = [json.loads(message.value or b"") for message in stock.messages()]
    assert sorted((one["warehouse_name"], one["item"]) for one in sent) == sorted(keys)
    assert {(one["op"], one["note"]["a"]) for one in sent} == {("INSERT", "ü")}
