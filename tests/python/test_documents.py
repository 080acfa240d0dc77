"""Every command and snippet of README and docs/ runs, page by page and in the page's order, against the real servers.

What a page tells to type is typed, with the servers of the tests in place of the page's addresses, and must end with 0.
What runs until it is stopped gets SIGTERM after a while, must drain and end with 143. A block that begins with the name
of a file as a comment is that file. What begins as in `ONLY_PARSED` is not typed here; like all else it is parsed by
`tests/architecture/test_readme.py`. README.zh-CN.md has README's blocks, word for word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import psycopg
import pytest
from tests.architecture.pages import CHINESE, PAGES, Block, blocks
from tests.python.support import children, topics
from tests.python.support.migrations import Migration, made
from tests.python.support.walks import Walk
from tests.services.kafka import Broker, start_kafka
from tests.services.process import free_ports
from tests.services.walmart_api import WalmartApi
from tests.services.walmart_orders import orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.services.mariadb import Mariadb
    from tests.services.mongodb import Mongodb
    from tests.services.postgres import Postgres
    from tests.services.s3 import S3

ONLY_PARSED = {
    "make demo": "it builds the wheel that is under test; tests/python/test_demo.py runs the demo",
    "pip install .": "the same",
    "pip install 'pipeline-core[": "extras of the wheel, which the tests have already",
    "kafka-console-consumer.sh": "a program of Kafka's own",
    "docker compose": "there is no Docker here; tests/deploy reads these files",
    "python3.11 -m venv flink": "PyFlink has an environment of its own; tests/flink runs the jobs there",
    "mvn ": "the same",
    "flink stop": "the same",
    "pipeline-core flink": "the same",
    "from pipeline_core import flink": "the same",
    "from pipeline_core.airflow": "Airflow has an environment of its own; tests/airflow runs the DAGs there",
}
DOCS = "docs/pipelines/"
# Pages of one walk go on where the one before ended: the topics and tables of one are what the next one reads.
WALKS = {
    "rows": ("README.md",),
    "csv": (f"{DOCS}csv-to-kafka.md",),
    "lake": (f"{DOCS}kafka-to-parquet.md",),
    "rules": ("docs/validation.md",),
    "plan": ("docs/several.md",),
    "python": ("docs/settings.md", "docs/python.md", "docs/kafka-producer.md", "docs/operations.md"),
    "files": (f"{DOCS}bucket-to-kafka.md", f"{DOCS}obs-worker.md"),
    "orders": (f"{DOCS}walmart-to-kafka.md", f"{DOCS}walmart-to-mysql.md", "docs/walmart-orders.md"),
    "changes": (f"{DOCS}postgres-to-kafka.md", f"{DOCS}cdc-to-postgres.md", "docs/dead-letters.md"),
    "documents": (f"{DOCS}mongo-to-kafka.md",),
    "items": (f"{DOCS}mysql-to-mysql.md",),
    "flink": ("docs/flink.md",),
}
# Walks that would meet on one topic have their own.
TOPIC = ("--topic orders", 'topic="orders"', 'topic = "orders"', 'read_batches("orders"', 'KafkaProducer("orders"')
GROUP = ("--group-id orders-lake", 'group_id="orders-lake"', 'group_id = "orders-lake"')
EMPLOYEE = {"emp_id": 1235, "emp_FN": "Cy", "emp_LN": "Lee", "emp_dob": "2020-13-45", "emp_city": None, "emp_salary": 1}
REFUSED = {"action_id": 1235, **EMPLOYEE, "action": "INSERT"}


@dataclass
class Servers:
    """What the pages talk to."""

    broker: Broker
    s3: S3
    mariadb: Mariadb
    source: Postgres
    target: Postgres
    mongodb: Mongodb
    walmart: WalmartApi

    def __post_init__(self) -> None:
        self.buckets = [self.s3.new_bucket() for _ in range(3)]
        self.source_url = self.source.url_of(self.source.new_database())
        self.target_url = self.target.url_of(self.target.new_database())
        self.collections = self.mongodb.new_database()
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self.broker.plain.bootstrap,
            "AWS_ENDPOINT_URL": self.s3.url,
            "AWS_REGION": self.s3.region,
            "AWS_ACCESS_KEY_ID": self.s3.key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret,
            "AWS_ALLOW_HTTP": "true",
            "PIPELINE_CORE_OBS_VIRTUAL_HOSTED": "false",
            "MYSQL_URL": self.mariadb.url,
            "MYSQL_DATABASE": self.mariadb.new_database(),
            "WALMART_TOKEN": self.walmart.token,
            "WALMART_BASE_URL": self.walmart.url,
        }

    def places(self, walk: str, items: Migration) -> dict[str, str]:
        """What stands in the pages, and what is typed in its place."""
        day = datetime.now(timezone.utc) - timedelta(days=3)
        sasl = self.broker.sasl
        mongodb = f"{self.mongodb.url.rstrip('/')}/{self.collections}"
        return {
            **{name: name.replace("orders", f"orders-{walk}") for name in (*TOPIC, *GROUP)},
            "localhost:9092": self.broker.plain.bootstrap,
            "broker.example.com:9094": sasl.bootstrap,
            "KAFKA_SASL_USERNAME=me": f"KAFKA_SASL_USERNAME={sasl.user}",
            "KAFKA_SASL_PASSWORD=…": f"KAFKA_SASL_PASSWORD={sasl.password}",
            "KAFKA_SSL_CA_LOCATION=ca.pem": f"KAFKA_SSL_CA_LOCATION={sasl.ca}",
            "https://obs.example.com": self.s3.url,
            "OBS_REGION=region-1": f"OBS_REGION={self.s3.region}",
            "OBS_ACCESS_KEY=…": f"OBS_ACCESS_KEY={self.s3.key}",
            "OBS_SECRET_KEY=…": f"OBS_SECRET_KEY={self.s3.secret}",
            "input-files": self.buckets[0],
            "processed-files": self.buckets[1],
            "s3://my-bucket": f"s3://{self.buckets[2]}",
            "mysql://loader:…@db:3306": self.mariadb.url,
            "mysql://root:password@localhost:3306": self.mariadb.url,
            "--mysql-ca-location ca.pem": f"--mysql-ca-location {self.mariadb.ca}",
            "mysql://reader:…@old:3306/info": f"{self.mariadb.url}/{items.source}",
            "mysql://root:password@old:3306/info": f"{self.mariadb.url}/{items.source}",
            "mysql://writer:…@new:3306/nfsc": f"{self.mariadb.url}/{items.target}",
            "mysql://root:password@new:3306/nfsc": f"{self.mariadb.url}/{items.target}",
            "postgresql://reader:…@db-1:5432/postgres": self.source_url,
            "postgresql://postgres:password@localhost:5432/postgres": self.source_url,
            "postgresql://writer:…@db-2:5433/postgres": self.target_url,
            "postgresql://postgres:password@localhost:5433/postgres": self.target_url,
            "mongodb://reader:…@db-1:27017/raw_data_temp": mongodb,
            "mongodb://localhost:27017/raw_data_temp": mongodb,
            "WALMART_TOKEN=…": f"WALMART_TOKEN={self.walmart.token}",
            "2025-11-11T08:00:00Z": f"{day:%Y-%m-%d}T08:00:00Z",
            "2025-11-12T08:00:00Z": f"{day + timedelta(days=1):%Y-%m-%d}T08:00:00Z",
            "20251111": f"{day:%Y%m%d}",
            "--metrics-port 9401": f"--metrics-port {free_ports(1)[0]}",
        }

    def put_files(self, _: Path) -> None:
        """Files in the bucket that is listed."""
        for key in ("data/1.csv", "data/2.csv", "data/2026-11-02/3.csv", "urgent/data.csv"):
            self.s3.client().put_object(Bucket=self.buckets[0], Key=key, Body=b"value\n1\n2\n")

    def put_rows(self, _: Path) -> None:
        """The other table of the page, which its user has."""
        with psycopg.connect(self.source_url, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA sales")
            connection.execute(
                "CREATE TABLE sales.orders (order_id bigint, line smallint, price numeric(10,2) NOT NULL,"
                " placed timestamptz, PRIMARY KEY (order_id, line))"
            )
            connection.execute("INSERT INTO sales.orders VALUES (1, 1, 9.90, now()), (1, 2, 0.10, NULL)")

    def put_letter(self, folder: Path) -> None:
        """A change that is refused, and is a dead letter by then."""
        topics.send(self.broker.plain, "bf_employee_cdc", [json.dumps(REFUSED).encode()], key=b"1235")
        settings = {"bootstrap_servers": self.broker.plain.bootstrap, "until": "end"}
        environment = {"TARGET_URL": self.target_url}
        with children.Child(folder, "cdc-to-postgres", environment=environment, **settings) as applying:
            assert applying.wait().code == 0

    def put_documents(self, _: Path) -> None:
        """Documents in the collections of the page."""
        now = datetime.now(timezone.utc)
        with self.mongodb.client() as client:
            database = client[self.collections]
            database["raw_information_list_temp"].insert_many([{"info_name": "a"} for _ in range(9)])
            database["orders"].insert_many([{"state": "open", "updated_at": now} for _ in range(9)])
            database["articles"].insert_many([{"title": {"zh": "题目"}, "date": "日期 2026-01-31"} for _ in range(9)])


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """The names of the pages are on no other test's topics."""
    broker = start_kafka()
    with broker.server:
        yield broker


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory, broker, s3, mariadb, source_postgres, target_postgres, mongodb
) -> Iterator[dict[str, Future[list[str]]]]:
    begin = datetime.now(timezone.utc) - timedelta(days=4)
    with WalmartApi(orders(60, begin, days=4)) as walmart:
        servers = Servers(broker, s3, mariadb, source_postgres, target_postgres, mongodb, walmart)
        items = Migration(mariadb, tmp_path_factory.mktemp("items"))
        items.init()
        items.fill(made(children.seeded("items of the page"), 20))
        before: dict[str, Callable[[Path], object]] = {
            f"{DOCS}bucket-to-kafka.md": servers.put_files,
            f"{DOCS}mongo-to-kafka.md": servers.put_documents,
            f"{DOCS}postgres-to-kafka.md": servers.put_rows,
            "docs/dead-letters.md": servers.put_letter,
        }

        def walk(name: str) -> list[str]:
            folder, places = tmp_path_factory.mktemp(name), servers.places(name, items)
            return Walk(folder, places, servers.environment, before, tuple(ONLY_PARSED)).through(*WALKS[name])

        yield from children.side_by_side(walk, WALKS)


@pytest.mark.parametrize("name", WALKS)
def test_what_the_pages_say_to_type_works(walked, name):
    assert walked[name].result()


def is_typed(block: Block) -> bool:
    """Whether something of a block is not only parsed; of Python the first line tells."""
    lines = block.lines()[:1] if block.language == "python" else block.lines()
    return not all(line.startswith(tuple(ONLY_PARSED)) for line in lines)


def test_every_page_with_something_to_type_is_walked_through():
    typed = {page for page in PAGES if any(is_typed(block) for block in blocks(page, "sh", "python"))}
    assert typed - {CHINESE} == {page for pages in WALKS.values() for page in pages}


def test_what_is_only_parsed_is_there():
    lines = [line for page in PAGES for block in blocks(page, "sh", "python") for line in block.lines()]
    assert not [begin for begin in ONLY_PARSED if not any(line.startswith(begin) for line in lines)]
