"""The engine. Every blocking call detaches from the interpreter and raises the classes of `exceptions`."""

from collections.abc import Callable
from typing import Any, Final, final

from typing_extensions import CapsuleType, Self

__version__: Final[str]

PARTITION_BYTES: Final[int]
"""Bytes that the embedded broker keeps of one partition."""

@final
class Stop:
    """A stop token: set once from any thread, seen by the run that was given it, which then drains and ends."""

    def __init__(self) -> None: ...
    def set(self) -> None:
        """Ask the run to stop."""

    def is_set(self) -> bool:
        """Whether a stop was asked for."""

def csv_to_kafka(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def kafka_to_parquet(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def bucket_to_kafka(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def list_tasks(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """List the tasks that `bucket_to_kafka` would send if none had been sent; a JSON list of tasks."""

def send_tasks(config: str, tasks: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Send a JSON list of tasks with the settings of `bucket_to_kafka`; the report is a JSON document."""

def obs_worker(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Work off tasks; the settings and the report are JSON documents."""

def queue_length(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Count the tasks that a group of workers has not finished; settings and answer are JSON documents."""

def walmart_to_kafka(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def walmart_to_mysql(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def init_walmart_to_mysql(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Create or migrate the tables of `walmart_to_mysql`; a JSON document of what was done."""

def postgres_to_kafka(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def init_postgres_to_kafka(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Create the tables and triggers of `postgres_to_kafka`; a JSON document of what was done."""

def cdc_to_postgres(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def init_cdc_to_postgres(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Create the tables of `cdc_to_postgres`; a JSON document of what was done."""

def mongo_to_kafka(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one transfer; the settings and the report are JSON documents."""

def mongo_cursor(
    config: str, action: str, value: str | None, stop: Stop, beat: Callable[[str], object] | None = None
) -> str:
    """Show, set or reset the cursor of `mongo_to_kafka`; a JSON document of what it holds then."""

def mysql_to_mysql(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Run one migration; the settings and the report are JSON documents."""

def init_mysql_to_mysql(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Create the tables of `mysql_to_mysql`; a JSON document of what was done."""

def dlq_show(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Count the letters of a dead-letter topic; settings and answer are JSON documents."""

def dlq_replay(config: str, trial: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Send dead letters again, or try them against the pipelines of a JSON object of settings; a JSON document."""

def verify(config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Compare the objects in a place with the topic; the report is a JSON document."""

def check(pipeline: str, config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str:
    """Try what a pipeline needs, moving nothing; a JSON list of `{"name", "ok", "detail", "hint"}`."""

@final
class RecordBatch:
    """Rows in Arrow's columnar form, taken without a copy through the Arrow PyCapsule interface."""

    @property
    def num_rows(self) -> int:
        """Rows in this batch."""

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dicts of int, str, Decimal, naive datetime and None."""

    def __arrow_c_array__(self, requested_schema: CapsuleType | None = None) -> tuple[CapsuleType, CapsuleType]: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...
    def __arrow_c_schema__(self) -> CapsuleType: ...

@final
class BatchReader:
    """An iterator of record batches, itself an Arrow stream."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> RecordBatch: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...
    def __arrow_c_schema__(self) -> CapsuleType: ...
    def close(self) -> None:
        """Leave the topic; iterating on raises StopIteration."""

def read_batches(config: str) -> BatchReader:
    """Open a topic as Arrow record batches."""

@final
class OrderReader:
    """Orders of Walmart's API, a window of time at a time; the settings of the API and the range are JSON documents."""

    def __new__(cls, config: str, request: str) -> Self: ...
    def next(self, stop: Stop, beat: Callable[[str], object] | None = None) -> str | None:
        """Fetch the orders of the next whole window, a JSON list of them as the API sent them; None at the end."""

    def order(self, purchase_order_id: str, stop: Stop, beat: Callable[[str], object] | None = None) -> str | None:
        """Fetch one order as the API sends it; None if there is no such order."""

def parse_walmart_orders(
    documents: list[bytes | str], table: str, options: str
) -> tuple[RecordBatch, list[tuple[int, str, str, str]]]:
    """Parse orders into the rows of a table; those refused have document, path, reason and their own JSON text."""

@final
class Producer:
    """Sends messages to one topic; what is not delivered is kept until a call raises it."""

    def __new__(cls, config: str, stop: Stop, beat: Callable[[str], object] | None = None) -> Self: ...
    def send(
        self,
        value: bytes | None,
        key: bytes | None = None,
        headers: list[tuple[str, bytes | None]] | None = None,
        beat: Callable[[str], object] | None = None,
    ) -> None:
        """Hand a message over; wait while too much is on its way. When it raises, this message was not sent."""

    def flush(self, timeout: float | None = None, beat: Callable[[str], object] | None = None) -> None:
        """Wait until all is acknowledged; raise what was not delivered, and that the seconds are over."""

    def close(self) -> int:
        """End it without waiting; how many messages were not acknowledged."""

    @property
    def is_open(self) -> bool:
        """Whether it was made in this process and has not been closed."""

@final
class EmbeddedKafka:
    """librdkafka's in-process broker: for tests and demos, it forgets all when closed."""

    def __new__(cls, brokers: int = 1) -> Self: ...
    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect, as `host:port[,host:port]`."""

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic."""

    def close(self) -> None:
        """Stop the brokers and drop their data."""
