"""Airflow connections become the settings of pipelines: each shape as its provider has it, secrets masked."""

from __future__ import annotations

import json

import pytest

SECRET = "s3cret-of-mine"
KEY = {"type": "service_account", "private_key": f"-----BEGIN {SECRET}-----\nx\n", "client_email": "a@b.example"}
TO_KAFKA = {"conn_type": "kafka", "extra": {"bootstrap.servers": "k-1:9092,k-2:9092"}}
PLACE = {"to": "s3://lake", "topic": "orders"}

# pipeline, role, connection, settings of the task, block of the document (None: its top), what must stand there
SHAPES = {
    "kafka": (
        "kafka_to_parquet",
        "kafka",
        {
            "conn_type": "kafka",
            "extra": {
                "bootstrap.servers": "k-1:9093",
                "security.protocol": "sasl_ssl",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": "me",
                "sasl.password": SECRET,
                "ssl.ca.location": "/ca.pem",
                "group.id": "of-the-connection",
                "enable.auto.commit": True,
                "socket.keepalive.enable": True,
            },
        },
        PLACE,
        "kafka",
        {
            "bootstrap_servers": "k-1:9093",
            "security_protocol": "SASL_SSL",
            "sasl_username": "me",
            "sasl_password": SECRET,
            "ssl_ca_location": "/ca.pem",
            "properties": {"sasl.mechanism": "SCRAM-SHA-512", "socket.keepalive.enable": "true"},
        },
    ),
    "kafka, its group": (
        "kafka_to_parquet",
        "kafka",
        {
            "conn_type": "kafka",
            "extra": {"bootstrap.servers": "k:9092", "group.id": "g", "auto.offset.reset": "latest"},
        },
        PLACE,
        None,
        {"group_id": "g", "auto_offset_reset": "latest", "topic": "orders"},
    ),
    "kafka, for a producer": (
        "csv_to_kafka",
        "kafka",
        {
            "conn_type": "kafka",
            "extra": {"bootstrap.servers": "k:9092", "group.id": "g", "auto.offset.reset": "latest"},
        },
        {"files": "a.csv"},
        "kafka",
        {"bootstrap_servers": "k:9092", "properties": {}},
    ),
    "aws": (
        "kafka_to_parquet",
        "s3",
        {"conn_type": "aws", "login": "id", "password": SECRET, "extra": {"region_name": "eu-west-1"}},
        PLACE,
        "store",
        {"s3_access_key_id": "id", "s3_secret_access_key": SECRET, "s3_region": "eu-west-1", "s3_endpoint": None},
    ),
    "aws, in its extra": (
        "verify",
        "s3",
        {
            "conn_type": "aws",
            "extra": {
                "aws_access_key_id": "id",
                "aws_secret_access_key": SECRET,
                "aws_session_token": f"{SECRET}-2",
                "endpoint_url": "https://all.example",
                "service_config": {"s3": {"endpoint_url": "http://minio:9000"}},
            },
        },
        PLACE,
        "store",
        {
            "s3_access_key_id": "id",
            "s3_secret_access_key": SECRET,
            "s3_session_token": f"{SECRET}-2",
            "s3_endpoint": "http://minio:9000",
            "allow_http": True,
        },
    ),
    "obs": (
        "obs_worker",
        "obs",
        {"conn_type": "aws", "login": "id", "password": SECRET, "extra": {"endpoint_url": "https://obs.example"}},
        {},
        "store",
        {"obs_access_key_id": "id", "obs_secret_access_key": SECRET, "obs_endpoint": "https://obs.example"},
    ),
    "google, a path": (
        "kafka_to_parquet",
        "gcs",
        {"conn_type": "google_cloud_platform", "extra": {"extra__google_cloud_platform__key_path": __file__}},
        PLACE,
        "store",
        {"gcs_credentials_path": __file__},
    ),
    "mysql": (
        "walmart_to_mysql",
        "mysql",
        {
            "conn_type": "mysql",
            "host": "db",
            "port": 3307,
            "login": "me",
            "password": SECRET,
            "schema": "shop",
            "extra": {"charset": "utf8mb4", "ssl": {"ca": "/ca.pem"}},
        },
        {},
        "mysql",
        {
            "mysql_host": "db",
            "mysql_port": 3307,
            "mysql_user": "me",
            "mysql_password": SECRET,
            "mysql_tls": "verify_ca",
            "mysql_ca_location": "/ca.pem",
        },
    ),
    "mysql, its schema": (
        "walmart_to_mysql",
        "mysql",
        {"conn_type": "mysql", "host": "db", "schema": "shop"},
        {},
        None,
        {"database": "shop"},
    ),
    "mysql, of a migration": (
        "mysql_to_mysql",
        "target",
        {"conn_type": "mysql", "host": "db", "login": "me", "password": SECRET, "extra": {"ssl_mode": "REQUIRED"}},
        {},
        "target",
        {"host": "db", "port": 3306, "user": "me", "password": SECRET, "database": "nfsc", "tls": "required"},
    ),
    "postgres": (
        "cdc_to_postgres",
        "target",
        {
            "conn_type": "postgres",
            "host": "db",
            "port": 5432,
            "login": "me",
            "password": SECRET,
            "schema": "hr",
            "extra": {"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
        },
        {},
        "target",
        {
            "host": "db",
            "port": 5432,
            "user": "me",
            "password": SECRET,
            "database": "hr",
            "tls": "verify_identity",
            "ca_location": "/ca.pem",
        },
    ),
    "mongo": (
        "mongo_to_kafka",
        "mongodb",
        {
            "conn_type": "mongo",
            "host": "m-1,m-2",
            "port": 27017,
            "login": "me@here",
            "password": f"{SECRET}/",
            "schema": "raw",
            "extra": {"srv": False, "ssl": True, "authSource": "admin", "replicaSet": "rs0"},
        },
        {"topic": "t"},
        "mongodb",
        {
            "uri": f"mongodb://me%40here:{SECRET}%2F@m-1,m-2:27017/raw?authSource=admin&replicaSet=rs0&tls=true",
            "database": "raw",
        },
    ),
    "walmart": (
        "walmart_to_kafka",
        "walmart",
        {"conn_type": "http", "host": "https://api.example/v3", "login": "id", "password": SECRET},
        {},
        "walmart",
        {"base_url": "https://api.example/v3", "client_id": "id", "client_secret": SECRET, "walmart_token": None},
    ),
    "walmart, a token": (
        "walmart_to_kafka",
        "walmart",
        {"conn_type": "generic", "password": SECRET, "extra": {"account_tag": "mine"}},
        {},
        "walmart",
        {"walmart_token": SECRET, "account_tag": "mine", "base_url": "https://marketplace.walmartapis.com/v3"},
    ),
}


def made(airflow, pipeline, role, connection, given):
    return airflow.ask("settings", pipeline=pipeline, conn_ids={role: "c"}, given=given, connections={"c": connection})


@pytest.mark.parametrize("shape", SHAPES)
def test_a_connection_sets_what_it_says_and_its_secrets_are_masked(airflow, shape):
    pipeline, role, connection, given, block, expected = SHAPES[shape]
    answer = made(airflow, pipeline, role, connection, given)
    assert "error" not in answer, answer
    document = answer["document"]
    found = document if block is None else document[block]
    assert {name: found[name] for name in expected} == expected
    assert SECRET not in answer["logged"]
    assert (SECRET in json.dumps(connection)) == ("***" in answer["logged"])


@pytest.mark.parametrize("held", [KEY, json.dumps(KEY)])
def test_a_key_that_a_connection_holds_is_a_file_while_it_is_needed(airflow, held):
    connection = {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": held}}
    answer = made(airflow, "kafka_to_parquet", "gcs", connection, PLACE)
    assert json.loads(answer["key"]["text"]) == KEY
    assert answer["key"]["mode"] == "0o100600"
    assert answer["is_gone"]


def test_what_the_task_says_wins_and_none_leaves_it_to_others(airflow):
    given = {**PLACE, "bootstrap_servers": "mine:9092", "group_id": None, "properties": {"a": "1"}}
    connection = {"conn_type": "kafka", "extra": {"bootstrap.servers": "k:9092", "group.id": "g", "b": 2}}
    document = made(airflow, "kafka_to_parquet", "kafka", connection, given)["document"]
    assert document["kafka"]["bootstrap_servers"] == "mine:9092"
    assert document["kafka"]["properties"] == {"a": "1", "b": "2"}
    assert document["group_id"] == "g"


@pytest.mark.parametrize(
    ("pipeline", "role", "connection", "message"),
    [
        ("kafka_to_parquet", "mysql", {"conn_type": "mysql"}, "has no connection 'mysql'; it has kafka, s3, gcs, obs"),
        ("kafka_to_parquet", "kafka", {"conn_type": "aws"}, "is of type 'aws', and kafka needs kafka"),
        ("kafka_to_parquet", "kafka", {"conn_type": "kafka"}, "has no bootstrap.servers"),
        ("kafka_to_parquet", "s3", {"conn_type": "aws", "extra": {"role_arn": "arn:x"}}, "has role_arn"),
        ("obs_worker", "obs", {"conn_type": "aws"}, "has no endpoint_url"),
        ("cdc_to_postgres", "target", {"conn_type": "mysql"}, "needs postgres"),
        ("cdc_to_postgres", "target", {"conn_type": "postgres", "extra": {"sslmode": "maybe"}}, "has sslmode maybe"),
        ("mysql_to_mysql", "source", {"conn_type": "mysql", "extra": {"unix_socket": "/s"}}, "has unix_socket"),
        (
            "mongo_to_kafka",
            "mongodb",
            {"conn_type": "mongo", "extra": {"allow_insecure": "true"}},
            "has allow_insecure",
        ),
        ("csv_to_nowhere", "kafka", TO_KAFKA, "There is no pipeline 'csv_to_nowhere'"),
        ("engine", "kafka", TO_KAFKA, "There is no pipeline 'engine'"),
    ],
)
def test_what_a_pipeline_cannot_do_is_refused(airflow, pipeline, role, connection, message):
    assert message in made(airflow, pipeline, role, connection, {})["error"]
