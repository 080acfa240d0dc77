"""Messages of a program's own onto a Kafka topic, each accounted for; the methods of the original `BaseKafkaProducer`.

```python
from pipeline_core import KafkaProducer

with KafkaProducer("orders") as producer:
    producer.send({"id": 1, "city": "Bogotá"}, key="1")
```
"""

import logging
import os
import warnings
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field
from pydantic_core import to_json
from typing_extensions import Self, Unpack

from pipeline_core import _core, engine, termination
from pipeline_core.config import KafkaArguments, KafkaSettings
from pipeline_core.exceptions import PipelineError
from pipeline_core.fields import Compression, Partitioner, Partitions, Replicas, Size
from pipeline_core.producer_config import translate
from pipeline_core.progress import Heartbeat

Text = str | bytes | None
Headers = Mapping[str, Text] | Iterable[tuple[str, Text]]

_CLOSE_SECONDS = 30.0
_DRAIN_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Settings(KafkaSettings):
    """Where a `KafkaProducer` sends, and how."""

    topic: Annotated[str, Field(min_length=1, description="Topic to write; created when missing.")]
    partitions: Partitions = None
    replication_factor: Replicas = None
    partitioner: Partitioner = "murmur2_random"
    compression: Compression = "gzip"
    memory_limit: Annotated[Size, Field(description="Memory for messages that are on their way.")] = 64 * 1024 * 1024


class Arguments(KafkaArguments, total=False):
    """Keyword arguments of `KafkaProducer`: the fields of `Settings`, and a settings file."""

    config_file: str | os.PathLike[str]
    partitions: int | None
    replication_factor: int | None
    partitioner: str
    compression: Compression
    memory_limit: int | str


