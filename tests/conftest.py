"""Fixtures for the real servers: the environment's where it names them, else ours, started when a test first asks.

A server that cannot be installed here skips its tests, except in CI, where it fails them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from tests.services.environment import (
    POSTGRES_SOURCE,
    POSTGRES_TARGET,
    S3_NO_PRECONDITIONS,
    named_gcs,
    named_kafka,
    named_kafka_sasl,
    named_mariadb,
    named_mongodb,
    named_postgres,
    named_s3,
)
from tests.services.gcs import Gcs, start_gcs
from tests.services.install import ServiceUnavailableError
from tests.services.kafka import Broker, Kafka, KafkaSasl, start_kafka
from tests.services.mariadb import Mariadb, start_mariadb
from tests.services.mongodb import Mongodb, start_mongodb, start_mongodb_secured
from tests.services.postgres import Postgres, start_postgres
from tests.services.s3 import S3, start_s3, start_s3_without_preconditions
from tests.services.s3_memory import start_s3_memory
from tests.services.walmart_api import WalmartApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# How fast examples are made and judged is the machine's business, which the other worker keeps busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


class _TellsFailures:
    """Says of a test that fails which one and why as soon as it does: the summary comes after an hour, or never."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            why = (report.longreprtext.strip() or "no reason").splitlines()[-3:]
            self._terminal.ensure_newline()
            self._terminal.write_line(f"{report.nodeid} failed in {report.when}: " + " / ".join(why)[-600:])
            self._terminal.flush()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only where the results come together: the workers of xdist have no terminal."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(_TellsFailures(terminal))


@contextmanager
def _skipped_if_unavailable() -> Iterator[None]:
    try:
        yield
    except ServiceUnavailableError as missing:
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def our_broker() -> Iterator[Broker]:
    """A broker of ours for the whole session; tests ask for `kafka` or `kafka_sasl` instead."""
    with _skipped_if_unavailable():
        broker = start_kafka()
    with broker.server:
        yield broker


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Kafka:
    """A real Kafka broker, without encryption or login. Shared: tests that stop or kill one take `own_kafka`."""
    return named_kafka() or request.getfixturevalue("our_broker").plain


@pytest.fixture(scope="session")
def kafka_sasl(request: pytest.FixtureRequest) -> KafkaSasl:
    """A real Kafka broker's SASL_SSL listener."""
    return named_kafka_sasl() or request.getfixturevalue("our_broker").sasl


@pytest.fixture
def own_kafka() -> Iterator[Broker]:
    """A broker for this test alone, to be stopped, killed, frozen and restarted."""
    with _skipped_if_unavailable():
        broker = start_kafka()
    with broker.server:
        yield broker


@pytest.fixture
def topic(kafka: Kafka) -> str:
    """A fresh topic of one partition on `kafka`; for more, `kafka.new_topic(partitions)`."""
    return kafka.new_topic()


@pytest.fixture(scope="session")
def our_s3() -> Iterator[S3]:
    """An S3 store of ours for the whole session; tests ask for `s3` instead."""
    with _skipped_if_unavailable():
        store = start_s3()
    with store.server:
        yield store


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest) -> S3:
    """A real S3 store that keeps `If-None-Match: *` atomic."""
    return named_s3() or request.getfixturevalue("our_s3")


@pytest.fixture(scope="session")
def s3_without_preconditions(request: pytest.FixtureRequest) -> Iterator[S3]:
    """An S3 store that silently ignores `If-None-Match`."""
    named = named_s3(S3_NO_PRECONDITIONS)
    if named:
        yield named
        return
    front = start_s3_without_preconditions(request.getfixturevalue("our_s3"))
    with front.server:
        yield front


@pytest.fixture(scope="session")
def s3_memory() -> Iterator[S3]:
    """The S3 server of the benchmark, which checks nothing."""
    with _skipped_if_unavailable():
        store = start_s3_memory()
    with store.server:
        yield store


@pytest.fixture
def bucket(s3: S3) -> str:
    """A fresh bucket in `s3`."""
    return s3.new_bucket()


@pytest.fixture(scope="session")
def gcs(request: pytest.FixtureRequest) -> Iterator[Gcs]:
    """A look-alike of GCS."""
    named = named_gcs()
    if named:
        yield named
        return
    server = start_gcs(request.getfixturevalue("our_s3"))
    with server.server:
        yield server


@pytest.fixture
def gcs_bucket(gcs: Gcs) -> str:
    """A fresh bucket in `gcs`."""
    return gcs.new_bucket()


@pytest.fixture(scope="session")
def our_mariadb() -> Iterator[Mariadb]:
    """A MariaDB of ours for the whole session; tests ask for `mariadb` instead."""
    with _skipped_if_unavailable():
        database = start_mariadb()
    with database.server:
        yield database


@pytest.fixture(scope="session")
def mariadb(request: pytest.FixtureRequest) -> Mariadb:
    """A real MariaDB. Shared: tests that stop or kill one take `own_mariadb`."""
    return named_mariadb() or request.getfixturevalue("our_mariadb")


@pytest.fixture
def own_mariadb() -> Iterator[Mariadb]:
    """A MariaDB for this test alone, to be stopped, killed, frozen and restarted."""
    with _skipped_if_unavailable():
        database = start_mariadb()
    with database.server:
        yield database


@pytest.fixture(scope="session")
def our_mongodb() -> Iterator[Mongodb]:
    """A MongoDB of ours for the whole session; tests ask for `mongodb` instead."""
    with _skipped_if_unavailable():
        database = start_mongodb()
    with database.server:
        yield database


@pytest.fixture(scope="session")
def mongodb(request: pytest.FixtureRequest) -> Mongodb:
    """A MongoDB look-alike, without encryption or login. Shared: tests that stop or kill one take `own_mongodb`."""
    return named_mongodb() or request.getfixturevalue("our_mongodb")


@pytest.fixture(scope="session")
def mongodb_secured() -> Iterator[Mongodb]:
    """Another, with TLS and a login."""
    with _skipped_if_unavailable():
        database = start_mongodb_secured()
    with database.server:
        yield database


@pytest.fixture
def own_mongodb() -> Iterator[Mongodb]:
    """A MongoDB for this test alone, to be stopped, killed, frozen and restarted."""
    with _skipped_if_unavailable():
        database = start_mongodb()
    with database.server:
        yield database


@pytest.fixture(scope="session")
def source_postgres() -> Iterator[Postgres]:
    """A real PostgreSQL that changes are read from. Shared: tests that stop or kill one take `own_postgres`."""
    yield from _shared_postgres(POSTGRES_SOURCE, "postgres_source")


@pytest.fixture(scope="session")
def target_postgres() -> Iterator[Postgres]:
    """Another, that changes are brought to."""
    yield from _shared_postgres(POSTGRES_TARGET, "postgres_target")


def _shared_postgres(name: str, folder: str) -> Iterator[Postgres]:
    named = named_postgres(name)
    if named:
        yield named
        return
    with _skipped_if_unavailable():
        cluster = start_postgres(folder)
    with cluster.server:
        yield cluster


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL for this test alone, to be stopped, killed, frozen and restarted."""
    with _skipped_if_unavailable():
        cluster = start_postgres()
    with cluster.server:
        yield cluster


@pytest.fixture
def walmart_api() -> Iterator[Callable[..., WalmartApi]]:
    """Starts a look-alike of Walmart's API with these orders and quirks, for this test."""
    with ExitStack() as running:
        yield lambda *orders, **quirks: running.enter_context(WalmartApi(*orders, **quirks))
