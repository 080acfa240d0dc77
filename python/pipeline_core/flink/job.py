"""Jobs before they are in Flink: what they do, and where they are to run."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from typing_extensions import Unpack

from pipeline_core import engine, termination
from pipeline_core.exceptions import SettingsError
from pipeline_core.flink.settings import (
    PLACE,
    JobSettings,
    ParquetArguments,
    ParquetConfig,
    WalmartArguments,
    WalmartConfig,
)

_GRAPHS = "pipeline_core.flink.graphs"


@dataclass(frozen=True)
class Job:
    """A job that Flink can run.

    Attributes:
        name: What Flink calls it.
        config: Its settings.
    """

    name: str
    config: JobSettings

    def build(self, environment: Any) -> None:  # noqa: ANN401 - PyFlink may not be installed
        """Add the job to an environment of your own.

        Checkpoints, parallelism and restarts are as the environment has them.

        Args:
            environment: A `pyflink.datastream.StreamExecutionEnvironment`.

        Raises:
            PipelineError: Flink could not make it.
        """
        _graph("cluster").build(self, environment)

    def run(self) -> float:
        """Run it on this machine, in a cluster of one process, and wait until it has ended.

        Ctrl-C and SIGTERM cancel it: the next run goes on from the last checkpoint's offsets.

        Returns:
            Seconds that the job ran, without the start of Java.

        Raises:
            SettingsError: PyFlink, Java or the jars of a connector are missing.
            PipelineError: The job has failed.
            KeyboardInterrupt: Ctrl-C.
            SystemExit: SIGTERM (143).
        """
        with termination.raising():
            seconds: float = _graph("cluster").run(self)
        return seconds

    def submit(self) -> str:
        """Send it to the cluster at `jobmanager`; it goes on without this process.

        Returns:
            The job's id.

        Raises:
            SettingsError: PyFlink, Java or the jars of a connector are missing.
            PipelineError: The cluster could not be reached or refused the job.
        """
        job_id: str = _graph("cluster").submit(self)
        return job_id


def walmart_job(config: WalmartConfig | None = None, **settings: Unpack[WalmartArguments]) -> Job:
    """Walmart's orders from a topic into the table of their lines, by way of Flink.

    It goes on from the offsets that the group has committed. An older snapshot of an order never replaces a newer one,
    so that what is read again changes nothing. Orders that are refused go to the dead-letter topic. Make the table
    with `pipeline_core.walmart_to_mysql.init_db`.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        **settings: Fields of `WalmartConfig` by name, e.g. `mysql_host="db", parallelism=2`.

    Raises:
        SettingsError: A setting is missing or wrong.

    Example:
        >>> from pipeline_core import flink
        >>> flink.walmart_job(mysql_host="db", jars="jars").submit()  # doctest: +SKIP
        '5f0a7fd1f5f9a3ac0e4cb67e1d5d1d6b'
    """
    return Job("walmart_orders", engine.configured(WalmartConfig, config, settings))


def parquet_job(config: ParquetConfig | None = None, **settings: Unpack[ParquetArguments]) -> Job:
    """Any topic of JSON into Parquet files, by way of Flink and its own file sink.

    A message is a row with the columns of `columns`, or as many rows as a function of yours gives; beside them stand
    `topic`, `partition` and `offset`. Messages that are refused go to the dead-letter topic. `pipeline_core.validate`
    reads the folder.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        **settings: Fields of `ParquetConfig` by name, e.g. `to="s3://lake/orders", columns={"id": "int64"}`.

    Raises:
        SettingsError: A setting is missing or wrong.

    Example:
        >>> from pipeline_core import flink
        >>> flink.parquet_job(topic="orders", to="./lake", columns={"id": "int64"}, jars="jars").run()  # doctest: +SKIP
    """
    config = engine.configured(ParquetConfig, config, settings)
    if not config.columns:
        message = "Setting 'columns' is missing"
        raise SettingsError(message, "Name the columns of the files and their types, as id=int64.")
    if taken := sorted(PLACE & config.columns.keys()):
        message = f"Setting 'columns': {', '.join(taken)} would stand there twice"
        raise SettingsError(message, "The files have topic, partition and offset of each message in any case.")
    return Job("json_to_parquet", config)


def _graph(name: str) -> Any:  # noqa: ANN401 - a module
    """A module that needs PyFlink."""
    if find_spec("pyflink") is None:
        message = "PyFlink is not installed in this Python"
        raise SettingsError(message, "pip install 'pipeline-core[flink]', in an environment of its own.")
    return import_module(f"{_GRAPHS}.{name}")
