"""`init-db walmart-to-mysql`: makes what is missing, and gives an original table its new key without losing a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import orders
from tests.python.support.children import Child, Ended, side_by_side, succeed
from tests.python.support.loads import ORDER, OUTBOX, POSITION, Load
from tests.python.support.making import together_in_mariadb
from tests.python.support.mysql_proxy import MysqlProxy
from tests.python.support.order_columns import TABLES, Row, Rules

from pipeline_core.exceptions import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.services.mariadb import Mariadb

INIT = "init-db walmart-to-mysql"
CHARSET = "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
NUMBERS = {"charge": "chargeNumber", "status": "statusNumber", "refund": "refundNumber"}
# On servers of that day the first TIMESTAMP of a table was changed by every UPDATE of its row.
RESTLESS = "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
KINDS = {"nullable": "TIMESTAMP NULL", "restless": RESTLESS}
# More commands than a migration can have, and every so many of them one to be killed at.
MOST_COMMANDS = 400


@dataclass
class Database:
    """A database that `init-db` works on; no Kafka is asked."""

    mariadb: Mariadb
    folder: Path
    url: str = ""

    def __post_init__(self) -> None:
        self.name = self.mariadb.new_database()

    def given(self, **settings: object) -> dict[str, Any]:
        return {"database": self.name, "mysql_tls": "disabled", "json": True, **settings}

    @property
    def environment(self) -> dict[str, str]:
        return {"MYSQL_URL": self.url or self.mariadb.url}

    def init(self, **settings: object) -> dict[str, Any]:
        """What `init-db` says that it did."""
        return succeed(self.folder, INIT, environment=self.environment, **self.given(**settings)).report

    def start(self, url: str) -> Child:
        return Child(self.folder, INIT, environment={"MYSQL_URL": url}, **self.given())

    def query(self, statement: str, *values: object) -> list[Row]:
        from pymysql.cursors import DictCursor

        connection = self.mariadb.connect(autocommit=True, cursorclass=DictCursor)
        try:
            cursor = connection.cursor()
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {self.name} {CHARSET}")
            cursor.execute(f"USE {self.name}")
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())
        finally:
            connection.close()

    def columns(self, table: str) -> list[tuple[str, str]]:
        """Names and types, as the server tells them."""
        asked = (
            "SELECT column_name AS name, column_type AS type FROM information_schema.columns WHERE table_schema = %s"
        )
        found = self.query(f"{asked} AND table_name = %s ORDER BY ordinal_position", self.name, table)
        return [(row["name"], plain_type(row["type"])) for row in found]

    def key(self, table: str) -> list[str]:
        found = self.query(f"SHOW INDEX FROM {table} WHERE Key_name = 'PRIMARY'")
        return [row["Column_name"] for row in sorted(found, key=lambda row: row["Seq_in_index"])]

    def fill(self, rows: list[Row], stamp: str = KINDS["nullable"]) -> None:
        """Make the original's table, with its key, and put rows into it."""
        columns = ", ".join(
            f"`{column.name}` {original_type(column.type, column.name, stamp)}" for column in TABLES["order"]
        )
        self.query(f"CREATE TABLE {ORDER} ({columns}, PRIMARY KEY (purchaseOrderId, sku))")
        places = ", ".join(["%s"] * len(TABLES["order"]))
        for row in rows:
            self.query(f"REPLACE INTO {ORDER} VALUES ({places})", *row.values())

    def rows(self) -> list[Row]:
        return self.query(f"SELECT * FROM {ORDER} ORDER BY purchaseOrderId, sku")


def plain_type(told: str) -> str:
    """A type as the contract writes it: MariaDB and MySQL tell the width of integers differently."""
    name = told.upper().split("(", maxsplit=1)[0]
    return name if name in {"BIGINT", "INT"} else told.upper()


def original_type(kind: str, name: str, stamp: str) -> str:
    if name == "load_time":
        return "DATETIME DEFAULT CURRENT_TIMESTAMP"
    if name == "orderDate_formatted":
        return stamp
    return "TIMESTAMP NULL" if kind == "TIMESTAMP" else kind


def original_rows(count: int = 20) -> list[Row]:
    """Rows as the original left them: of some orders two lines have one number, of others there is none."""
    found: list[Row] = []
    for number in range(count):
        [first, *_] = Rules().tables(orders.made(number))["order"]
        second = {**first, "sku": f"{first['sku']}-B"}
        third = {**first, "sku": f"{first['sku']}-C"}
        match number % 5:
            case 0:
                found += [first, second, third]
            case 1:
                found += [{**first, "lineNumber": None}, {**second, "lineNumber": None}]
            case 2:
                found += [first, {**second, "lineNumber": None}, {**third, "lineNumber": 2}]
            case 3:
                found += [first, {**second, "lineNumber": 9}]
            case _:
                found += [{**first, "lineNumber": 0}]
    return found


