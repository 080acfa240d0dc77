"""Every notebook runs to a good verdict on what its pipeline wrote, and to a bad one where something is wrong."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from tests.python.support import data, orders, topics
from tests.python.support.captures import Capture, Replication
from tests.python.support.children import SETTINGS, seeded, succeed
from tests.python.support.feeds import Feed
from tests.python.support.fetches import fetching
from tests.python.support.files import File
from tests.python.support.jobs import Job
from tests.python.support.loads import Load
from tests.python.support.migrations import Migration, made
from tests.python.support.places import s3_place
from tests.python.support.tasks import put
from tests.services.walmart_orders import order

from pipeline_core import csv_to_kafka, kafka_to_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services.s3 import S3

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# The pictures that a notebook draws, at least.
CHARTS = {
    "bucket_to_kafka": 1,
    "cdc_to_postgres": 1,
    "csv_to_kafka": 1,
    "dlq": 1,
    "kafka_to_parquet": 3,
    "mongo_to_kafka": 1,
    "mysql_to_mysql": 1,
    "obs_worker": 1,
    "postgres_to_kafka": 1,
    "read_batches": 1,
    "walmart_to_kafka": 1,
    "walmart_to_mysql": 3,
}
ROWS = 2000
SECONDS = 120
# A folder that keeps the notebooks as they ran, to be looked at.
SHELF = "PIPELINE_CORE_TEST_NOTEBOOKS"

# nbclient's event loop outlives its kernels.
pytestmark = pytest.mark.filterwarnings("default")


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@contextmanager
def opened(name: str, folder: Path, **settings: object) -> Iterator[Callable[[], str]]:
    """A notebook in a folder, with settings in its environment; a call runs it and gives what its verdict prints."""
    notebook = read(name)
    environ = {name: text for name, text in os.environ.items() if not name.startswith(SETTINGS)}
    environ |= {name: str(value) for name, value in settings.items()}
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}})

    def run() -> str:
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert len([output for output in outputs if "image/png" in output.get("data", {})]) >= CHARTS[name]
        assert not [output for output in outputs if output.get("name") == "stderr"], outputs
        if shelf := os.environ.get(SHELF):
            nbformat.write(notebook, Path(shelf, f"{name}.ipynb"))
        return notebook.cells[-1]["outputs"][0]["text"]

    with client.setup_kernel(env=environ):
        yield run


def way_to(s3: S3) -> dict[str, str]:
    """The environment of whoever reads and writes there."""
    return {
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_REGION": s3.region,
        "AWS_ACCESS_KEY_ID": s3.key,
        "AWS_SECRET_ACCESS_KEY": s3.secret,
    }


@pytest.fixture(scope="module")
def sent(kafka, tmp_path_factory) -> dict[str, str]:
    """A topic of orders."""
    topic = kafka.new_topic(3)
    path = data.dataco(tmp_path_factory.mktemp("sent"), ROWS)
    csv_to_kafka.run(files=path, topic=topic, bootstrap_servers=kafka.bootstrap)
    return {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_TOPIC": topic}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs(name):
    cells = read(name).cells
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 4
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    assert "os.environ.get" in code[0]["source"], "The first cell has the settings"
    assert cells[-2]["source"] == "## Verdict"
    assert code[-1]["source"].count("assert ") > 0
    assert cells[0]["source"].startswith("# ")
    assert "verdict" in cells[0]["source"]


def test_each_notebook_is_run_here():
    assert set(CHARTS) == set(NAMES)
    assert len(NAMES) > 4


def test_the_notebook_of_kafka_to_parquet_over_s3(sent, s3, tmp_path):
    place = s3_place(s3)
    where = {"topic": sent["KAFKA_TOPIC"], "bootstrap_servers": sent["KAFKA_BOOTSTRAP_SERVERS"]}
    kafka_to_parquet.run(to=place.url, group_id=place.bucket, until="end", **where, **place.settings)
    store = way_to(s3)
    with opened("kafka_to_parquet", tmp_path, **sent, **store, LAKE=place.url) as run:
        assert run().startswith(f"Good: {ROWS:,} rows keep ")
        s3.client().delete_object(Bucket=place.bucket, Key=place.names()[0])
        with pytest.raises(CellExecutionError, match="records at its end are not in any object"):
            run()


def test_the_notebook_of_csv_to_kafka(kafka, topic, tmp_path):
    data.dataco(tmp_path, ROWS)
    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_TOPIC": topic, "FILES": "dataco-*.csv"}

    def send(rows: int) -> None:
        where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
        csv_to_kafka.run(files=tmp_path / f"dataco-{ROWS}.csv", limit=rows, **where)

    send(ROWS)
    with opened("csv_to_kafka", tmp_path, **settings) as run:
        assert run().startswith(f"Good: {ROWS:,} rows, a message of each, and ")
        send(1)
        with pytest.raises(CellExecutionError, match="1 rows are there too often"):
            run()


def test_the_notebook_of_bucket_to_kafka(kafka, topic, s3, tmp_path):
    bucket = s3.new_bucket()
    put(s3, bucket, [f"in/{number % 3}/{number}.csv" for number in range(60)])
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA_TOPIC_TASKS": topic,
        "OBS_SOURCE_BUCKET": f"s3://{bucket}",
    }
    store = way_to(s3)
    succeed(tmp_path, "bucket-to-kafka", environment={**settings, **store})
    with opened("bucket_to_kafka", tmp_path, **settings, **store) as run:
        assert run() == f"Good: 60 files of s3://{bucket}, a task of each.\n"
        put(s3, bucket, ["in/late.csv"])
        with pytest.raises(CellExecutionError, match=r"1 files of .* have no task"):
            run()


def test_the_notebook_of_walmart_to_kafka(kafka, tmp_path):
    start = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    given = [order(number, start + timedelta(minutes=5 * number)) for number in range(300)]
    days = {"START_DATE": start.isoformat(), "END_DATE": (start + timedelta(days=2)).isoformat()}
    with fetching(kafka, tmp_path, given, {"hours": 60}) as fetch:
        fetch.run()
        settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_TOPIC": fetch.topic}
        settings |= {"WALMART_BASE_URL": fetch.api.url, "WALMART_TOKEN": fetch.api.token}
        with opened("walmart_to_kafka", tmp_path, **settings, **days) as run:
            assert run() == f"Good: 300 orders of the API, each on {fetch.topic}, no snapshot twice.\n"
            fetch.api.put(order(1_000, start + timedelta(hours=1)))
            with pytest.raises(CellExecutionError, match="1 orders are not on"):
                run()


def test_the_notebook_of_postgres_to_kafka(kafka, source_postgres, tmp_path):
    capture = Capture(kafka, source_postgres, tmp_path)
    capture.init()
    capture.query(
        "INSERT INTO employees (first_name, last_name) SELECT 'Ada', 'Number ' || n FROM generate_series(1, 200) AS n",
        "UPDATE employees SET emp_id = emp_id + 1000 WHERE emp_id % 7 = 0",
        "DELETE FROM employees WHERE emp_id % 5 = 0",
    )
    capture.run()
    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_TOPIC": capture.topic, "SOURCE_URL": capture.url}
    with opened("postgres_to_kafka", tmp_path, **settings) as run:
        # 200 rows, 28 keys that change, which is two changes each, and 40 deletes.
        assert run() == f"Good: 296 changes, each on {capture.topic} once and in order.\n"
        capture.query("DELETE FROM employees WHERE emp_id = 1")
        with pytest.raises(CellExecutionError, match="1 changes are not on"):
            run()


def test_the_notebook_of_mysql_to_mysql(mariadb, tmp_path):
    migration = Migration(mariadb, tmp_path)
    migration.init()
    migration.fill(made(seeded("a notebook"), 80))
    migration.run()
    settings = {
        "SOURCE_MYSQL_URL": mariadb.url,
        "SOURCE_MYSQL_DATABASE": migration.source,
        "TARGET_MYSQL_URL": mariadb.url,
        "TARGET_MYSQL_DATABASE": migration.target,
    }
    with opened("mysql_to_mysql", tmp_path, **settings) as run:
        assert run().startswith("Good: ")
        migration.change("UPDATE information_list SET publish_date = '1999-01-01'")
        with pytest.raises(CellExecutionError, match="A run would still change rows of nfsc_info_list"):
            run()


def test_the_notebook_of_read_batches(sent, tmp_path):
    with opened("read_batches", tmp_path, **sent) as run:
        assert run() == f"Good: {ROWS:,} messages, each key on one partition.\n"


def test_the_notebook_of_dlq_knows_what_is_accepted(kafka, topic, tmp_path):
    def refuse(*values: bytes | None) -> None:
        topics.send(kafka, topic, [b'{"a": 1}', *values])
        where = {"topic": topic, "bootstrap_servers": kafka.bootstrap}
        kafka_to_parquet.run(to=tmp_path / "lake", group_id=topic, until="end", **where)

    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "DLQ_TOPIC": f"{topic}_dlq"}
    refuse(b"[1, 2]", b"[3]", None)
    with opened("dlq", tmp_path, **settings, ACCEPTED="not an object, tombstone") as run:
        assert run().startswith("Good: 3 letters")
        refuse(b"no json")
        with pytest.raises(CellExecutionError, match=r"1 letters for reasons that are not accepted.*not JSON"):
            run()


def test_the_notebook_of_walmart_to_mysql(kafka, mariadb, tmp_path):
    load = Load(kafka, mariadb, tmp_path, partitions=2)
    load.init()
    some = orders.sample()[:400]
    load.send(*some, *some[:50])
    load.run()
    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_TOPIC": load.topic}
    settings |= {"MYSQL_URL": mariadb.url, "PIPELINE_CORE_DATABASE": load.database}
    with opened("walmart_to_mysql", tmp_path, **settings) as run:
        assert run().startswith("Good: 400 orders with ")
        load.query("UPDATE walmart_order_charge SET chargeAmount = chargeAmount + 0.01 LIMIT 1")
        with pytest.raises(CellExecutionError, match="stored"):
            run()


def test_the_notebook_of_cdc_to_postgres(kafka, source_postgres, target_postgres, tmp_path):
    replication = Replication.begun(kafka, source_postgres, target_postgres, tmp_path)
    replication.capture.query(
        "INSERT INTO employees (first_name, last_name, dob, city, salary)"
        " SELECT 'Ada', 'Number ' || n, DATE '1990-01-01' + n, 'Łódź', n FROM generate_series(1, 500) AS n",
        "UPDATE employees SET salary = salary + 1 WHERE emp_id % 3 = 0",
        "DELETE FROM employees WHERE emp_id % 5 = 0",
    )
    replication.work()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA_TOPIC": replication.capture.topic,
        "SOURCE_URL": replication.capture.url,
        "TARGET_URL": replication.apply.target,
    }
    with opened("cdc_to_postgres", tmp_path, **settings) as run:
        assert run().startswith("Good: the replica has the 400 rows")
        replication.apply.query("UPDATE employees SET salary = 0 WHERE emp_id = 7")
        with pytest.raises(CellExecutionError, match="differ, such as in emp_id 7"):
            run()


def test_the_notebook_of_obs_worker(kafka, s3, tmp_path):
    job = Job(kafka, s3, tmp_path, settings={"log_db": "log.db"})
    job.add(*(File(f"in/{number}", 2000 * number, ("raise",) if number == 3 else ()) for number in range(1, 13)))
    job.work()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA_TOPIC_TASKS": job.topic,
        "KAFKA_RESULT_TOPIC": job.result_topic,
        "KAFKA_GROUP_ID": job.topic,
        "LOG_DB": "log.db",
    }
    with opened("obs_worker", tmp_path, **settings) as run:
        assert run() == "Good: 12 files, a result of each.\n"
        job.send(keys=["nowhere"])
        job.work(max_attempts=1)
        with pytest.raises(CellExecutionError, match="1 files were given up, such as nowhere"):
            run()


def test_the_notebook_of_mongo_to_kafka(kafka, mongodb, tmp_path):
    feed = Feed(kafka, mongodb, tmp_path)
    feed.insert(*({"number": number} for number in range(300)), {"_id": "a"}, {"_id": 7})
    feed.run(full_amount=True)
    settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_TOPIC": feed.topic, "MONGODB_URI": mongodb.url}
    settings |= {"MONGODB_DATABASE": feed.database, "PIPELINE_CORE_COLLECTION": feed.settings["collection"]}
    with opened("mongo_to_kafka", tmp_path, **settings) as run:
        assert run().startswith("Good: 302 documents")
        feed.insert({"_id": "b"})
        with pytest.raises(CellExecutionError, match="1 documents have no message, such as b"):
            run()
