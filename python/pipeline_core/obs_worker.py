"""Tasks of a topic worked off: each file downloaded, parsed, its result uploaded, and a notice sent.

```python
from pipeline_core import obs_worker

obs_worker.run(dest_bucket="processed-files", parser="my_module:create_parser", processes=8)
```
"""

import json
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, TypeAdapter
from typing_extensions import Unpack, override

from pipeline_core import _core, engine, parser_setup
from pipeline_core.config import TASK_TOPIC, KafkaArguments, KafkaSettings, StoreArguments, StoreSettings
from pipeline_core.fields import Metavar, Place, Scheme, Seconds, Share, Size, Until
from pipeline_core.layers import Env
from pipeline_core.metrics import MetricsArguments, MetricsSettings
from pipeline_core.parser_setup import Parser
from pipeline_core.progress import OnLines, OnProgress
from pipeline_core.report import Report
from pipeline_core.worker_status import Queue, Status

_GIB = 1024**3
_QUEUE = TypeAdapter(Queue)


class Config(KafkaSettings, StoreSettings, MetricsSettings):
    """What `obs_worker` does, and with what."""

    pipeline: ClassVar[str] = "obs_worker"

    topic: Annotated[str, Field(min_length=1, description="Topic with the tasks."), Env("KAFKA_TOPIC_TASKS")] = (
        TASK_TOPIC
    )
    result_topic: Annotated[
        str,
        Field(min_length=1, description="Topic for the notices; created when missing."),
        Env("KAFKA_RESULT_TOPIC"),
    ] = "file-processing-results"
    group_id: Annotated[
        str,
        Field(min_length=1, description="Consumer group; workers of one group share the tasks."),
        Env("KAFKA_GROUP_ID"),
    ] = "obs-workers"
    send_results: Annotated[bool, Field(description="Send a notice for each file."), Env("KAFKA_ENABLE_PRODUCER")] = (
        True
    )
    auto_offset_reset: Annotated[
        Literal["earliest", "latest"], Field(description="Where a new group starts."), Env("KAFKA_AUTO_OFFSET_RESET")
    ] = "latest"
    session_timeout_seconds: Annotated[
        Seconds,
        Field(description="Silence after which the group takes a worker for dead."),
        Env("KAFKA_SESSION_TIMEOUT_MS", form="{}ms"),
    ] = 10
    heartbeat_seconds: Annotated[
        Seconds,
        Field(description="Pause between two signs of life to the group."),
        Env("KAFKA_HEARTBEAT_INTERVAL_MS", form="{}ms"),
    ] = 3
    max_poll_interval_seconds: Annotated[
        Seconds,
        Field(description="Pause between two polls at most; parsers may take longer, for they do not hold up polling."),
        Env("KAFKA_MAX_POLL_INTERVAL_MS", form="{}ms"),
    ] = 300
    max_poll_records: Annotated[
        int,
        Field(gt=0, description="Tasks taken from the topic and not finished, at most."),
        Env("KAFKA_MAX_POLL_RECORDS"),
    ] = 500
    enable_auto_commit: Annotated[
        bool,
        Field(description="Of no effect: offsets are always committed together with the result."),
        Env("KAFKA_ENABLE_AUTO_COMMIT"),
    ] = True
    auto_commit_interval_seconds: Annotated[
        Seconds, Field(description="Of no effect, as above."), Env("KAFKA_AUTO_COMMIT_INTERVAL_MS", form="{}ms")
    ] = 5
    scheme: Annotated[Scheme, Field(description="Where buckets without a scheme are.")] = "obs"
    source_bucket: Annotated[
        str | None,
        Metavar("BUCKET"),
        Field(min_length=1, description="Bucket of the files whose task names none."),
        Env("OBS_SOURCE_BUCKET"),
    ] = None
    dest_bucket: Annotated[
        str | None,
        Metavar("BUCKET"),
        Field(min_length=1, description="Bucket for the results where the task names none; else the file's own."),
        Env("OBS_DEST_BUCKET"),
    ] = None
    output_suffix: Annotated[
        str, Field(description="Put behind the file's key for the result's, where the task has no dest_key.")
    ] = ".parsed.json"
    download_dir: Annotated[
        Place, Metavar("DIR"), Field(min_length=1, description="Folder for files in work."), Env("OBS_DOWNLOAD_DIR")
    ] = "./work/downloads"
    upload_dir: Annotated[
        Place, Metavar("DIR"), Field(min_length=1, description="Folder for results in work."), Env("OBS_UPLOAD_DIR")
    ] = "./work/uploads"
    processes: Annotated[int, Field(ge=1, le=32, description="Processes that parse."), Env("POOL_SIZE")] = 4
    parser: Annotated[
        str,
        BeforeValidator(parser_setup.checked),
        Metavar("PARSER"),
        Field(description="default, csv, json or jsonl, or module:factory of your own."),
        Env("DBC_FACTORY"),
    ] = "default"
    cleanup_files: Annotated[
        bool, Field(description="Delete the local files of a finished task."), Env("CLEANUP_FILES")
    ] = True
    cleanup_on_error: Annotated[
        bool, Field(description="Delete those of a failed task, too."), Env("CLEANUP_ON_ERROR")
    ] = False
    task_timeout: Annotated[Seconds, Field(description="How long one parse may take.")] = 3600
    task_memory: Annotated[Size, Field(description="Memory of one parser process.")] = 2 * _GIB
    task_output: Annotated[Size, Field(description="Largest file that a parser may write.")] = 5 * _GIB
    max_attempts: Annotated[int, Field(ge=1, le=15, description="How often a task is tried.")] = 3
    retry_seconds: Annotated[
        Seconds, Field(description="Pause before the second attempt; doubles each time, up to 30 s.")
    ] = 1
    concurrency: Annotated[int, Field(ge=1, le=1024, description="Files in work at once.")] = 32
    changed_files: Annotated[
        Literal["process", "fail"], Field(description="What to do with a file that has changed since its task.")
    ] = "process"
    until: Annotated[
        Until,
        Field(
            description="When to end: end (of what the topic holds at the start), stopped (by a signal), a duration"
            " such as 10m, or a count such as 500rows."
        ),
    ] = "stopped"
    drain_seconds: Annotated[Seconds, Field(description="How long running parsers may go on after a stop.")] = 8
    dead_letter_topic: Annotated[
        str | None, Field(description="Topic for tasks given up; without it, the topic's name and _dlq.")
    ] = None
    max_rejected_share: Annotated[Share, Field(description="Fail when a larger share of the tasks is given up.")] = 0.5
    memory_limit: Annotated[Size, Field(description="Memory for everything that is buffered.")] = 256 * 1024 * 1024
    disk_limit: Annotated[Size | None, Field(description="Bytes of local files at once.")] = None
    log_db: Annotated[
        Place | None, Metavar("FILE"), Field(description="SQLite file for a log of what was processed.")
    ] = None

    @override
    def document(self) -> str:
        own = {
            "parser_command": parser_setup.command(self.parser),
            "parser_setup": parser_setup.of_name(self.parser),
        }
        return json.dumps({**json.loads(super().document()), **own}, ensure_ascii=False)


