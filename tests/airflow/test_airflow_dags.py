"""The DAGs: they parse at once, are what their documents say, and run against the real services."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow.dataset
import pytest
from tests.python.support import topics
from tests.python.support.children import wait_until
from tests.python.support.migrations import Migration, made
from tests.services.walmart_api import WalmartApi
from tests.services.walmart_orders import order

from pipeline_core import cdc_to_postgres, postgres_to_kafka, sample_data, walmart_to_mysql

if TYPE_CHECKING:
    from tests.airflow.airflows import Airflow

# What there is, as the documents have it: when each runs, and its tasks in their order.
DAGS = {
    "employee_cdc": ("*/5 * * * *", ["capture", "apply"]),
    "kafka_supply_chain_pipeline": (None, ["check", "produce", "consume", "verify"]),
    "mongo_to_kafka": ("@hourly", ["check", "sync"]),
    "mysql_to_mysql": (None, ["check", "rehearse", "migrate"]),
    "object_storage_files": ("@hourly", ["list_files", "process_files", "report"]),
    "walmart_orders": ("@hourly", ["fetch", "load", "complete"]),
}
READERS = {"check", "verify", "rehearse", "report", "complete"}
PARSE_SECONDS = 0.5


@pytest.fixture(scope="module")
def parsed(airflow: Airflow) -> dict[str, Any]:
    return airflow.ask("parse")


def ran(airflow: Airflow, dag: str, conf: dict[str, Any], **connections: Any) -> dict[str, Any]:
    """What the tasks of a run returned, all of which must succeed."""
    conn_ids = {role: f"test_{role}" for role in connections}
    named = {f"test_{role}": connection for role, connection in connections.items()}
    before = len(airflow.log.read_bytes())
    ended = airflow.ask("run", dag=dag, conf={"conn_ids": conn_ids, **conf}, connections=named)
    assert ended["state"] == "success", f"{ended}\n{airflow.said(before)[-8000:]}"
    assert ended["tasks"] == dict.fromkeys(DAGS[dag][1], "success")
    return ended["returned"]


def to_kafka(kafka) -> dict[str, Any]:
    return {"conn_type": "kafka", "extra": kafka.properties()}


def to_server(kind: str, url: str, schema: str | None = None) -> dict[str, Any]:
    """A connection of a database's URL."""
    parts = urlsplit(url)
    login = {"login": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    return {"conn_type": kind, "host": parts.hostname, "port": parts.port, "schema": schema, **login}


def test_there_are_no_others(parsed):
    assert set(parsed) == set(DAGS)
    assert {stem: list(found["dags"]) for stem, found in parsed.items()} == {name: [name] for name in DAGS}


@pytest.mark.parametrize("dag", DAGS)
def test_it_parses_at_once_and_imports_nothing_of_ours(parsed, dag):
    assert parsed[dag]["errors"] == {}
    assert parsed[dag]["ours"] == []
    assert parsed[dag]["seconds"] < PARSE_SECONDS


@pytest.mark.parametrize("dag", DAGS)
def test_it_is_what_its_document_says(parsed, dag):
    schedule, order_of_tasks = DAGS[dag]
    found = parsed[dag]["dags"][dag]
    assert (found["schedule"], found["catchup"], found["max_active_runs"]) == (schedule, False, 1)
    assert [line.split("`")[1] for line in found["doc"].splitlines() if line.startswith("| `")] == order_of_tasks
    assert set(found["tasks"]) == set(order_of_tasks)
    assert "pipeline_core" in found["tags"]
    assert "conn_ids" in found["params"]
    for task, after in zip(order_of_tasks, [*order_of_tasks[1:], None], strict=True):
        facts = found["tasks"][task]
        assert facts["function"] == task
        assert after is None or after in facts["downstream"]
        assert facts["retries"] > 0
        assert facts["timeout"] > 0
        assert bool(facts["outlets"]) != (task in READERS), task


def test_the_supply_chain_arrives_each_row_once_and_a_second_run_adds_nothing(airflow, kafka, tmp_path):
    sample_data.write(tmp_path / "orders.csv", rows=2_000)
    conf = {"files": f"{tmp_path}/orders.csv", "topic": kafka.new_topic(3), "to": f"{tmp_path}/lake", "group_id": "a"}
    first = ran(airflow, "kafka_supply_chain_pipeline", conf, kafka=to_kafka(kafka))
    assert (first["produce"]["rows_written"], first["consume"]["rows_written"]) == (2_000, 2_000)
    assert first["verify"]["ok"]
    second = ran(airflow, "kafka_supply_chain_pipeline", conf, kafka=to_kafka(kafka))
    assert (second["produce"]["rows_written"], second["consume"]["rows_written"]) == (0, 0)
    items = pyarrow.dataset.dataset(tmp_path / "lake").to_table().column("Order Item Id").to_pylist()
    assert len(items) == len(set(items)) == 2_000


def test_files_of_a_bucket_are_parsed_and_counted(airflow, kafka, s3):
    source, dest = s3.new_bucket(), s3.new_bucket()
    for number in range(5):
        s3.client().put_object(Bucket=source, Key=f"data/{number}.csv", Body=b"a,b\n1,2\n3,4\n")
    topic = f"tasks-of-{source}"
    conf = {"bucket": source, "dest_bucket": dest, "prefix": "data/", "parser": "csv", "scheme": "s3", "topic": topic}
    conf["process"] = {"processes": 1, "result_topic": f"{topic}-results"}
    store = {"conn_type": "aws", "login": s3.key, "password": s3.secret, "extra": {"endpoint_url": s3.url}}
    store["extra"]["region_name"] = s3.region
    returned = ran(airflow, "object_storage_files", conf, kafka=to_kafka(kafka), s3=store)
    assert returned["report"] == {"sent": 5, "succeeded": 5, "given_up": 0, "waiting": 0}
    assert s3.keys(dest) == [f"data/{number}.csv.parsed.json" for number in range(5)]
    assert len(topics.messages(kafka, f"{topic}-results")) == 5


def test_orders_are_fetched_from_the_watermark_and_loaded(airflow, kafka, mariadb):
    now = datetime.now(timezone.utc)

    def sold(number: int, age: timedelta) -> dict[str, Any]:
        return order(number, now - age, modified=now - age)

    database, topic = mariadb.new_database(), kafka.new_topic(3)
    walmart_to_mysql.init_db(mysql_url=mariadb.url, database=database)
    conf = {"topic": topic, "group_id": topic}
    with WalmartApi([sold(number, timedelta(minutes=20)) for number in range(50)]) as api:
        walmart = {"conn_type": "http", "host": api.url, "login": api.client_id, "password": api.client_secret}
        servers = {"kafka": to_kafka(kafka), "walmart": walmart, "mysql": to_server("mysql", mariadb.url, database)}
        first = ran(airflow, "walmart_orders", conf, **servers)
        api.put(sold(1_000, timedelta(minutes=1)))
        second = ran(airflow, "walmart_orders", conf, **servers)
        assert not api.violations
    assert (first["complete"]["fetched"], first["complete"]["loaded"]) == (50, 50)
    assert (second["complete"]["fetched"], second["complete"]["loaded"]) == (1, 1)
    with mariadb.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT purchaseOrderId) FROM walmart_order")
        assert cursor.fetchall() == ((51,),)


