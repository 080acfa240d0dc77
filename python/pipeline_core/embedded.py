"""librdkafka's own broker inside this process: no service to start, for demos, notebooks and tests."""

from types import TracebackType

from typing_extensions import Self

from pipeline_core import _core

PARTITION_BYTES = _core.PARTITION_BYTES
"""Bytes that the broker keeps of one partition; `csv_to_kafka` refuses what would not fit."""


class EmbeddedKafka:
    """An in-process Kafka that keeps about 5 MiB a partition and forgets everything when closed.

    Args:
        brokers: How many brokers to play.

    Attributes:
        bootstrap_servers: Give it to a pipeline.

    Example:
        >>> with EmbeddedKafka() as kafka:  # doctest: +SKIP
        ...     kafka.create_topic("orders", partitions=12)
        ...     csv_to_kafka.run(files="orders.csv", topic="orders", bootstrap_servers=kafka.bootstrap_servers)
    """

    def __init__(self, brokers: int = 1) -> None:
        self._native = _core.EmbeddedKafka(brokers)
        self.bootstrap_servers = self._native.bootstrap_servers

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic.

        Raises:
            PipelineError: There is one of that name, or the broker is closed.
        """
        self._native.create_topic(name, partitions)

    def close(self) -> None:
        """Stop the brokers and drop their data."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
