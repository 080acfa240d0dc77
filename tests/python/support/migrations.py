"""One migration of `mysql_to_mysql`: two databases, made-up items in the first, and what the second must hold."""

from __future__ import annotations

import ast
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.python.support.children import Child, Ended, succeed

from pipeline_core import mysql_to_mysql

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.services.mariadb import Mariadb

    from pipeline_core.report import Report

Row = dict[str, Any]
Tables = dict[str, list[Row]]

LINK = "www.nsfc.gov.cn"
TYPES = {"通知": 3, "项目": 5, 'it\'s "news"': 8, "a,b": 13}
DEPARTMENTS = ("化学科学部", "数理科学部", "O'Brien \\ 1", "生命", None, 7, 1.5, "😀")

ALL_HAVE = (
    "list_id BIGINT AUTO_INCREMENT PRIMARY KEY, is_del TINYINT NOT NULL DEFAULT 0,"
    " update_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,"
    " create_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP"
)
SOURCE_TABLES = {
    "resource_source": "source_id VARCHAR(64), source_name JSON, source_main_link VARCHAR(500),"
    " source_description_image JSON, source_intro TEXT, KEY (source_id)",
    "information_list": "information_id VARCHAR(64), source_id VARCHAR(64), information_name JSON,"
    " information_description JSON, original_language VARCHAR(16), cover JSON, original_link VARCHAR(2000),"
    " publish_date DATE, metadata JSON, review_user VARCHAR(64), collection_method INT, manual_review_status INT,"
    " machine_review_status INT, KEY (information_id), KEY (source_id)",
    "information_tags_relationship": "information_id VARCHAR(64), tag_code VARCHAR(64), tag_value TEXT,"
    " KEY (information_id)",
    "information_section_list": "section_id VARCHAR(64), information_id VARCHAR(64), section_order INT,"
    " section_attr VARCHAR(16) DEFAULT '0', title_level INT DEFAULT 0, marc_code VARCHAR(64), src_text JSON,"
    " dst_text JSON, media_info MEDIUMTEXT, md5_encode VARCHAR(64), KEY (information_id), KEY (section_id)",
}
KEYS = {
    "nfsc_resource_source": "source_id",
    "nfsc_info_list": "info_id",
    "nfsc_information_section_list": "section_id",
}
STEPS = ("after_begin", "after_rows", "before_commit_sql", "after_commit_sql")
# What each run of a clock writes anew.
TIMES = {"update_time", "create_time"}