def test_changes_of_a_table_arrive_in_the_other(airflow, kafka, source_postgres, target_postgres):
    source, target = source_postgres.new_database(), target_postgres.new_database()
    postgres_to_kafka.init_db(source_url=source_postgres.url_of(source))
    cdc_to_postgres.init_db(target_url=target_postgres.url_of(target))
    topic = kafka.new_topic(2)
    servers = {
        "kafka": to_kafka(kafka),
        "source": to_server("postgres", source_postgres.url, source),
        "target": to_server("postgres", target_postgres.url, target),
    }
    rows = "SELECT emp_id, city FROM employees ORDER BY emp_id"
    insert = "INSERT INTO employees (emp_id, first_name, last_name, city) SELECT n, 'A', 'B', 'Perth'"
    with source_postgres.connect(source, autocommit=True) as connection:
        connection.execute(f"{insert} FROM generate_series(1, 100) n")
        ran(airflow, "employee_cdc", {"topic": topic, "group_id": topic}, **servers)
        connection.execute("UPDATE employees SET city = 'Basel' WHERE emp_id < 10")
        connection.execute("DELETE FROM employees WHERE emp_id > 90")
        returned = ran(airflow, "employee_cdc", {"topic": topic, "group_id": topic}, **servers)
        expected = connection.execute(rows).fetchall()
    assert returned["apply"]["rows_read"] == 19
    with target_postgres.connect(target) as connection:
        assert connection.execute(rows).fetchall() == expected
    assert len(expected) == 90