class KafkaProducer:
    """Sends messages to a topic, in order per key and each once, though brokers go and come back; a context manager.

    A message that is not delivered raises: from a later `send`, from `flush`, or when the `with` ends. Threads may
    share it. A subclass may have `transform` and `value_serialize` of its own.

    Args:
        topic: Topic to write; created when missing.
        producer_config: Settings under kafka-python's names, as the original has them: `bootstrap_servers`,
            `compression_type`, `retries`, `acks`, `batch_size`, `linger_ms`. `acks` is always all.
        debug: Wait for each message until the brokers have it.
        **settings: Fields of `Settings` by name, e.g. `bootstrap_servers="broker:9092"`; they win over
            `producer_config`. What is set nowhere comes from the environment, `.env` and `config_file`.

    Raises:
        SettingsError: A setting is wrong.
        AccessDeniedError: The brokers refused the credentials.
        UnavailableError: No broker answers.

    Example:
        >>> from pipeline_core import EmbeddedKafka, KafkaProducer, read_batches
        >>> kafka = EmbeddedKafka()
        >>> with KafkaProducer("orders", bootstrap_servers=kafka.bootstrap_servers) as producer:
        ...     producer.send({"id": 1, "city": "Bogotá"}, key="1")
        >>> sum(batch.num_rows for batch in read_batches("orders", bootstrap_servers=kafka.bootstrap_servers))
        1
        >>> kafka.close()
    """

    topic: str
    debug: bool

    def __init__(
        self,
        topic: str,
        producer_config: Mapping[str, Any] | None = None,
        debug: bool = False,  # noqa: FBT001, FBT002 - as in the original
        **settings: Unpack[Arguments],
    ) -> None:
        self.topic = topic
        self.debug = debug
        translated = translate(producer_config or {})
        properties = {**translated.get("properties", {}), **settings.get("properties", {})}
        merged: dict[str, Any] = {"topic": topic, **translated, **settings}
        if properties:
            merged["properties"] = properties
        self._beat = Heartbeat(_core.Stop())
        document = Settings(**merged).document()
        self._producer = _opened(document)
        self._forgotten = weakref.finalize(self, _forget, self._producer, repr(self))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close(_CLOSE_SECONDS)
        except PipelineError as failure:
            # The exception of the block goes on; this one is told beside it.
            _tell(failure)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of the topic {self.topic!r}>"

    def send(
        self,
        value: object,
        key: str | bytes | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Hand a message over; it is on its way when this returns. Waits while `memory_limit` is used up.

        Args:
            value: Bytes and text as they are; a pydantic model as its JSON; all else as compact JSON, in UTF-8. None is
                a tombstone: with compaction, the topic forgets the key.
            key: Messages of one key stay in order. Without one they are spread over the partitions.
            headers: Names and values.

        Raises:
            RejectedError: It is larger than the topic takes; only this message is not sent.
            PipelineError: An earlier message was not delivered. Whatever is raised, this one was not sent.
        """
        packed = _pairs(headers) if headers else None
        self._producer.send(_encoded(value), _bytes(key, "A key"), packed, self._beat)
        if self.debug:
            self.flush()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the brokers have everything that was sent.

        Args:
            timeout: Seconds; without it, as long as it takes: a message is given up after five minutes.

        Raises:
            UnavailableError: The time is over; what is left stays on its way.
            PipelineError: A message was not delivered.
        """
        with termination.raising():
            self._producer.flush(timeout, self._beat)

    def close(self, timeout: float | None = None) -> None:
        """`flush`, then end it; to close it again does nothing.

        Args:
            timeout: Seconds after which messages are given up.

        Raises:
            PipelineError: A message was not delivered.
        """
        if not self._producer.is_open:
            return
        self._forgotten.detach()
        _close(self._producer, timeout, self._beat)

    def transform(self, document: Any) -> Any:  # noqa: ANN401 - the hook of the original; any document, any message
        """Make a message of a document; a subclass's own. This one gives the document as it is."""
        return document

    def value_serialize(self, message: Any) -> Any:  # noqa: ANN401 - the hook of the original
        """The bytes of a message for `send_message`; a subclass's own. This one leaves them to `send`."""
        return message

    def send_message(self, message: Any, key: str | bytes | None = None) -> None:  # noqa: ANN401 - any message
        """`send` what `value_serialize` makes of a message."""
        self.send(self.value_serialize(message), key)

    def flush_and_close(self, timeout: float | None = _CLOSE_SECONDS) -> None:
        """`close`, as the original calls it."""
        self.close(timeout)


def _opened(document: str) -> _core.Producer:
    opened: list[_core.Producer] = []

    def native(text: str, stop: _core.Stop, beat: Any) -> str:  # noqa: ANN401 - the engine's heartbeat
        opened.append(_core.Producer(text, stop, beat))
        return ""

    engine.run(native, document)
    return opened[0]


def _close(producer: _core.Producer, timeout: float | None, beat: Heartbeat) -> None:
    try:
        with termination.raising():
            producer.flush(timeout, beat)
    except (KeyboardInterrupt, SystemExit):
        # As in a run: the first signal drains, the second does not wait.
        _drain(producer, beat)
        raise
    finally:
        lost = producer.close()
        if lost:
            _log.error("%s messages were given up before the brokers had them", lost)


def _drain(producer: _core.Producer, beat: Heartbeat) -> None:
    try:
        producer.flush(_DRAIN_SECONDS, beat)
    except PipelineError as failure:
        _tell(failure)


def _tell(failure: PipelineError) -> None:
    _log.error("Not everything that was sent has arrived: %s", failure)


def _forget(producer: _core.Producer, name: str) -> None:
    """Of one that nobody closed, when it goes or the program ends."""
    if not producer.is_open:
        return
    warnings.warn(f"{name} was not closed; use it in a `with`", ResourceWarning, stacklevel=2)
    try:
        _close(producer, _DRAIN_SECONDS, Heartbeat(_core.Stop()))
    except PipelineError as failure:
        _tell(failure)


def _encoded(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    return to_json(value, inf_nan_mode="null")


def _pairs(headers: Headers) -> list[tuple[str, bytes | None]]:
    pairs = cast("Mapping[str, Text]", headers).items() if isinstance(headers, Mapping) else headers
    return [(name, _bytes(value, "A header")) for name, value in pairs]


def _bytes(value: object, name: str) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    message = f"{name} must be text or bytes, not {type(value).__name__}"
    raise TypeError(message)