@dataclass
class Migration:
    """What the tests of `mysql_to_mysql` need of the world.

    Attributes:
        mariadb: The server of both databases, as the tests see it.
        folder: Where commands run.
        url: Where runs reach the target's server.
        settings: What runs are told; changed by keyword arguments of `run`, `child` and `work`.
    """

    mariadb: Mariadb
    folder: Path
    url: str | None = None
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.source = self.mariadb.new_database()
        self.target = f"{self.source}_target"
        self.settings = {"source_database": self.source, "target_database": self.target, **self.settings}

    @property
    def urls(self) -> dict[str, str]:
        """Where both servers are."""
        return {"source_url": self.mariadb.url, "target_url": self.url or self.mariadb.url}

    def make_source(self) -> None:
        """Make the source's tables, as the original has them."""
        with self.session(None) as cursor:
            cursor.execute(f"CREATE DATABASE {self.source} CHARACTER SET utf8mb4")
            for name, columns in SOURCE_TABLES.items():
                cursor.execute(f"CREATE TABLE {self.source}.{name} ({ALL_HAVE}, {columns}) CHARSET=utf8mb4")

    def init(self) -> None:
        """Make both databases; the target knows the types."""
        self.make_source()
        mysql_to_mysql.init_db(target_url=self.mariadb.url, target_database=self.target)
        for name, number in TYPES.items():
            self.put("nfsc_info_type", {"info_type_id": number, "info_type_name": name}, database=self.target)

    def put(self, table: str, *rows: Mapping[str, Any], database: str | None = None) -> None:
        """Insert rows into a table of the source, or of another database."""
        with self.session(database or self.source) as cursor:
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                values = [json.dumps(value) if isinstance(value, dict) else value for value in row.values()]
                cursor.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", values)
            cursor.connection.commit()

    def fill(self, made: Tables) -> None:
        """Put made-up rows into the source, many at once."""
        with self.session(self.source) as cursor:
            for table, rows in made.items():
                names = list(rows[0]) if rows else []
                values = [
                    [json.dumps(row[name]) if isinstance(row[name], dict) else row[name] for name in names]
                    for row in rows
                ]
                marks = ", ".join(["%s"] * len(names))
                cursor.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)
            cursor.connection.commit()

    def run(self, **changed: Any) -> Report:
        """Migrate in this process."""
        return mysql_to_mysql.run(**{**self.urls, **self.settings, **changed})

    def child(self, *, fault: str = "", **changed: Any) -> Child:
        """Start a migration; the URLs, which have passwords, are in its environment."""
        given = {**self.settings, **changed, "log_format": "json", "json": True}
        return Child(self.folder, "mysql-to-mysql", fault=fault, environment=self.environment, **given)

    def work(self, **changed: Any) -> Ended:
        """Run a migration to its end, which must be a good one."""
        given = {**self.settings, **changed, "log_format": "json", "json": True}
        return succeed(self.folder, "mysql-to-mysql", environment=self.environment, **given)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a command to the servers."""
        return {"SOURCE_MYSQL_URL": self.urls["source_url"], "TARGET_MYSQL_URL": self.urls["target_url"]}

    @contextmanager
    def session(self, database: str | None, *, autocommit: bool = True) -> Iterator[Any]:
        """A cursor of a session of our own, which gives rows as dicts."""
        from pymysql.cursors import DictCursor

        connection = self.mariadb.connect(database, autocommit=autocommit, cursorclass=DictCursor)
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def query(self, statement: str, *values: object, database: str | None = None) -> list[Row]:
        """What a statement gives, in the target or in another database."""
        with self.session(database or self.target) as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def change(self, statement: str, *values: object) -> None:
        """Change the source."""
        self.query(statement, *values, database=self.source)

    def dump(self) -> Tables:
        """All of the three tables, with counters and times."""
        return {table: self.query(f"SELECT * FROM {table} ORDER BY {key}") for table, key in KEYS.items()}

    def rows(self, table: str) -> dict[str, Row]:
        """A table by its key, as far as it does not differ from run to run."""
        left_out = {"list_id"} if table != "nfsc_info_list" else {"list_id", *TIMES}
        rows = self.query(f"SELECT * FROM {table}")
        found = {row[KEYS[table]]: {name: row[name] for name in row.keys() - left_out} for row in rows}
        assert len(found) == len(rows), f"{table}: a key is there twice"
        return found

    def contents(self) -> dict[str, dict[str, Row]]:
        """The three tables by their keys."""
        return {table: self.rows(table) for table in KEYS}

    def assert_is_as_the_reference(self) -> None:
        """The target holds what the original's steps make of the source, where it has no flaws."""
        expected = reference(
            {name: self.query(f"SELECT * FROM {name}", database=self.source) for name in SOURCE_TABLES}
        )
        assert expected["nfsc_info_list"], "Nothing was expected: the test sees nothing"
        found = self.contents()
        for table, key in KEYS.items():
            by_key = {row[key]: row for row in expected[table]}
            assert found[table].keys() == by_key.keys(), table
            for name, row in by_key.items():
                ours = found[table][name]
                assert {column: ours[column] for column in row} == row, (table, name)


def reference(source: Tables) -> Tables:
    """The original's steps as CONTRACTS tells them, in plain Python, with `literal_eval` in the place of `eval`."""
    names = {row["source_id"] for row in source["resource_source"] if row["source_main_link"] == LINK}
    items = [row for row in source["information_list"] if row["source_id"] in names]
    rows: dict[str, Row] = {}
    for item in items:
        rows[item["information_id"]] = {
            "info_id": item["information_id"],
            "project_type_id": 1,
            "source_id": item["source_id"],
            "info_name": json.loads(item["information_name"])["zh"],
            "original_link": item["original_link"],
            "publish_time": item["publish_date"],
        }
    for tag in source["information_tags_relationship"]:
        if tag["information_id"] in rows:
            values = ast.literal_eval(tag["tag_value"])
            academic_field = None if values[1] is None else str(values[1])
            more = {"info_academic_field": academic_field, "info_type_id": TYPES[values[0]]}
            rows[tag["information_id"]].update(more)

    def whole(row: Row) -> Row:
        return {name: value for name, value in row.items() if name != "list_id"}

    return {
        "nfsc_resource_source": [
            whole(row) for row in source["resource_source"] if row["source_id"] in {item["source_id"] for item in items}
        ],
        "nfsc_info_list": list(rows.values()),
        "nfsc_information_section_list": [
            whole(row) for row in source["information_section_list"] if row["information_id"] in rows
        ],
    }


