"""Apache Kafka: one process that is broker and controller (KRaft), with a plain and a SASL_SSL listener."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .install import installed, run_tool
from .process import Endpoint, Server, free_ports, log_says, temporary_folder
from .tls import make_certificates

if TYPE_CHECKING:
    from collections.abc import Sequence

USER = "pipeline"
PASSWORD = "pipeline-secret"
CLUSTER_ID = "cGlwZWxpbmVfY29yZS10MQ"
POM = Path(__file__).parent / "kafka" / "pom.xml"
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
JVM = ("-Xmx768m", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
)
# Relative to the installed folder, so that the class archive still fits when the folder has been renamed.
CLASSPATH = ("-cp", "jars/*")
ARCHIVE = "classes.jsa"
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_{user}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
auto.create.topics.enable=false
broker.heartbeat.interval.ms=400
broker.session.timeout.ms=2000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=500
offsets.topic.num.partitions=5
offsets.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


@dataclass(frozen=True)
class Kafka(Endpoint):
    """A broker that tests talk to, ours or the environment's."""

    bootstrap: str

    def properties(self) -> dict[str, str]:
        """The librdkafka properties of a client that reaches this broker."""
        return {"bootstrap.servers": self.bootstrap}

    def new_topic(self, partitions: int = 1, **config: str) -> str:
        """Create a topic with a name nobody had before; its name. `config` is the topic's, with `_` for `.`."""
        from confluent_kafka.admin import AdminClient, NewTopic

        name = f"t-{uuid.uuid4().hex[:12]}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        admin = AdminClient({**self.properties(), "log_level": 4})
        admin.create_topics([topic])[name].result(timeout=30)
        return name


@dataclass(frozen=True)
class KafkaSasl(Kafka):
    """The SASL_SSL listener; SCRAM-SHA-512 and PLAIN work with the same user and password."""

    ca: str
    user: str
    password: str = field(repr=False)
    mechanism: str = "SCRAM-SHA-256"

    def properties(self) -> dict[str, str]:
        """The librdkafka properties of a client that reaches this broker and may log in."""
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": self.ca,
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.user,
            "sasl.password": self.password,
        }


@dataclass(frozen=True)
class Broker:
    """A running broker of ours, seen through either listener."""

    server: Server
    plain: Kafka
    sasl: KafkaSasl


def start_kafka() -> Broker:
    """Install what is missing and start a broker without topics; `broker.server.close()` ends it."""
    program = install_kafka()
    folder = temporary_folder("kafka")
    ports = free_ports(3)
    make_certificates(folder)
    shutil.copytree(program / "formatted", folder / "data")
    server = _server(program, folder, ports, f"-XX:SharedArchiveFile={ARCHIVE}")
    server.start()
    plain, sasl = (f"127.0.0.1:{port}" for port in ports[:2])
    ca = str(folder / "ca.pem")
    return Broker(
        server, Kafka(plain, _server=server), KafkaSasl(sasl, ca=ca, user=USER, password=PASSWORD, _server=server)
    )


def install_kafka() -> Path:
    """The folder with the jars, a formatted empty data folder, and an archive of loaded classes that halves a start."""
    return installed("kafka", "\n".join([POM.read_text(), CLUSTER_ID, USER, PASSWORD, *JVM]), _build)


def _build(program: Path) -> None:
    run_tool("mvn", "-B", "-f", str(POM), COPY_JARS, f"-DoutputDirectory={program}/jars", directory=program)
    folder = temporary_folder("kafka-install")
    make_certificates(folder)
    server = _server(program, folder, free_ports(3), f"-XX:ArchiveClassesAtExit={ARCHIVE}")
    users = [f"--add-scram={kind}=[name={USER},password={PASSWORD}]" for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
    storage = (*CLASSPATH, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", f"{folder}/server.properties")
    run_tool("java", *storage, *users, directory=program)
    shutil.copytree(folder / "data", program / "formatted")
    with server:
        server.start()
        server.stop()


def write_settings(folder: Path, ports: Sequence[int]) -> Path:
    """Write `folder/server.properties` for a broker with these plain, SASL_SSL and controller ports."""
    plain, sasl, controller = ports
    settings = folder / "server.properties"
    names = {"plain": plain, "sasl": sasl, "controller": controller, "user": USER, "password": PASSWORD}
    settings.write_text(SETTINGS.format(folder=folder, **names))
    return settings


def _server(program: Path, folder: Path, ports: Sequence[int], archive: str) -> Server:
    settings = write_settings(folder, ports)
    command = ["java", *JVM, *LOGGING, archive, *CLASSPATH, "kafka.Kafka", str(settings)]
    return Server("kafka", command, folder, log_says("Kafka Server started"), directory=program)
