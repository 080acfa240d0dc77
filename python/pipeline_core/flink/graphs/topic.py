"""Kafka as Flink sees it: the topic that is read, and the topic of dead letters."""

from pathlib import Path

from pyflink.common import Row, Types
from pyflink.datastream import DataStream, OutputTag
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, TableDescriptor
from pyflink.table.expressions import col

from pipeline_core.flink.settings import JobSettings

# Where the connector's jar keeps Kafka's own client.
_CLIENT = "org.apache.flink.kafka.shaded.org.apache.kafka"
_LOGINS = {"PLAIN": "plain.PlainLoginModule"}
_SCRAM = "scram.ScramLoginModule"

_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
_LETTER = Types.ROW_NAMED(["key", "body", "headers"], [_BYTES, _BYTES, Types.MAP(Types.STRING(), _BYTES)])

LETTERS = OutputTag("dead_letters", _LETTER)
"""Where a function puts what it refuses."""

MESSAGE = ("key", "body", "partition", "offset", "headers")
"""The fields of a message."""


def messages(config: JobSettings, tables: StreamTableEnvironment) -> DataStream:
    """The messages of the topic, from the group's offsets on, with the fields of `MESSAGE`."""
    schema = (
        Schema.new_builder()
        .column("key", DataTypes.BYTES())
        .column("body", DataTypes.BYTES())
        .column_by_metadata("partition", DataTypes.INT().not_null(), is_virtual=True)
        .column_by_metadata("offset", DataTypes.BIGINT().not_null(), is_virtual=True)
        .column_by_metadata("headers", DataTypes.MAP(DataTypes.STRING().not_null(), DataTypes.BYTES().not_null()))
        .build()
    )
    topic = _topic(config, config.topic, schema).option("scan.startup.mode", "group-offsets")
    topic = topic.option("properties.group.id", config.group_id)
    topic = topic.option("properties.auto.offset.reset", config.auto_offset_reset)
    if config.until == "end":
        topic = topic.option("scan.bounded.mode", "latest-offset")
    return tables.to_data_stream(tables.from_descriptor(topic.build()).select(*map(col, MESSAGE)))


def bury(config: JobSettings, tables: StreamTableEnvironment, letters: DataStream) -> None:
    """Send dead letters to their topic, which is made if it is not there."""
    name = dead_letter_topic(config)
    _make(config, name)
    schema = (
        Schema.new_builder()
        .column("key", DataTypes.BYTES())
        .column("body", DataTypes.BYTES())
        .column_by_metadata("headers", DataTypes.MAP(DataTypes.STRING(), DataTypes.BYTES()))
        .build()
    )
    sink = _topic(config, name, schema).option("sink.delivery-guarantee", "at-least-once").build()
    statements = tables.create_statement_set()
    statements.add_insert(sink, tables.from_data_stream(letters))
    statements.attach_as_datastream()


def letter(message: Row, body: bytes | None, reason: str, *, pipeline: str, topic: str) -> Row:
    """A dead letter as all pipelines write them."""
    headers = dict(message.headers or {})
    told = {
        "__connect.errors.exception.message": reason,
        "__connect.errors.topic": topic,
        "__connect.errors.partition": str(message.partition),
        "__connect.errors.offset": str(message.offset),
        "pipeline_core.pipeline": pipeline,
    }
    headers |= {name: text.encode() for name, text in told.items()}
    return Row(message.key, body, headers)


def dead_letter_topic(config: JobSettings) -> str:
    """The name of the topic for refused messages."""
    return config.dead_letter_topic or f"{config.topic}_dlq"


def properties(config: JobSettings) -> dict[str, str]:
    """The settings as Kafka's Java client has them. Certificates are sent along: no other machine needs the files."""
    found = {"bootstrap.servers": config.bootstrap_servers}
    if config.security_protocol:
        found["security.protocol"] = config.security_protocol
    if config.sasl_mechanism:
        found["sasl.mechanism"] = config.sasl_mechanism
    if config.sasl_username and config.sasl_password:
        mechanism = config.sasl_mechanism or "PLAIN"
        module = f"{_CLIENT}.common.security.{_LOGINS.get(mechanism, _SCRAM)}"
        login = {"username": config.sasl_username, "password": config.sasl_password.get_secret_value()}
        told = " ".join(f"{name}={_quoted(value)}" for name, value in login.items())
        found |= {"sasl.mechanism": mechanism, "sasl.jaas.config": f"{module} required {told};"}
    if config.ssl_ca_location:
        found["ssl.truststore.type"] = "PEM"
        found["ssl.truststore.certificates"] = Path(config.ssl_ca_location).read_text(encoding="utf-8")
    if config.ssl_certificate_location and config.ssl_key_location:
        found["ssl.keystore.type"] = "PEM"
        found["ssl.keystore.certificate.chain"] = Path(config.ssl_certificate_location).read_text(encoding="utf-8")
        found["ssl.keystore.key"] = Path(config.ssl_key_location).read_text(encoding="utf-8")
    if config.ssl_key_password:
        found["ssl.key.password"] = config.ssl_key_password.get_secret_value()
    return {**found, **config.properties}


def _topic(config: JobSettings, name: str, schema: Schema) -> TableDescriptor.Builder:
    topic = TableDescriptor.for_connector("kafka").schema(schema).format("raw")
    options = {"topic": name, "key.format": "raw", "key.fields": "key", "value.fields-include": "EXCEPT_KEY"}
    for option, value in options.items():
        topic = topic.option(option, value)
    for option, value in properties(config).items():
        topic = topic.option(f"properties.{option}", value)
    return topic


def _make(config: JobSettings, name: str) -> None:
    """Make a topic with as many partitions and replicas as the broker gives one by default."""
    jvm = get_gateway().jvm
    settings = jvm.java.util.Properties()
    for option, value in properties(config).items():
        settings.setProperty(option, value)
    client = _class(f"{_CLIENT}.clients.admin.AdminClient").create(settings)
    try:
        if name not in set(client.listTopics().names().get()):
            nothing = jvm.java.util.Optional.empty()
            topic = _class(f"{_CLIENT}.clients.admin.NewTopic")(name, nothing, nothing)
            client.createTopics(jvm.java.util.Collections.singletonList(topic)).all().get()
    finally:
        client.close()


def _class(name: str):  # noqa: ANN202 - py4j's
    found = get_gateway().jvm
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _quoted(text: str) -> str:
    """Text as a value in the settings of a login."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
