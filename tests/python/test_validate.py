"""`validate` names the rule, the column, the count and an example of what is wrong with the rows of Parquet files."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.python.support import children, data, orders
from tests.python.support.places import gcs_place, s3_place

from pipeline_core import EmbeddedKafka, KafkaProducer, csv_to_kafka, kafka_to_parquet, read_parquet, validate
from pipeline_core.exceptions import NotFoundError, SettingsError

ROWS, PARTITIONS = 1200, 6
ITEM, QUANTITY = "Order Item Id", "Order Item Quantity"
ORDERED, SHIPPED = "order date (DateOrders)", "shipping date (DateOrders)"
BROKEN = "Bogot\N{REPLACEMENT CHARACTER}"
OFFSETS = "unique topic, partition, offset"

MY_RULES = """
import pandera.polars as pa
import polars as pl

class Cheap(pa.DataFrameModel):
    offset: int = pa.Field(ge=10)
    key: str = pa.Field(nullable=False)

schema = pa.DataFrameSchema({"Sales": pa.Column(pl.Float64, pa.Check.le(1000), unique=False)}, unique=["key", "Sales"])

def prepare(frame):
    return frame.with_columns(pl.col("Sales").cast(pl.Float64))
"""


@pytest.fixture(scope="module")
def topic():
    """A broker with the orders on a topic."""
    with EmbeddedKafka() as kafka:
        yield {"topic": "orders", "bootstrap_servers": kafka.bootstrap_servers}


@pytest.fixture(scope="module")
def made(topic, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    csv_to_kafka.run(files=data.dataco(folder, ROWS), partitions=PARTITIONS, **topic)
    written = kafka_to_parquet.run(to=folder / "lake", group_id="made", until="end", **topic)
    assert written.rows_written == ROWS
    return folder / "lake"


@pytest.fixture
def lake(made, tmp_path) -> Path:
    """A copy of the files."""
    return Path(shutil.copytree(made, tmp_path / "lake"))


def files(lake: Path) -> list[Path]:
    found = sorted(lake.rglob("*.parquet"))
    assert len(found) == PARTITIONS
    return found


def name(path: Path) -> str:
    return f"raw_streaming/{path.name}"


def rewritten(path: Path, table: pa.Table) -> None:
    """Write a file anew, with the footer that it had."""
    said = {name: text for name, text in pq.read_metadata(path).metadata.items() if name != b"ARROW:schema"}
    with pq.ParquetWriter(path, table.schema) as file:
        file.write_table(table)
        file.add_key_value_metadata(said)


def changed(path: Path, column: str, row: int, value: object) -> None:
    """Change one value of a file, and nothing else of it."""
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    at = table.schema.get_field_index(column)
    rewritten(path, table.set_column(at, column, pa.array(values)))


def failed(report, rule: str, column: str | None = None, rules: str = "supply_chain") -> tuple[object, ...]:
    """Count, example, file and row of a broken rule."""
    assert not report.ok
    (check,) = [one for one in report.failures if (one.rules, one.rule, one.column) == (rules, rule, column)]
    for text in (rules, rule, f"{check.failed:,} failed", column or "", check.example or "", check.file or ""):
        assert text in repr(report)
    return check.failed, check.example, check.file, check.row


def test_good_data_pass(lake, topic):
    report = validate(lake, rules="supply_chain", with_topic=True, **topic)
    assert report.ok, report
    assert (report.rows, report.files, report.rules) == (ROWS, PARTITIONS, ["any", "supply_chain"])
    assert report.topic is not None
    assert report.topic.rows == ROWS
    rules = {(check.rules, check.rule, check.column) for check in report.checks}
    assert len(rules) > 150
    assert rules >= {("supply_chain", "unique", ITEM), ("supply_chain", "has a value", ITEM), ("any", OFFSETS, None)}
    assert {column.name: column.types for column in report.columns}["offset"] == ["Int64"]
    one = validate(files(lake)[0], rules="supply_chain")
    assert (one.ok, one.files) == (True, 1)
    assert validate(lake, prefix="raw_streaming/orders_").rows == ROWS


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("open_place", [s3_place, gcs_place])
def test_the_files_of_a_store_are_read_with_the_settings_of_the_engine(request, open_place, topic):
    place = open_place(request.getfixturevalue(open_place.__name__.removesuffix("_place")))
    where = {"to": f"{place.url}/a b", **place.settings}
    kafka_to_parquet.run(group_id=f"to {place.url}", until="end", **where, **topic)
    report = validate(rules="supply_chain", with_topic=True, **where, **topic)
    assert report.ok, report
    assert report.rows == ROWS
    assert not validate(**{**where, "to": f"{place.url}/a"}).files
    with pytest.raises(NotFoundError):
        validate(**{**where, "to": f"{place.url}-no"})


@pytest.mark.parametrize("how", ["typed", "partition_by"])
def test_typed_columns_and_folders_of_a_column_pass_too(how, tmp_path):
    with EmbeddedKafka() as kafka:
        where = {"topic": "orders", "bootstrap_servers": kafka.bootstrap_servers}
        typed = how == "typed"
        csv_to_kafka.run(files=data.dataco(tmp_path, ROWS), partitions=PARTITIONS, typed=typed, **where)
        layout = {"typed": True} if typed else {"partition_by": ["Market", "date=%F"]}
        kafka_to_parquet.run(to=tmp_path / "lake", group_id="lake", until="end", **where, **layout)
    report = validate(tmp_path / "lake", rules="supply_chain")
    assert report.ok, report
    frame = read_parquet(tmp_path / "lake", columns=[ITEM, "Market"])
    assert frame[ITEM].n_unique() == ROWS
    assert frame["Market"].null_count() == 0
    kinds = {column.name: column.types for column in report.columns}
    assert kinds[QUANTITY] == ["Int64" if typed else "String"]
    assert kinds["Market"] == ["String"]


def test_a_missing_column(lake):
    path = files(lake)[2]
    table = pq.read_table(path)
    rewritten(path, table.drop_columns("Market"))
    report = validate(lake, rules="supply_chain")
    assert failed(report, "is there", "Market") == (table.num_rows, None, name(path), None)
    assert failed(report, "the same columns in all files", "Market", "any")[:2] == (table.num_rows, "is missing")
    assert len(report.failures) == 2
    assert [one.rules for one in validate(lake, rules="supply_chain", same_columns=False).failures] == ["supply_chain"]


def test_rows_that_are_there_twice(lake):
    path = files(lake)[1]
    table = pq.read_table(path)
    rewritten(path, pa.concat_tables([table, table.slice(0, 3)]))
    report = validate(lake, rules="supply_chain")
    item, offset = table[ITEM][0].as_py(), table["offset"][0].as_py()
    spot = (name(path), table.num_rows + 1)
    assert failed(report, "unique", ITEM) == (3, item, *spot)
    assert failed(report, OFFSETS, None, "any") == (3, f"orders, 1, {offset}", *spot)
    assert failed(report, "as many rows as the footer says", None, "any")[0] == 1
    assert len(report.failures) == 3


def test_a_file_that_is_there_twice(lake):
    path = files(lake)[3]
    copy = path.with_name(path.name.replace("orders_2", "orders_1"))
    shutil.copy(path, copy)
    rows = pq.read_table(path).num_rows
    report = validate(lake, rules="supply_chain")
    assert failed(report, "unique", ITEM)[0] == rows
    assert failed(report, OFFSETS, None, "any")[0] == rows
    for one in (path, copy):
        rewritten(one, pq.read_table(one).drop_columns(["topic", "partition", "offset"]))
    for other in {*lake.rglob("*.parquet")} - {path, copy}:
        other.unlink()
    assert failed(validate(lake), "each offset in one file, by their names", None, "any")[0] == rows


@pytest.mark.parametrize(
    ("column", "value", "rule", "example"),
    [
        (ITEM, None, "has a value", None),
        (ITEM, "", "has a value", None),
        (ITEM, "12a", "whole number from 0", "12a"),
        (QUANTITY, "three", "whole number from 1", "three"),
        (QUANTITY, "-2", "whole number from 1", "-2"),
        (ORDERED, "2018-31-12", "date from 2000 until now", "2018-31-12"),
        (ORDERED, "1/1/2999 10:00", "date from 2000 until now", "1/1/2999 10:00"),
        (SHIPPED, "1/1/2001 0:00", f"not before {ORDERED}", "1/1/2001 0:00"),
        ("Sales", "nan", "number from 0", "nan"),
        ("Sales", "100000.5", "Order Item Product Price times Order Item Quantity", "100000.5"),
        ("Latitude", "91.5", "number from -90 to 90", "91.5"),
        ("Order Status", "LOST", "one of CANCELED, CLOSED, COMPLETE", "LOST"),
        ("Order City", BROKEN, "text without broken letters", BROKEN),
    ],
)
def test_a_value_that_breaks_a_rule(lake, column, value, rule, example):
    path = files(lake)[4]
    changed(path, column, 17, value)
    report = validate(lake, rules="supply_chain")
    (whole,) = {one.rule for one in report.failures if one.column == column and one.rule.startswith(rule)}
    assert failed(report, whole, column) == (1, example, name(path), 18)


def test_a_column_of_another_type(lake):
    path = files(lake)[5]
    table = pq.read_table(path)
    at = table.schema.get_field_index(QUANTITY)
    rewritten(path, table.set_column(at, QUANTITY, table[QUANTITY].cast(pa.int64())))
    report = validate(lake, rules="supply_chain")
    said = (table.num_rows, "Int64, elsewhere String", name(path), None)
    assert failed(report, "the same type in all files", QUANTITY, "any") == said
    assert len(report.failures) == 1, "Its values are what the rules want"
    rewritten(path, table.set_column(at, QUANTITY, pa.array([True] * table.num_rows)))
    wrong = failed(validate(lake, rules="supply_chain"), "whole number from 1", QUANTITY)
    assert wrong == (table.num_rows, "true", name(path), 1)


def test_a_file_that_is_cut_short(lake):
    path = files(lake)[0]
    path.write_bytes(path.read_bytes()[:-100])
    report = validate(lake, rules="supply_chain")
    count, example, file, _ = failed(report, "a whole Parquet file", None, "any")
    assert (count, file) == (1, name(path))
    assert example
    assert report.files == PARTITIONS
    assert report.rows < ROWS


def test_bytes_that_are_damaged_within_a_file(lake):
    path = files(lake)[0]
    content = bytearray(path.read_bytes())
    content[200:4000] = bytes(3800)
    path.write_bytes(content)
    assert failed(validate(lake), "a whole Parquet file", None, "any")[0] == 1


def test_a_name_that_says_other_offsets(lake):
    path = files(lake)[0]
    other = path.rename(path.with_name(path.name.replace("0000-", "0001-")))
    count, _, file, _ = failed(validate(lake), "the offsets of its name in the footer", None, "any")
    assert (count, file) == (1, name(other))


def test_what_is_missing_against_the_topic(lake, topic):
    files(lake)[2].unlink()
    report = validate(lake, with_topic=True, **topic)
    assert not report.ok
    assert not report.failures
    assert "Partition 2" in repr(report)
    assert validate(lake).ok


def test_an_empty_folder_is_not_ok(tmp_path):
    count, *_ = failed(validate(tmp_path), "there are files", None, "any")
    assert count == 1
    with pytest.raises(NotFoundError, match="no folder"):
        validate(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="no Parquet file"):
        read_parquet(tmp_path)


def test_rules_of_a_user(lake, no_settings):
    (no_settings / "my_rules.py").write_text(MY_RULES)
    report = validate(lake, rules=["my_rules.py", "my_rules.py:Cheap"])
    assert failed(report, "greater_than_or_equal_to(10)", "offset", "my_rules:Cheap")[:2] == (10 * PARTITIONS, "0")
    assert {check.rules for check in report.checks} == {"any", "my_rules", "my_rules:Cheap"}
    assert ("my_rules", "unique key, Sales") in {(check.rules, check.rule) for check in report.checks}
    import pandera.polars as pandera

    own = pandera.DataFrameSchema({"offset": pandera.Column(int, pandera.Check.lt(0))})
    assert failed(validate(lake, schema=own), "less_than(0)", "offset", "schema")[0] == ROWS


def test_rules_of_settings(lake):
    good = {"unique": ITEM, "not_null": [ITEM, "Order Id"], "column_types": {"Sales": "float64", "time": "timestamp"}}
    assert validate(lake, **good).ok
    bad = {"unique": "Order Id", "not_null": "Order Zipcode", "column_types": {"Market": "int64", "no": "string"}}
    report = validate(lake, **bad)
    assert failed(report, "unique", "Order Id", "settings")[0] > 0
    assert failed(report, "has a value", "Order Zipcode", "settings")[0] > 0
    assert failed(report, "whole number", "Market", "settings")[0] == ROWS
    assert failed(report, "is there", "no", "settings")[0] == ROWS


@pytest.mark.parametrize("rules", ["supply_chian", "nowhere.py", "empty.py", "broken.py", "empty.py:__name__"])
def test_rules_that_cannot_be_used(lake, no_settings, rules):
    (no_settings / "empty.py").write_text("")
    (no_settings / "broken.py").write_text("1 / 0")
    with pytest.raises(SettingsError, match=r"rules|schema"):
        validate(lake, rules=rules)


def test_without_the_extra_it_says_what_to_install(lake, monkeypatch):
    module, found = importlib.import_module("pipeline_core.validate"), importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "pandera" else found(name))
    with pytest.raises(SettingsError, match=r"needs pandera.*pipeline-core\[validate\]"):
        validate(lake)


def test_the_command_gives_a_verdict_and_a_page(lake, tmp_path):
    where = {"json": True, "rules": ["supply_chain"]}
    sound = children.run(tmp_path, f"validate {lake}", html="good.html", **where)
    changed(files(lake)[4], QUANTITY, 17, "<b>-2</b>")
    damaged = children.run(tmp_path, f"validate {lake}", html="bad.html", **where)
    wrong = children.run(tmp_path, f"validate {lake}", rules=["no"])
    assert (sound.code, damaged.code, wrong.code) == (0, 1, 2)
    assert (sound.report["ok"], damaged.report["ok"]) == (True, False)
    assert damaged.report["checks"][0]["column"] == QUANTITY
    good, bad = ((tmp_path / page).read_text() for page in ("good.html", "bad.html"))
    assert ">passed<" in good
    assert ">failed<" in bad
    assert "&lt;b&gt;-2&lt;/b&gt;" in bad
    assert "<b>" not in bad
    assert not [word for word in ("<script", "src=", "href=", "url(") if word in good + bad]


def test_orders_of_walmart(tmp_path):
    with EmbeddedKafka() as kafka:
        where = {"topic": "walmart_order_raw", "bootstrap_servers": kafka.bootstrap_servers}
        with KafkaProducer(**where) as producer:
            for order in orders.sample()[:300]:
                producer.send(json.loads(order), key=str(json.loads(order)["purchaseOrderId"]))
            producer.send({"purchaseOrderId": "7", "orderLines": {}}, key="8")
        kafka_to_parquet.run(to=tmp_path / "lake", group_id="lake", until="end", **where)
    report = validate(tmp_path / "lake", rules="walmart")
    assert report.rows == 301
    broken = {(one.column, one.rule): one.failed for one in report.failures}
    assert broken == {
        ("purchaseOrderId", "the message's key"): 1,
        ("orderLines", "JSON with a line that has number, item, quantity"): 1,
        **{(column, "has a value"): 1 for column in ("customerOrderId", "orderDate", "request_time")},
    }