def test_documents_are_sent_once(airflow, kafka, mongodb, tmp_path):
    database, topic = mongodb.new_database(), kafka.new_topic(2)
    parts = urlsplit(mongodb.url)
    mongo = {"conn_type": "mongo", "host": parts.hostname, "port": parts.port, "schema": database}
    mongo["extra"] = {"directConnection": True}
    conf = {"topic": topic, "collection": "c", "data_type": "raw"}
    conf["sync"] = {"runtime_dir": f"{tmp_path}", "lag_seconds": 0.1}
    with mongodb.client() as client:
        client[database]["c"].insert_many([{"n": number} for number in range(100)])
        ran(airflow, "mongo_to_kafka", conf, kafka=to_kafka(kafka), mongodb=mongo)
        client[database]["c"].insert_many([{"n": number} for number in range(100, 110)])
        returned = ran(airflow, "mongo_to_kafka", conf, kafka=to_kafka(kafka), mongodb=mongo)
    assert returned["sync"]["rows_written"] == 10
    values = [json.loads(message.value or b"") for message in topics.messages(kafka, topic)]
    assert sorted(int(value["n"]["$numberInt"]) for value in values) == list(range(110))


def test_items_are_migrated_after_a_rehearsal(airflow, mariadb, tmp_path):
    import random

    migration = Migration(mariadb, tmp_path)
    migration.init()
    migration.fill(made(random.Random(7), 30))
    sides = {side: to_server("mysql", mariadb.url, getattr(migration, side)) for side in ("source", "target")}
    returned = ran(airflow, "mysql_to_mysql", {}, **sides)
    assert returned["rehearse"]["rows_written"] == returned["migrate"]["rows_written"] > 0
    with mariadb.connect(migration.target) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM nfsc_info_list")
        assert cursor.fetchall() == ((returned["migrate"]["rows_written"],),)


def test_operators_and_sensors_work_together(airflow: Airflow, kafka, topic, tmp_path):
    sample_data.write(tmp_path / "orders.csv", rows=2_000)
    conf = {"files": f"{tmp_path}/orders.csv", "topic": topic, "to": f"{tmp_path}/lake", "group_id": topic}
    ended = airflow.ask("run", dag="operators", conf=conf, connections={"kafka": to_kafka(kafka)})
    assert set(ended["tasks"].values()) == {"success"}, ended
    returned = ended["returned"]
    assert {check["name"] for check in returned["check"]} == {"files", "broker", "topic"}
    assert (returned["wait"]["tasks"], returned["drained"]["tasks"]) == (2_000, 0)
    assert (returned["write"]["rows_written"], returned["compare"]["rows"]) == (2_000, 2_000)


def test_a_sensor_waits_in_the_triggerer(airflow: Airflow, kafka, topic):
    since = len(airflow.log.read_bytes())
    airflow.tell("run", dag="waiting", conf={"topic": topic, "group_id": "g"}, connections={"kafka": to_kafka(kafka)})
    wait_until(lambda: airflow.said(since).count(f"g is 0 messages behind {topic}") > 2, "It looks again", 60)
    topics.send(kafka, topic, [b"{}"] * 3)
    ended = airflow.answer()
    assert ended["tasks"] == {"wait": "success"}
    assert ended["returned"]["wait"]["tasks"] == 3
    assert "running trigger in line" in airflow.said(since)