def made(dice: random.Random, items: int, sources: int = 3) -> Tables:
    """Good items of made-up sources, some of them of another site, with tags and sections."""
    links = [*[LINK] * sources, "www.example.org"]
    made_sources = [
        {
            "source_id": f"s{number}",
            "source_name": {"zh": f"源 {number}"},
            "source_main_link": link,
            "source_intro": dice.choice([None, "", "介绍"]),
            "create_time": "2024-05-01 10:00:00",
            "update_time": "2024-05-02 10:00:00",
        }
        for number, link in enumerate(links)
    ]
    listed, tags, sections = [], [], []
    for number in range(items):
        key = f"i{dice.getrandbits(40):012x}-{number}"
        listed.append(
            {
                "information_id": key,
                "source_id": f"s{dice.randrange(len(links))}",
                "information_name": {"zh": f"题目 {number} '\"\\", "en": f"title {number}"},
                "original_link": f"https://{LINK}/{number}",
                "publish_date": dice.choice([None, "2024-02-29", "2025-12-31"]),
            }
        )
        for code in range(dice.choice([1, 1, 1, 3])):
            values = [dice.choice(list(TYPES)), dice.choice(DEPARTMENTS), "more"]
            written = repr(dice.choice([list, tuple])(values))
            tags.append({"information_id": key, "tag_code": str(code), "tag_value": written})
        sections += [made_section(dice, key, order) for order in range(dice.randrange(5))]
    return {
        "resource_source": made_sources,
        "information_list": listed,
        "information_tags_relationship": tags,
        "information_section_list": sections,
    }


def made_section(dice: random.Random, key: str, order: int) -> Row:
    """A section with all columns."""
    return {
        "section_id": f"{key}/{order}",
        "information_id": key,
        "section_order": order,
        "section_attr": dice.choice(["0", "1"]),
        "title_level": dice.choice([0, 1, None]),
        "marc_code": dice.choice(["zh", "en"]),
        "src_text": {"text": "段落 😀" * dice.randrange(20)},
        "dst_text": dice.choice([None, {"a": 1.50}]),
        "media_info": dice.choice([None, "", "x" * 200]),
        "md5_encode": f"{dice.getrandbits(128):032x}",
        "create_time": "2024-05-01 10:00:00",
        "update_time": "2024-05-02 10:00:00",
    }


def one(key: str = "i1", **changed: Any) -> Row:
    """An item of the first source."""
    row = {"information_id": key, "source_id": "s0", "information_name": {"zh": f"名 {key}"}, "publish_date": None}
    return {**row, **changed}


def tag(key: str, value: object = "['通知', '化学科学部']", **changed: Any) -> Row:
    """Its tag."""
    return {"information_id": key, "tag_code": "1", "tag_value": value, **changed}


def section(key: str, number: int = 0, **changed: Any) -> Row:
    """One of its sections."""
    row = {"section_id": f"{key}/{number}", "information_id": key, "section_order": number, "src_text": {"n": number}}
    return {**row, **changed}


def source(key: str = "s0", **changed: Any) -> Row:
    """A source."""
    return {"source_id": key, "source_name": {"zh": "源"}, "source_main_link": LINK, **changed}


def refused(report: Report | Mapping[str, Any]) -> Iterable[tuple[str, str | None, str]]:
    """The rows that a report names."""
    details = report.details if not isinstance(report, dict) else report["details"]
    return [(row["table"], row["key"], row["reason"]) for row in details["rejected"]]
