"""The table that order lines go to, by JDBC."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyflink.datastream import DataStream
from pyflink.datastream.connectors import Sink
from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import to_jarray

from pipeline_core.flink.settings import WalmartConfig

_CONNECTOR = "org.apache.flink.connector.jdbc"
_DRIVER = "org.mariadb.jdbc.Driver"
_KEY = ("purchaseOrderId", "lineNumber")
# What says which snapshot is newer. They are set last, for an assignment sees what those before it have set.
_VERSION = ("request_time", "statusDate")
_NEWER = (
    "(COALESCE(VALUES(`statusDate`), 0), COALESCE(VALUES(`request_time`), '1000-01-01'))"
    " >= (COALESCE(`statusDate`, 0), COALESCE(`request_time`, '1000-01-01'))"
)
# Strict: nothing is cut or rounded by the server. No gap locks: instances do not wait for each other. Each server takes
# the comment that is its own.
_SESSION = (
    "time_zone='+00:00',sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    " /*M!100101 , tx_isolation='READ-COMMITTED' */ /*!50720 , transaction_isolation='READ-COMMITTED' */"
)
# The rows of a batch in one statement, which is one transaction.
_OPTIONS = {"sessionVariables": _SESSION, "rewriteBatchedStatements": "true"}
_TYPES = {"int32": "INTEGER", "int64": "BIGINT"}
# The driver cannot try TLS first.
_TLS = {
    "preferred": {},
    "disabled": {},
    "required": {"useSsl": "true", "trustServerCertificate": "true"},
    "verify_ca": {"useSsl": "true", "disableSslHostnameVerification": "true"},
    "verify_identity": {"useSsl": "true"},
}


def rows_into(config: WalmartConfig, columns: dict[str, str], rows: DataStream) -> None:
    """Write rows with these columns and types of Arrow into the table."""
    kinds = [_TYPES.get(kind, "VARCHAR") for kind in columns.values()]
    rows.sink_to(sink(config, upsert(config, list(columns)), kinds)).name("table").uid("table")


def sink(config: WalmartConfig, statement: str, kinds: Sequence[str]) -> Sink:
    """Runs a statement for each row; a batch that fails is tried again, then the job goes back to its last checkpoint.

    Args:
        config: Where, and how many rows a batch has.
        statement: With a mark for each value.
        kinds: Names of the values' types in `java.sql.Types`.
    """
    jdbc = get_gateway().jvm.org.apache.flink.connector.jdbc
    execution = (
        jdbc.JdbcExecutionOptions.builder()
        .withBatchSize(config.batch_size)
        .withBatchIntervalMs(config.batch_interval_ms)
        .withMaxRetries(config.max_retries)
        .build()
    )
    # PyFlink's own JdbcSink is for a class that this version of the connector no longer has.
    made = jdbc.core.datastream.sink.JdbcSink.builder().withQueryStatement(statement, _binding(kinds))
    return Sink(made.withExecutionOptions(execution).buildAtLeastOnce(_connection(config)))


def upsert(config: WalmartConfig, columns: list[str]) -> str:
    """The statement for one row: an older snapshot leaves what is there as it is."""
    names = ", ".join(f"`{name}`" for name in columns)
    marks = ", ".join("?" for _ in columns)
    rest = [name for name in columns if name not in {*_KEY, *_VERSION}]
    changes = [f"`{name}` = IF({_NEWER}, VALUES(`{name}`), `{name}`)" for name in (*rest, *_VERSION)]
    table = f"`{config.database}`.`{config.table}`"
    load_time = f"`load_time` = IF({_NEWER}, UTC_TIMESTAMP(), `load_time`)"
    return (
        f"INSERT INTO {table} ({names}, `load_time`) VALUES ({marks}, UTC_TIMESTAMP())"  # noqa: S608 - names are checked by the settings
        f" ON DUPLICATE KEY UPDATE {', '.join([load_time, *changes])}"
    )


def _connection(config: WalmartConfig):  # noqa: ANN202 - Java's
    address = urlsplit(config.mysql_url or "")
    host = address.hostname or config.mysql_host
    port = address.port or (3306 if config.mysql_url else config.mysql_port)
    user = unquote(address.username or "") or config.mysql_user
    password = unquote(address.password or "")
    if not config.mysql_url and config.mysql_password:
        password = config.mysql_password.get_secret_value()
    options = {**_OPTIONS, **_TLS[config.mysql_tls]}
    if config.mysql_ca_location:
        # Sent along: no other machine needs the file.
        options["serverSslCert"] = Path(config.mysql_ca_location).read_text(encoding="utf-8")
    shown = f"[{host}]" if ":" in host else host
    builder = get_gateway().jvm.org.apache.flink.connector.jdbc.JdbcConnectionOptions.JdbcConnectionOptionsBuilder()
    builder = builder.withUrl(f"jdbc:mariadb://{shown}:{port}/{config.database}").withDriverName(_DRIVER)
    builder = builder.withUsername(user).withPassword(password)
    for name, value in {**options, **config.jdbc_properties}.items():
        builder = builder.withProperty(name, value)
    return builder.build()


def _binding(kinds: Sequence[str]):  # noqa: ANN202 - Java's
    """What puts a row into the statement. The connector keeps the one for rows to itself."""
    gateway = get_gateway()
    jvm = gateway.jvm
    numbers = to_jarray(jvm.int, [getattr(jvm.java.sql.Types, kind) for kind in kinds])
    loader = jvm.Thread.currentThread().getContextClassLoader()
    owner = jvm.Class.forName(f"{_CONNECTOR}.internal.RowJdbcOutputFormat", False, loader)  # noqa: FBT003 - Java
    argument = to_jarray(jvm.Class, [to_jarray(jvm.int, []).getClass()])
    maker = owner.getDeclaredMethod("createRowJdbcStatementBuilder", argument)
    maker.setAccessible(True)
    return maker.invoke(None, to_jarray(jvm.Object, [numbers]))
