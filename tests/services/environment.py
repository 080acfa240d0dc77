"""The environment names by which tests and servers find each other, and everything started at once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from .gcs import Gcs, start_gcs
from .kafka import Broker, Kafka, KafkaSasl, start_kafka
from .mariadb import Mariadb, start_mariadb
from .mongodb import Mongodb, start_mongodb
from .postgres import Postgres, start_postgres
from .s3 import S3, start_s3, start_s3_without_preconditions

if TYPE_CHECKING:
    from collections.abc import Generator

KAFKA = "PIPELINE_CORE_TEST_KAFKA"
KAFKA_SASL = "PIPELINE_CORE_TEST_KAFKA_SASL"
KAFKA_CA = "PIPELINE_CORE_TEST_KAFKA_CA"
KAFKA_USER = "PIPELINE_CORE_TEST_KAFKA_USER"
KAFKA_PASSWORD = "PIPELINE_CORE_TEST_KAFKA_PASSWORD"
S3_URL = "PIPELINE_CORE_TEST_S3"
S3_KEY = "PIPELINE_CORE_TEST_S3_KEY"
S3_SECRET = "PIPELINE_CORE_TEST_S3_SECRET"
S3_NO_PRECONDITIONS = "PIPELINE_CORE_TEST_S3_NO_PRECONDITIONS"
GCS = "PIPELINE_CORE_TEST_GCS"
MYSQL = "PIPELINE_CORE_TEST_MYSQL"
MYSQL_CA = "PIPELINE_CORE_TEST_MYSQL_CA"
MONGODB = "PIPELINE_CORE_TEST_MONGODB"
POSTGRES_SOURCE = "PIPELINE_CORE_TEST_POSTGRES_SOURCE"
POSTGRES_SOURCE_CA = "PIPELINE_CORE_TEST_POSTGRES_SOURCE_CA"
POSTGRES_TARGET = "PIPELINE_CORE_TEST_POSTGRES_TARGET"
POSTGRES_TARGET_CA = "PIPELINE_CORE_TEST_POSTGRES_TARGET_CA"


def named_kafka() -> Kafka | None:
    """The broker that the environment names."""
    bootstrap = os.environ.get(KAFKA)
    return Kafka(bootstrap) if bootstrap else None


def named_kafka_sasl() -> KafkaSasl | None:
    """The SASL_SSL listener that the environment names."""
    bootstrap = os.environ.get(KAFKA_SASL)
    if not bootstrap:
        return None
    ca, user, password = (os.environ[name] for name in (KAFKA_CA, KAFKA_USER, KAFKA_PASSWORD))
    return KafkaSasl(bootstrap, ca=ca, user=user, password=password)


def named_s3(name: str = S3_URL) -> S3 | None:
    """The S3 store that the environment names."""
    url = os.environ.get(name)
    return S3(url, os.environ[S3_KEY], os.environ[S3_SECRET]) if url else None


def named_gcs() -> Gcs | None:
    """The GCS server that the environment names."""
    url = os.environ.get(GCS)
    return Gcs(url) if url else None


def named_mariadb() -> Mariadb | None:
    """The database server that the environment names."""
    url = os.environ.get(MYSQL)
    return Mariadb(url, os.environ[MYSQL_CA]) if url else None


def named_mongodb() -> Mongodb | None:
    """The MongoDB that the environment names."""
    url = os.environ.get(MONGODB)
    return Mongodb(url) if url else None


def named_postgres(name: str) -> Postgres | None:
    """The PostgreSQL cluster that the environment names, `POSTGRES_SOURCE` or `POSTGRES_TARGET`."""
    url = os.environ.get(name)
    return Postgres(url, os.environ[f"{name}_CA"]) if url else None


@contextmanager
def everything() -> Generator[dict[str, str], None, None]:
    """All servers, started side by side; the environment that names them."""
    with ExitStack() as running, ThreadPoolExecutor() as pool:
        starting = pool.submit(start_kafka)
        clusters = [pool.submit(start_postgres, name) for name in ("postgres_source", "postgres_target")]
        try:
            mariadb = start_mariadb()
            running.callback(mariadb.server.close)
            mongodb = start_mongodb()
            running.callback(mongodb.server.close)
            s3 = start_s3()
            running.callback(s3.server.close)
            without = start_s3_without_preconditions(s3)
            running.callback(without.server.close)
            gcs = start_gcs(s3)
            running.callback(gcs.server.close)
            source, target = (cluster.result() for cluster in clusters)
        finally:
            for cluster in clusters:
                if not cluster.exception():
                    running.callback(cluster.result().server.close)
            broker = starting.result()
            running.callback(broker.server.close)
        yield {
            **_names(broker, s3, without, gcs),
            MYSQL: mariadb.url,
            MYSQL_CA: mariadb.ca,
            MONGODB: mongodb.url,
            POSTGRES_SOURCE: source.url,
            POSTGRES_SOURCE_CA: source.ca,
            POSTGRES_TARGET: target.url,
            POSTGRES_TARGET_CA: target.ca,
        }


def _names(broker: Broker, s3: S3, without: S3, gcs: Gcs) -> dict[str, str]:
    return {
        KAFKA: broker.plain.bootstrap,
        KAFKA_SASL: broker.sasl.bootstrap,
        KAFKA_CA: broker.sasl.ca,
        KAFKA_USER: broker.sasl.user,
        KAFKA_PASSWORD: broker.sasl.password,
        S3_URL: s3.url,
        S3_KEY: s3.key,
        S3_SECRET: s3.secret,
        S3_NO_PRECONDITIONS: without.url,
        GCS: gcs.url,
    }