def without_number(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name != "lineNumber"} for row in rows]


def assert_migrated(database: Database, before: list[Row]) -> int:
    """No row is lost or changed but for its line number, and of those few; how many."""
    after = database.rows()
    assert without_number(after) == without_number(before), "Every row is there, every column of it"
    assert database.key(ORDER) == ["purchaseOrderId", "lineNumber"]
    renumbered = [
        (one, other) for one, other in zip(before, after, strict=True) if one["lineNumber"] != other["lineNumber"]
    ]
    for one, _ in renumbered:
        rivals = [row for row in before if row["purchaseOrderId"] == one["purchaseOrderId"] and row is not one]
        assert one["lineNumber"] in {None, *(row["lineNumber"] for row in rivals)}, one
    return len(renumbered)


@pytest.fixture
def database(mariadb, tmp_path) -> Database:
    return Database(mariadb, tmp_path)


def test_init_db_makes_the_tables_of_the_contract(database) -> None:
    report = database.init()
    assert report["database"] == database.name
    assert report["server"].startswith("MariaDB ")
    assert report["migrated"] is None
    assert report["created"]
    assert report["statements"]
    for table, columns in TABLES.items():
        name = ORDER if table == "order" else f"{ORDER}_{table}"
        assert database.columns(name) == [(column.name, plain_type(column.type)) for column in columns], name
        number = [NUMBERS[table]] if table in NUMBERS else []
        assert database.key(name) == ["purchaseOrderId", "lineNumber", *number]
    versions = f"{ORDER}_version"
    assert database.key(versions) == ["purchaseOrderId"]
    names = {name for row in database.query("SHOW TABLES") for name in row.values()}
    assert names == {ORDER, *(f"{ORDER}_{table}" for table in NUMBERS), versions, POSITION, OUTBOX}


def test_init_db_makes_schemas_in_the_original_s_charset_and_an_empty_dws(database) -> None:
    database.init()
    asked = "SELECT default_character_set_name AS charset, default_collation_name AS collation"
    for schema in (database.name, "dws"):
        [found] = database.query(f"{asked} FROM information_schema.schemata WHERE schema_name = %s", schema)
        assert (found["charset"], found["collation"]) == ("utf8mb4", "utf8mb4_unicode_ci")
    assert database.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'dws'") == []


def test_init_db_twice_changes_nothing(database) -> None:
    def definitions() -> list[Row]:
        names = [name for row in database.query("SHOW TABLES") for name in row.values()]
        return [row for name in names for row in database.query(f"SHOW CREATE TABLE {name}")]

    database.init()
    before = definitions()
    for _ in range(2):
        report = database.init()
        assert (report["created"], report["migrated"]) == ([], None)
        assert definitions() == before


def test_a_table_gains_the_column_for_other_fields_on_request(database) -> None:
    database.init()
    database.init(raw=True)
    database.init(raw=True)
    *others, last = database.columns(ORDER)
    assert len(others) == 52
    assert last[0] == "raw"


@pytest.mark.parametrize("kind", KINDS)
def test_an_original_table_gains_its_new_key_and_loses_no_row(database, kind) -> None:
    database.fill(original_rows(), KINDS[kind])
    before = database.rows()
    assert len(before) == len(original_rows())
    assert database.key(ORDER) == ["purchaseOrderId", "sku"]
    report = database.init()
    renumbered = assert_migrated(database, before)
    told = {"from_key": ["purchaseOrderId", "sku"], "rows": len(before), "renumbered": renumbered}
    assert report["migrated"] == told
    assert renumbered >= len(before) / 4
    after = database.rows()
    assert database.init()["migrated"] is None
    assert database.rows() == after


@pytest.mark.parametrize("is_original", [False, True])
def test_several_may_make_the_tables_at_once(database, is_original) -> None:
    if is_original:
        database.fill(original_rows())
    before = database.rows() if is_original else []
    ended = together_in_mariadb(database.mariadb, lambda: database.start(database.mariadb.url))
    created = [name for one in ended for name in one.report["created"]]
    assert len(created) == len({*created}), created
    assert {f"{database.name}.{POSITION}", f"{database.name}.{OUTBOX}"} <= {*created}
    assert sum(one.report["migrated"] is not None for one in ended) == is_original
    if is_original:
        assert assert_migrated(database, before) > 0


