"""Items of one database of a real MariaDB into another: as the original's steps make them, only what has changed."""

from __future__ import annotations

import ast
import asyncio
import json
import threading
import warnings
from pathlib import Path

import pytest
from tests.python.support.children import seeded
from tests.python.support.migrations import LINK, TYPES, Migration, made, one, refused, section, source, tag

from pipeline_core import Stop, mysql_to_mysql
from pipeline_core.exceptions import NotFoundError, RejectedError, SettingsError
from pipeline_core.migration import Task

ITEMS, SECTIONS, SOURCES = "nfsc_info_list", "nfsc_information_section_list", "nfsc_resource_source"


@pytest.fixture
def migration(mariadb, tmp_path) -> Migration:
    """A source with its one source and no item, and an empty target."""
    found = Migration(mariadb, tmp_path)
    found.init()
    found.put("resource_source", source())
    return found


@pytest.fixture(scope="module")
def migrated(mariadb, tmp_path_factory) -> Migration:
    """Some hundred made-up items that have been migrated."""
    found = Migration(mariadb, tmp_path_factory.mktemp("migrated"), settings={"chunk_rows": 40})
    found.init()
    found.fill(made(seeded("good items"), 300))
    report = found.run()
    counts = report.details["tables"][ITEMS]
    assert (report.pipeline, report.status, report.rows_rejected) == ("mysql_to_mysql", "complete", 0)
    assert report.rows_read == report.rows_written == counts["written"] == len(found.rows(ITEMS)) > 150
    assert report.details["transactions"] == -(-report.rows_read // 40)
    assert report.details["source_server"] == report.details["target_server"]
    return found


def test_mysql_to_mysql_makes_of_good_items_what_the_original_makes_of_them(migrated) -> None:
    migrated.assert_is_as_the_reference()


@pytest.mark.parametrize("chunk_rows", [1, 40, 100_000])
def test_a_second_run_changes_nothing_not_even_a_counter_or_a_time(migrated, chunk_rows) -> None:
    before = migrated.dump()
    report = migrated.run(chunk_rows=chunk_rows)
    assert migrated.dump() == before
    assert report.rows_written == 0
    assert report.details["tables"][ITEMS]["unchanged"] == report.rows_read > 0
    assert not any(table["written"] + table["removed"] for table in report.details["tables"].values())


def test_a_dry_run_says_what_a_run_then_does_and_changes_nothing(mariadb, tmp_path) -> None:
    migration = Migration(mariadb, tmp_path, settings={"chunk_rows": 20})
    migration.init()
    migration.fill(made(seeded("a dry run"), 80))
    migration.put("information_list", one("nameless", information_name={"en": "x"}))
    dry = migration.run(dry_run=True)
    assert not any(migration.dump().values())
    wet = migration.run()
    assert dry.details["tables"] == wet.details["tables"]
    assert dry.details["rejected"] == wet.details["rejected"]
    assert (dry.details["dry_run"], wet.details["dry_run"]) == (True, False)
    assert dry.rows_written == wet.rows_written > 0


def test_what_has_changed_in_the_source_is_written_again(migration) -> None:
    migration.put("information_list", one("i1"), one("i2"))
    migration.put("information_tags_relationship", tag("i1"), tag("i2"))
    migration.put("information_section_list", *(section("i1", number) for number in range(4)), section("i2"))
    migration.run()
    before = {name: {row["list_id"] for row in rows} for name, rows in migration.dump().items()}
    migration.change("UPDATE information_list SET information_name = %s WHERE information_id = 'i1'", '{"zh": "新"}')
    migration.change("UPDATE information_section_list SET src_text = '[1]' WHERE section_id = 'i1/1'")
    migration.change("DELETE FROM information_section_list WHERE section_id = 'i1/2'")
    migration.change("UPDATE information_section_list SET is_del = 1 WHERE section_id = 'i1/3'")
    migration.change("UPDATE information_section_list SET information_id = 'i2' WHERE section_id = 'i1/0'")
    migration.put("information_section_list", section("i2", 9))
    report = migration.run()
    tables = report.details["tables"]
    assert migration.rows(ITEMS)["i1"]["info_name"] == "新"
    sections = migration.rows(SECTIONS)
    assert sorted((row["information_id"], key) for key, row in sections.items()) == [
        ("i1", "i1/1"),
        ("i2", "i1/0"),
        ("i2", "i2/0"),
        ("i2", "i2/9"),
    ]
    assert sections["i1/1"]["src_text"] == "[1]"
    assert (tables[ITEMS]["written"], tables[ITEMS]["unchanged"]) == (1, 1)
    assert before[ITEMS] == {row["list_id"] for row in migration.dump()[ITEMS]}, "a changed row is the same row"
    again = migration.run()
    assert not any(table["written"] + table["removed"] for table in again.details["tables"].values())


def test_without_update_items_that_are_there_stay_as_they_are(migration) -> None:
    migration.put("information_list", one("i1"))
    migration.put("information_tags_relationship", tag("i1"), tag("i2"))
    migration.put("information_section_list", section("i1"))
    migration.run()
    before = migration.dump()
    migration.change("UPDATE information_list SET information_name = %s", '{"zh": "新"}')
    migration.change("DELETE FROM information_section_list")
    report = migration.run(update=False)
    assert migration.dump() == before
    assert report.rows_written == 0
    migration.put("information_list", one("i2"))
    assert migration.run(update=False).rows_written == 1
    assert {key: row["info_name"] for key, row in migration.rows(ITEMS).items()} == {"i1": "名 i1", "i2": "名 i2"}


def test_deleted_rows_are_left_out_and_counted(migration) -> None:
    migration.put("resource_source", source("gone", is_del=1))
    migration.put("information_list", one("i1"), one("i2", is_del=1), one("i3", source_id="gone"))
    migration.put("information_tags_relationship", tag("i1"), tag("i1", "['x', 'y']", is_del=1), tag("i2"), tag("i3"))
    migration.put("information_section_list", section("i1"), section("i1", 1, is_del=2), section("i2"))
    report = migration.run()
    tables = report.details["tables"]
    assert [*migration.rows(ITEMS)] == ["i1"]
    assert [*migration.rows(SOURCES)] == ["s0"]
    assert [*migration.rows(SECTIONS)] == ["i1/0"]
    assert (tables[ITEMS]["skipped"], tables[SECTIONS]["skipped"], report.rows_rejected) == (2, 1, 0)
    migration.change("UPDATE information_list SET is_del = 1")
    migration.run()
    assert [*migration.rows(ITEMS)] == ["i1"], "a migration takes no item away"


def test_missing_dates_are_null_and_never_text(migration) -> None:
    migration.put("information_list", one("i1", publish_date=None), one("i2", publish_date="2024-02-29"))
    migration.put("information_tags_relationship", tag("i1"), tag("i2"))
    migration.run()
    found = migration.query(f"SELECT info_id, publish_time, CAST(publish_time AS CHAR) AS text FROM {ITEMS} ORDER BY 1")
    assert [row["text"] for row in found] == [None, "2024-02-29"]


BAD = {
    "no name": (one("bad", information_name={"en": "x"}), [tag("bad")], "info_name is missing"),
    "a name that is null": (one("bad", information_name={"zh": None}), [tag("bad")], "info_name is missing"),
    "a name that is too long": (one("bad", information_name={"zh": "长" * 1001}), [tag("bad")], "is 1001 long and may"),
    "a link that is too long": (one("bad", original_link="l" * 1500), [tag("bad")], "original_link is 1500 long"),
    "no tag": (one("bad"), [], "info_type_id is missing"),
    "a type that is none": (
        one("bad"),
        [tag("bad", "['没有', 'x']")],
        "'没有' is not in nfsc_info_type".replace("'", '"'),
    ),
    "a type that is null": (one("bad"), [tag("bad", "[None, 'x']")], "info_type_id is missing"),
    "an empty list": (one("bad"), [tag("bad", "[]")], "info_type_id is missing"),
    "a tag that is null": (one("bad"), [tag("bad", None)], "info_type_id is missing"),
    "a tag that is no list": (one("bad"), [tag("bad", "'通知'")], "what is no list"),
    "a tag that is code": (one("bad"), [tag("bad", "__import__('os').getcwd()")], "is no list of plain values"),
    "a tag that is broken": (one("bad"), [tag("bad", "['通知', ")], "is no list of plain values"),
    "a field that is a list": (one("bad"), [tag("bad", "['通知', ['x']]")], "is a list itself"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_row_that_the_target_does_not_take_is_left_out_and_named(migration, case) -> None:
    item, tags, reason = BAD[case]
    migration.put("information_list", one("a"), item, one("z"))
    migration.put("information_tags_relationship", tag("a"), *tags, tag("z"))
    migration.put("information_section_list", section("a"), section("bad"), section("z"))
    report = migration.run()
    assert sorted(migration.rows(ITEMS)) == ["a", "z"]
    assert sorted(migration.rows(SECTIONS)) == ["a/0", "z/0"]
    [(table, key, said)] = refused(report)
    assert (table, key) == (ITEMS, "bad")
    assert reason in said
    assert (report.rows_rejected, report.status) == (1, "complete")
    assert report.details["tables"][SECTIONS]["skipped"] == 1


@pytest.mark.parametrize("case", ["no name", "a type that is none"])
def test_a_row_that_the_target_does_not_take_ends_the_run_on_request(migration, case) -> None:
    item, tags, reason = BAD[case]
    migration.put("information_list", one("a"), item, one("z"))
    migration.put("information_tags_relationship", tag("a"), *tags, tag("z"))
    with pytest.raises(RejectedError, match="nfsc_info_list bad: ") as raised:
        migration.run(on_rejected="stop", chunk_rows=1)
    assert reason in str(raised.value)
    assert "on_rejected=leave-out" in (raised.value.hint or "")
    assert [*migration.rows(ITEMS)] == ["a"], "whole chunks are there"


CONSTRAINTS = {
    "a check": ("ALTER TABLE nfsc_info_list ADD CHECK (info_name <> 'bad')", ITEMS, {"bad"}),
    "a unique key": ("ALTER TABLE nfsc_info_list ADD UNIQUE (original_link)", ITEMS, {"i150"}),
    "a trigger": (
        """CREATE TRIGGER refuse BEFORE INSERT ON nfsc_info_list FOR EACH ROW
        IF NEW.info_name = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this'; END IF""",
        ITEMS,
        {"bad"},
    ),
    "a foreign key": (
        "ALTER TABLE nfsc_info_list ADD FOREIGN KEY (info_type_id) REFERENCES allowed (info_type_id)",
        ITEMS,
        {"bad"},
    ),
    "a check on sections": (
        "ALTER TABLE nfsc_information_section_list ADD CHECK (section_order < 90)",
        SECTIONS,
        {"i003/90", "i077/91"},
    ),
    "a check on sources": ("ALTER TABLE nfsc_resource_source ADD CHECK (source_id <> 's1')", SOURCES, {"s1"}),
}


@pytest.mark.parametrize("case", CONSTRAINTS)
def test_rows_that_only_the_server_refuses_are_found_among_many(migration, case) -> None:
    statement, table, keys = CONSTRAINTS[case]
    names = [f"i{number:03}" for number in range(200)]
    migration.query("CREATE TABLE allowed (info_type_id INT PRIMARY KEY)")
    migration.query("INSERT INTO allowed VALUES (3)")
    migration.query(statement)
    migration.put("resource_source", source("s1"))
    migration.put("information_list", *(one(key, original_link=f"l{key}") for key in names))
    migration.put("information_list", one("bad", information_name={"zh": "bad"}, source_id="s1"))
    migration.change("UPDATE information_list SET original_link = 'li149' WHERE information_id IN ('i149', 'i150')")
    migration.put("information_tags_relationship", *(tag(key) for key in names), tag("bad", "['项目', 'x']"))
    migration.put("information_section_list", section("i003"), section("i003", 90), section("i077", 91))
    report = migration.run()
    assert {key for name, key, _ in refused(report) if name == table} == keys
    left_out = {"bad"} if table == SOURCES else keys if table == ITEMS else set()
    assert migration.rows(ITEMS).keys() == {*names, "bad"} - left_out
    assert migration.rows(SECTIONS).keys() == {"i003/0", "i003/90", "i077/91"} - keys
    before = migration.dump()
    again = migration.run()
    assert migration.dump() == before
    assert refused(again) == refused(report)
    with pytest.raises(RejectedError):
        migration.run(on_rejected="stop")


def test_keys_that_are_there_twice_are_refused_the_same_each_time(migration) -> None:
    migration.put("information_list", one("i1"), one("i1", original_link="other"), one("i2"))
    migration.put("information_tags_relationship", tag("i1"), tag("i2"))
    doubles = [section("i1", 5, section_id="x"), section("i2", 6, section_id="x")]
    migration.put("information_section_list", section("i1"), section("i1", section_order=7), *doubles)
    for chunk_rows in (1, 500):
        report = migration.run(chunk_rows=chunk_rows)
        twice = [(table, key) for table, key, reason in refused(report) if "twice" in reason]
        assert sorted(twice) == [(ITEMS, "i1"), (SECTIONS, "i1/0"), (SECTIONS, "x")]
        if chunk_rows == 1:
            before = migration.dump()
    assert migration.dump() == before
    assert migration.rows(SECTIONS)["x"]["information_id"] == "i1"


def test_an_item_without_a_key_is_refused(migration) -> None:
    migration.put("information_list", one("i1"), {**one(), "information_id": None})
    migration.put("information_tags_relationship", tag("i1"))
    report = migration.run()
    assert refused(report) == [(ITEMS, None, "information_id is NULL")]
    assert [*migration.rows(ITEMS)] == ["i1"]


def scribbled(dice) -> str:
    """A list as Python writes it, at times with a mistake."""
    strings = ["", "a", "it's", '"', "\\", "\n\t\r\0\x07", "中文", "😀", "\\u4e00", "\x7f\xa0", "a, b"]
    plain = [None, True, False, 0, -5, 10**30, 1.5, 1e22, -1e-7, 0.1, 123456789.125, *strings]
    values = [dice.choice(plain) for _ in range(dice.randrange(1, 5))]
    values = [dice.choice([*[value] * 8, [value], (value,)]) for value in values]
    text = repr(dice.choice([list, tuple])(values))
    if dice.random() < 0.3:
        text = ascii(ast.literal_eval(text))
    if dice.random() < 0.2:
        text = text.replace(", ", dice.choice([",", " ,\n", "\t,  "]))
    if dice.random() < 0.4:
        at = dice.randrange(len(text))
        sign = dice.choice(["", *"[](),'\"\\ux0{}Nb.-+e_ #\n"])
        text = text[:at] + sign + text[at + dice.randrange(2) :]
    return text


def test_lists_are_read_as_python_reads_them_and_never_run(mariadb, tmp_path) -> None:
    dice = seeded("lists of Python")
    migration = Migration(mariadb, tmp_path)
    migration.make_source()
    migration.query(f"CREATE DATABASE {migration.target} CHARACTER SET utf8mb4", database="mysql")
    migration.query("CREATE TABLE found (id VARCHAR(9) PRIMARY KEY, first LONGTEXT, second LONGTEXT)")
    texts = {f"i{number}": scribbled(dice) for number in range(3000)}
    migration.fill({"information_tags_relationship": [tag(key, text) for key, text in texts.items()]})
    columns = [
        {"name": name, "column": "tag_value", "element": element} for element, name in enumerate(("first", "second"))
    ]
    task = {
        "source": "information_tags_relationship",
        "key": "information_id",
        "target": "found",
        "target_key": "id",
        "columns": columns,
    }
    report = migration.run(task="lists", tasks={"lists": task})
    found = {row["id"]: [row["first"], row["second"]] for row in migration.query("SELECT * FROM found")}
    assert report.rows_rejected == len(texts) - len(found)
    assert len(found) > 1000
    for key, values in found.items():
        assert values == firsts(texts[key]), texts[key]
    by_python = {key: text for key, text in texts.items() if repr(literal(text)) == text and firsts(text)}
    assert len(by_python) > 500
    assert not [text for key, text in by_python.items() if key not in found], "what Python wrote is read"


def literal(text: str) -> object:
    """What Python reads, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that are none
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError):
            return None


def firsts(text: str) -> list[str | None] | None:
    """The first two values of a list as texts; None where there is no such list, or they are no plain values."""
    value = literal(text)
    if value is None:
        try:
            value = json.loads(text)
        except ValueError:
            return None
    if not isinstance(value, (list, tuple)) or not is_plain(value):
        return None
    two = [*value, None, None][:2]
    if any(isinstance(one, (list, tuple)) for one in two):
        return None
    return [None if one is None else str(one) for one in two]


def is_plain(value: object) -> bool:
    """Whether it is made of what is accepted."""
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def test_lists_of_json_are_read_too(migration) -> None:
    migration.put("information_list", one("i1"))
    migration.put("information_tags_relationship", tag("i1", json.dumps(["通知", "😀", None, True])))
    migration.run()
    assert migration.rows(ITEMS)["i1"]["info_academic_field"] == "😀"


def test_large_rows_go_in_several_packets_and_too_large_ones_are_named(own_mariadb, tmp_path) -> None:
    migration = Migration(own_mariadb, tmp_path)
    migration.init()
    migration.query("SET GLOBAL max_allowed_packet = 4 * 1024 * 1024")
    migration.query(f"ALTER TABLE {SECTIONS} MODIFY media_info LONGTEXT")
    migration.put("resource_source", source())
    migration.put("information_list", one("i1"), one("i2"))
    migration.put("information_tags_relationship", tag("i1"), tag("i2"))
    for number in range(8):
        migration.put("information_section_list", section("i1", number, media_info="x" * 1_000_000))
    # The server reads it, and with an INSERT around it could not be told.
    migration.change("UPDATE information_section_list SET media_info = REPEAT('z', 4180000) WHERE section_order = 7")
    report = migration.run()
    [(table, key, reason)] = refused(report)
    assert (table, key) == (SECTIONS, "i1/7")
    assert "max_allowed_packet" in reason
    assert {row["size"] for row in migration.query(f"SELECT LENGTH(media_info) AS size FROM {SECTIONS}")} == {1_000_000}
    assert len(migration.rows(SECTIONS)) == 7
    migration.change("UPDATE information_section_list SET media_info = CONCAT('!', media_info) WHERE section_order < 7")
    migration.run()
    assert {row["size"] for row in migration.query(f"SELECT LENGTH(media_info) AS size FROM {SECTIONS}")} == {1_000_001}


PAPERS = {
    "source": "paper",
    "key": "id",
    "target": "article",
    "target_key": "number",
    "filters": [{"column": "kind", "equals": 2}],
    "columns": [
        {"name": "field", "column": "department", "values": {"化学": "B", "生命": "C"}, "otherwise": "*"},
        {"name": "author", "column": "authors", "path": "0.name"},
        {"name": "price", "column": "price"},
        {"name": "raw", "column": "raw"},
        {"name": "flag", "column": "flag"},
        {"name": "ratio", "column": "ratio"},
        {"name": "origin", "constant": 7},
    ],
}


def test_a_task_of_the_settings_is_done(mariadb, tmp_path) -> None:
    migration = Migration(mariadb, tmp_path)
    for name in (migration.source, migration.target):
        migration.query(f"CREATE DATABASE {name} CHARACTER SET utf8mb4", database="mysql")
    migration.change(
        "CREATE TABLE paper (id BIGINT UNSIGNED PRIMARY KEY, kind INT, department VARCHAR(20), authors JSON,"
        " price DECIMAL(10,2), raw BLOB, flag BIT(5), ratio FLOAT)"
    )
    migration.query(
        "CREATE TABLE article (number BIGINT, field CHAR(3), author VARCHAR(20), price DECIMAL(12,4), raw BLOB,"
        " flag BIT(5), ratio FLOAT, origin INT, changes INT DEFAULT 0)"
    )
    authors = json.dumps([{"name": "李"}])
    rows = [
        (9, 2, "化学", authors, "1.50", b"\x00\xff", 5, 0.1),
        (10, 2, "other", "[]", None, None, None, None),
        (1 << 62, 2, "生命", None, "0.00", b"", 31, 1e30),
        (11, 1, "x", None, None, None, None, None),
    ]
    for row in rows:
        migration.change("INSERT INTO paper VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", *row)
    file = tmp_path / "tasks.toml"
    file.write_text(
        "[mysql_to_mysql]\ntask = 'papers'\n[mysql_to_mysql.tasks.papers]\n"
        + "".join(f"{name} = {json.dumps(PAPERS[name])}\n" for name in ("source", "key", "target", "target_key"))
        + "filters = [{column = 'kind', equals = 2}]\n"
        + "columns = [\n"
        + "".join(
            "{" + ", ".join(f"{name} = {_toml(value)}" for name, value in column.items()) + "},\n"
            for column in PAPERS["columns"]
        )
        + "]\n",
        encoding="utf-8",
    )
    migration.run(config_file=file, chunk_rows=2)
    found = migration.query("SELECT *, flag + 0 AS bits, CAST(price AS CHAR) AS money FROM article ORDER BY number")
    assert [
        (row["number"], row["field"], row["author"], row["money"], row["raw"], row["bits"], row["origin"])
        for row in found
    ] == [
        (9, "B", "李", "1.5000", b"\x00\xff", 5, 7),
        (10, "*", None, None, None, None, 7),
        (1 << 62, "C", None, "0.0000", b"", 31, 7),
    ]
    assert [row["ratio"] for row in found] == [0.1, None, 1e30]
    report = migration.run(task="papers", tasks={"papers": PAPERS}, chunk_rows=1)
    assert (report.rows_read, report.rows_written) == (3, 0)
    migration.change("UPDATE paper SET flag = 1, raw = 'x', ratio = 0.25, price = 9 WHERE id = 10")
    assert migration.run(task="papers", tasks=json.dumps({"papers": PAPERS})).rows_written == 1
    [row] = migration.query("SELECT flag + 0 AS bits, raw, ratio, price + 0 AS price FROM article WHERE number = 10")
    assert (row["bits"], row["raw"], row["ratio"], float(row["price"])) == (1, b"x", 0.25, 9.0)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(name, ensure_ascii=False)} = {_toml(text)}" for name, text in value.items())
            + "}"
        )
    return json.dumps(value, ensure_ascii=False)


def test_two_runs_at_once_do_the_work_once(mariadb, tmp_path) -> None:
    migration = Migration(mariadb, tmp_path, settings={"chunk_rows": 10})
    migration.init()
    migration.fill(made(seeded("two at once"), 300))
    # Without a unique key, only the lock keeps two runs from inserting the same.
    migration.query(f"ALTER TABLE {ITEMS} DROP KEY info_id, ADD KEY info_id (info_id)")
    migration.query(f"ALTER TABLE {SECTIONS} DROP KEY section_id, ADD KEY section_id (section_id)")
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(migration.run())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(reports) == 3
    migration.assert_is_as_the_reference()
    assert sum(report.rows_written for report in reports) == len(migration.rows(ITEMS))


def test_a_stopped_run_ends_after_a_whole_chunk_and_the_next_goes_on(mariadb, tmp_path) -> None:
    migration = Migration(mariadb, tmp_path, settings={"chunk_rows": 1})
    migration.init()
    migration.fill(made(seeded("a stop"), 200))
    stop = Stop()
    report = migration.run(stop=stop, on_progress=lambda stats: stop.set() if stats.rows_read > 3 else None)
    assert (report.status, report.reason) == ("stopped", "stop requested")
    assert 0 < report.rows_written < 200
    migration.run()
    migration.assert_is_as_the_reference()


def test_progress_knows_how_many_items_there_are(migrated) -> None:
    seen = []
    report = migrated.run(on_progress=seen.append, chunk_rows=2)
    assert seen
    assert max(stats.rows_total or 0 for stats in seen) == report.rows_read


def test_it_runs_beside_other_things(migrated) -> None:
    report = asyncio.run(mysql_to_mysql.arun(**migrated.urls, **migrated.settings))
    assert report.rows_written == 0


def test_the_definition_that_is_built_in_is_one_that_a_user_could_write() -> None:
    text = (Path(__file__).parents[2] / "src/pipelines/mysql_to_mysql/nfsc_task.json").read_text(encoding="utf-8")
    task = Task.model_validate_json(text)
    assert str(task) == "information_list to nfsc_info_list"
    assert [found.equals for found in task.filters] == [LINK]
    assert TYPES


def test_tables_and_columns_that_are_missing_are_named(mariadb, tmp_path) -> None:
    migration = Migration(mariadb, tmp_path)
    with pytest.raises(NotFoundError, match="information_list") as raised:
        migration.run()
    assert "source_database" in (raised.value.hint or "")
    migration.make_source()
    with pytest.raises(NotFoundError, match="nfsc_info_list") as raised:
        migration.run()
    assert "init-db mysql-to-mysql" in (raised.value.hint or "")
    mysql_to_mysql.init_db(target_url=mariadb.url, target_database=migration.target)
    migration.query(f"ALTER TABLE {SECTIONS} DROP COLUMN md5_encode")
    with pytest.raises(SettingsError, match="md5_encode"):
        migration.run()
    with pytest.raises(SettingsError, match='There is no task "other"; there are: nfsc_task, papers'):
        migration.run(task="other", tasks={"papers": PAPERS})