class Arguments(KafkaArguments, StoreArguments, MetricsArguments, total=False):
    """Keyword arguments of `run` and `arun`: the fields of `Config`, and a settings file."""

    config_file: str | os.PathLike[str]
    topic: str
    result_topic: str
    group_id: str
    send_results: bool
    auto_offset_reset: Literal["earliest", "latest"]
    session_timeout_seconds: float | str
    heartbeat_seconds: float | str
    max_poll_interval_seconds: float | str
    max_poll_records: int
    enable_auto_commit: bool
    auto_commit_interval_seconds: float | str
    scheme: Scheme
    source_bucket: str | None
    dest_bucket: str | None
    output_suffix: str
    download_dir: str | os.PathLike[str]
    upload_dir: str | os.PathLike[str]
    processes: int
    cleanup_files: bool
    cleanup_on_error: bool
    task_timeout: float | str
    task_memory: int | str
    task_output: int | str
    max_attempts: int
    retry_seconds: float | str
    concurrency: int
    changed_files: Literal["process", "fail"]
    until: str
    drain_seconds: float | str
    dead_letter_topic: str | None
    max_rejected_share: float
    memory_limit: int | str
    disk_limit: int | str | None
    log_db: str | os.PathLike[str] | None


def run(
    config: Config | None = None,
    *,
    parser: str | Parser | None = None,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """Work off the tasks of a topic until `until`: each gives one result object and one notice.

    Parsers run in processes of their own; one that raises, crashes, hangs or takes too much costs its task an
    attempt. Tasks that fail `max_attempts` times go to the dead-letter topic. Ctrl-C, SIGTERM and `stop` end the run
    after the running parsers, which have `drain_seconds` for that; what they do not finish is done by the next worker.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        parser: `"default"`, `"csv"`, `"json"`, `"jsonl"`, `"module:factory"`, or a parser itself: something to call
            with the paths of the file and of the result, or an object with such a method `parse`. It is sent to other
            processes with cloudpickle.
        on_progress: Called about ten times a second with the counts so far; raising from it stops the run.
        stop: Set it from another thread to end the run early with a report.
        **settings: Fields of `Config` by name, e.g. `dest_bucket="processed", processes=8`.

    Returns:
        `rows_read` tasks taken, `rows_written` results and `rows_rejected` tasks given up.

    Raises:
        SettingsError: A setting is missing or wrong, or the parser cannot be sent or loaded; nothing was done.
        RejectedError: More tasks were given up than `max_rejected_share`.
        PipelineError: Anything else; see `retryable` and `hint`.
        KeyboardInterrupt: Ctrl-C, after the drain.
        SystemExit: SIGTERM (143), after the drain.

    Example:
        >>> from pipeline_core import obs_worker
        >>> def count(input_path, output_path):
        ...     return {"lines": len(input_path.read_bytes().splitlines())}
        >>> obs_worker.run(parser=count, until="end").rows_written  # doctest: +SKIP
        1000
    """
    config, document = _prepared(config, parser, settings)
    with _log_of(config) as on_lines:
        report = engine.run(_core.obs_worker, document, stop=stop, on_progress=on_progress, on_lines=on_lines)
    return Report.from_json(report)


async def arun(
    config: Config | None = None,
    *,
    parser: str | Parser | None = None,
    on_progress: OnProgress | None = None,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Report:
    """`run` without blocking the event loop. Cancelling it drains first, then raises CancelledError.

    `on_progress` is called on the event loop's thread.

    Example:
        >>> report = await obs_worker.arun(parser="csv", until="end")  # doctest: +SKIP
    """
    config, document = _prepared(config, parser, settings)
    with _log_of(config) as on_lines:
        report = await engine.arun(_core.obs_worker, document, stop=stop, on_progress=on_progress, on_lines=on_lines)
    return Report.from_json(report)


def status(
    config: Config | None = None,
    *,
    queue: bool = True,
    stop: _core.Stop | None = None,
    **settings: Unpack[Arguments],
) -> Status:
    """How the workers of a group are doing: the length of the queue, and what the processing log says.

    Args:
        config: All settings at once; otherwise they come from `settings`, the environment, `.env` and `config_file`.
        queue: Whether to ask Kafka for the length of the queue.
        stop: Set it from another thread to end early.
        **settings: Fields of `Config` by name; `log_db` is the processing log to read, `topic` and `group_id` say
            whose queue it is.

    Raises:
        SettingsError: A setting is wrong, or `log_db` is no processing log.
        NotFoundError: There is no such log or topic.
        PipelineError: Kafka or the log could not be read.

    Example:
        >>> obs_worker.status(log_db="processing_log.db").queue.tasks  # doctest: +SKIP
        0
    """
    config = engine.configured(Config, config, settings)
    log = None
    if config.log_db:
        from pipeline_core.processing_log import summary  # noqa: PLC0415 - some builds of Python have no sqlite3

        log = summary(config.log_db)
    length = _QUEUE.validate_json(engine.run(_core.queue_length, config.document(), stop=stop)) if queue else None
    return Status(length, log)


def _prepared(config: Config | None, parser: str | Parser | None, settings: Arguments) -> tuple[Config, str]:
    """The settings, and the engine's document with the parser in it."""
    if isinstance(parser, str):
        return (config := engine.configured(Config, config, {**settings, "parser": parser})), config.document()
    config = engine.configured(Config, config, settings)
    if parser is None:
        return config, config.document()
    name = parser_setup.title(parser)
    own: dict[str, Any] = {
        "parser": name,
        "parser_command": parser_setup.command(name),
        "parser_setup": parser_setup.of_object(parser),
    }
    return config, json.dumps({**json.loads(config.document()), **own}, ensure_ascii=False)


def _log_of(config: Config) -> AbstractContextManager[OnLines | None]:
    """What writes the processing log; nothing when there is none."""
    if not config.log_db:
        return nullcontext()
    from pipeline_core.processing_log import ProcessingLog  # noqa: PLC0415 - some builds of Python have no sqlite3

    return ProcessingLog(config.log_db)