def test_an_empty_original_table_is_migrated(database) -> None:
    database.fill([])
    assert database.init()["migrated"]["rows"] == 0
    assert database.key(ORDER) == ["purchaseOrderId", "lineNumber"]


def test_a_table_of_another_shape_is_left_alone(database) -> None:
    database.query(f"CREATE TABLE {ORDER} (id INT PRIMARY KEY, note TEXT)")
    database.query(f"INSERT INTO {ORDER} VALUES (1, 'ours')")
    ended = Child(database.folder, INIT, environment=database.environment, log_format="json", **database.given()).wait()
    assert ended.code == 1
    assert ended.error["kind"] == ConflictError.kind
    assert ended.error["hint"]
    assert database.query(f"SELECT * FROM {ORDER}") == [{"id": 1, "note": "ours"}]


def test_orders_are_loaded_into_a_migrated_table(kafka, mariadb, tmp_path) -> None:
    load = Load(kafka, mariadb, tmp_path)
    database = Database(mariadb, tmp_path)
    database.name = load.database
    given = [orders.made(number) for number in range(50)]
    # As the original would have left them: of two lines with one sku the last.
    database.fill(Rules().all_tables(given)["order"])
    assert len(database.rows()) < len(Rules().all_tables(given)["order"])
    load.init()
    load.send(*given)
    load.run()
    load.assert_exact(given)


@dataclass(frozen=True)
class Interrupted:
    """A migration that was killed at a command: what was there before, how it went, and the database after another."""

    database: Database
    before: list[Row]
    ended: Ended | None


def interrupted(mariadb: Mariadb, folder: Path, number: int) -> Interrupted:
    """Kill a migration when it sends its command of this number; and let another finish."""
    database = Database(mariadb, folder)
    database.fill(original_rows(), RESTLESS)
    before = database.rows()
    with MysqlProxy(mariadb.url) as proxy:
        held = proxy.hold("", number)
        with database.start(proxy.url) as child:
            while child.is_running and not held.reached.wait(0.02):
                pass
            ended = None if held.reached.is_set() else child.wait()
    middle = without_number(database.rows())
    assert middle == without_number(before), "No row is gone even before the migration is finished"
    database.init()
    return Interrupted(database, before, ended)


@pytest.fixture(scope="module")
def commands(mariadb, tmp_path_factory) -> int:
    """How many commands a migration sends."""
    with MysqlProxy(mariadb.url) as proxy:
        database = Database(mariadb, tmp_path_factory.mktemp("counted"))
        database.fill(original_rows(), RESTLESS)
        database.url = proxy.url
        assert database.init()["migrated"]
        assert 5 < len(proxy.commands) < MOST_COMMANDS
        return len(proxy.commands)


MOMENTS = [tenth / 16 for tenth in range(1, 17)]


@pytest.fixture(scope="module")
def killed(mariadb, commands, tmp_path_factory) -> Iterator[dict[float, Future[Interrupted]]]:
    def scenario(share: float) -> Interrupted:
        return interrupted(mariadb, tmp_path_factory.mktemp("killed"), max(1, round(share * commands)))

    yield from side_by_side(scenario, MOMENTS)


@pytest.mark.parametrize("share", MOMENTS)
def test_a_migration_that_is_killed_in_the_middle_loses_no_row(killed, share) -> None:
    found = killed[share].result()
    assert found.ended is None or found.ended.code == 0, found.ended
    assert assert_migrated(found.database, found.before) > 0


@pytest.mark.parametrize(
    ("place", "key"),
    [("after_renumber", ["purchaseOrderId", "sku"]), ("after_alter", ["purchaseOrderId", "lineNumber"])],
)
def test_a_migration_that_is_killed_between_its_steps_loses_no_row(database, place, key) -> None:
    database.fill(original_rows(), RESTLESS)
    before = database.rows()
    fault = f"{place}:1:kill"
    with Child(database.folder, INIT, fault=fault, environment=database.environment, **database.given()) as child:
        child.wait_until_killed()
    middle = database.rows()
    assert without_number(middle) == without_number(before), "No row is gone even before the migration is finished"
    assert database.key(ORDER) == key
    report = database.init()
    assert assert_migrated(database, before) > 0
    assert database.rows() == middle, "The numbers that were given are not given again"
    assert (report["migrated"] is None) == (place == "after_alter")
    again = database.init()
    assert (again["created"], again["migrated"]) == ([], None)
