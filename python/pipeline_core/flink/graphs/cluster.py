"""Flink itself: environments, how a job gets into one, and what its errors mean."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.pyflink_gateway_server import _find_flink_home
from pyflink.table import StreamTableEnvironment

from pipeline_core.exceptions import NotFoundError, PipelineError, SettingsError, UnavailableError
from pipeline_core.flink.job import Job
from pipeline_core.flink.settings import JobSettings

_GRAPHS = {"flink_walmart": "orders", "flink_parquet": "documents"}
_JARS = "docs/flink.md tells which jars of Maven's a job needs; name their folder with jars (--jars)."
_REST_PORT = 8081


def build(job: Job, environment: StreamExecutionEnvironment) -> None:
    """Add a job to an environment."""
    graph: Any = import_module(f"pipeline_core.flink.graphs.{_GRAPHS[job.config.pipeline]}")
    with _explained():
        environment.add_jars(*jars(job.config))
        tables = StreamTableEnvironment.create(environment)
        graph.build(job.config, tables)


def run(job: Job) -> float:
    """Run a job in this machine's own small cluster until it has ended; cancel it when this is broken off.

    Returns:
        Seconds that it ran.
    """
    with _explained():
        environment = StreamExecutionEnvironment.get_execution_environment(configuration(job))
    build(job, environment)
    with _explained():
        client = environment.execute_async(job.name)
        try:
            return client.get_job_execution_result().result().get_net_runtime() / 1000
        except (KeyboardInterrupt, SystemExit):
            client.cancel().result()
            raise


def submit(job: Job) -> str:
    """Send a job to a cluster; its id."""
    cluster = urlsplit(f"//{job.config.jobmanager.rpartition('://')[2]}")
    with _explained():
        options = configuration(job)
        options.set_string("execution.target", "remote")
        options.set_string("rest.address", cluster.hostname or "localhost")
        options.set_string("rest.port", str(cluster.port or _REST_PORT))
        # The JVM's own way to an environment from Python takes no other target than this machine.
        java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
        environment = StreamExecutionEnvironment(java(options._j_configuration))  # noqa: SLF001 - there is no other door
        # What runs Python functions stands beside Flink's own libraries, and not among them.
        environment.add_jars(*(path.as_uri() for path in Path(_find_flink_home(), "opt").glob("flink-python*.jar")))
    build(job, environment)
    with _explained():
        return str(environment.execute_async(job.name).get_job_id())


def configuration(job: Job) -> Configuration:
    """The options of Flink's that the settings stand for."""
    config = job.config
    strategy = f"restart-strategy.{config.restart}"
    delay = f"{round(config.restart_delay_seconds * 1000)}ms"
    python = config.python or sys.executable
    options = {
        "pipeline.name": job.name,
        "parallelism.default": str(config.parallelism),
        "execution.checkpointing.interval": f"{round(config.checkpoint_seconds * 1000)}ms",
        "restart-strategy.type": config.restart,
        "python.client.executable": sys.executable,
        "python.executable": python,
    }
    # Fifteen seconds; Flink would try for a minute.
    options["rest.retry.max-attempts"] = "5"
    if config.checkpoint_dir:
        options["execution.checkpointing.dir"] = url(config.checkpoint_dir)
    if config.savepoint:
        options["execution.state-recovery.path"] = url(config.savepoint)
    if config.restart == "fixed-delay":
        options |= {f"{strategy}.attempts": str(config.restart_attempts), f"{strategy}.delay": delay}
    if config.restart == "exponential-delay":
        attempts = str(config.restart_attempts)
        options |= {f"{strategy}.attempts-before-reset-backoff": attempts, f"{strategy}.initial-backoff": delay}
    found = Configuration()
    for name, value in {**options, **config.flink_properties}.items():
        found.set_string(name, value)
    return found


def jars(config: JobSettings) -> list[str]:
    """The URLs of the jars; a folder stands for all that are in it."""
    found: list[str] = []
    for place in config.jars:
        if urlsplit(place).scheme:
            found.append(place)
            continue
        path = Path(place).resolve()
        files = sorted(path.glob("*.jar")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            message = f"There are no jars at {place}"
            raise NotFoundError(message, _JARS)
        found += [file.as_uri() for file in files]
    return found


def url(place: str) -> str:
    """A folder of this machine as Flink names it; URLs as they are, also those of Flink's own, as `file:/folder`."""
    return place if urlsplit(place).scheme else Path(place).resolve().as_uri()


@contextmanager
def _explained() -> Generator[None]:
    """Errors of Java's as ours."""
    try:
        yield
    except Py4JJavaError as error:
        raise _meaning(error.java_exception) from error
    except FileNotFoundError as error:
        message = f"Java is not there: {error}"
        raise SettingsError(message, "Install Java 17, or say where it is with JAVA_HOME.") from error
    except TypeError as error:
        # py4j takes a class that is not there for a package.
        if "'JavaPackage' object" not in str(error):
            raise
        message = "A connector's jar is missing"
        raise SettingsError(message, _JARS) from error


def _meaning(thrown: Any) -> PipelineError:  # noqa: ANN401 - an exception of Java's
    causes = [thrown]
    while (cause := causes[-1].getCause()) is not None:
        causes.append(cause)
    names = {cause.getClass().getName() for cause in causes}
    text = str(causes[-1].getMessage() or causes[-1].toString()).strip().splitlines()[0]
    if any("ClassNotFound" in name or "NoClassDef" in name for name in names):
        return SettingsError(f"Flink misses a class: {text}", _JARS)
    if any("ConnectException" in name or "UnknownHost" in name for name in names):
        return UnavailableError(f"Flink's cluster does not answer: {text}", "Check jobmanager, and that it runs.")
    return PipelineError(f"Flink: {text}", "Flink's log tells more.")
