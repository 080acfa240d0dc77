"""A log of processed files in SQLite: a row for each attempt that a worker made; several workers may share a file."""

import logging
import sqlite3
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from pipeline_core.exceptions import NotFoundError, SettingsError
from pipeline_core.progress import Line
from pipeline_core.worker_status import FrequentError, LogSummary

_TABLE = """
CREATE TABLE IF NOT EXISTS processing_log (
    file_key TEXT NOT NULL,
    bucket TEXT,
    status TEXT NOT NULL,
    attempts INTEGER,
    seconds REAL,
    input_size INTEGER,
    output_size INTEGER,
    error TEXT,
    timestamp TEXT NOT NULL
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS processing_log_timestamp ON processing_log (timestamp)"
_FIELDS = ("file_key", "bucket", "status", "attempts", "processing_time", "input_size", "output_size", "error")
_INSERT = f"INSERT INTO processing_log VALUES ({', '.join('?' * (len(_FIELDS) + 1))})"  # noqa: S608 - question marks only
_TOTALS = """
SELECT
    count(*) FILTER (WHERE status = 'success') AS succeeded,
    count(*) FILTER (WHERE status = 'failed') AS failed,
    count(*) FILTER (WHERE status = 'retry') AS retries,
    coalesce(sum(input_size) FILTER (WHERE status = 'success'), 0) AS input_bytes,
    coalesce(sum(output_size) FILTER (WHERE status = 'success'), 0) AS output_bytes,
    avg(seconds) FILTER (WHERE status = 'success') AS mean_seconds,
    min(timestamp) AS first_at,
    max(timestamp) AS last_at
FROM processing_log
WHERE timestamp >= ?
"""
_ERRORS = """
SELECT trim(substr(error, 1, instr(error || char(10), char(10)) - 1)) AS line, count(*) AS times
FROM processing_log WHERE error <> '' GROUP BY line ORDER BY times DESC, line LIMIT 5
"""

# The heartbeat waits for it, and with it the log lines and Ctrl-C.
_BUSY_SECONDS = 1.0
_KEPT_ROWS = 100_000
_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class ProcessingLog:
    """Writes what the engine's log lines say of processed files; a context manager that gives the `on_lines` to use.

    Trouble with the file is a warning: rows are kept and tried again, and the worker goes on.

    Args:
        path: The SQLite file; made when missing.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._rows: list[tuple[Any, ...]] = []
        self._connection: sqlite3.Connection | None = None
        self._is_warned = False
        self._not_before = 0.0

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._not_before = 0
        self._write()
        if self._rows:
            _log.warning("%d rows are missing from the processing log %s", len(self._rows), self._path)
        if self._connection is not None:
            self._connection.close()

    def __call__(self, lines: list[Line]) -> None:
        """Take the lines of one heartbeat: one transaction."""
        now = _text(datetime.now(timezone.utc))
        for _level, target, _message, fields, _file, _row in lines:
            if "file_key" in fields and "status" in fields and "obs_worker" in target:
                self._rows.append((*(fields.get(name) for name in _FIELDS), now))
        if self._rows:
            self._write()

    def _write(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            if self._connection is None:
                self._connection = self._opened()
            if self._rows:
                with self._connection:
                    self._connection.executemany(_INSERT, self._rows)
        except (sqlite3.Error, OSError) as error:
            self._put_off(error)
            return
        self._rows.clear()
        self._is_warned = False

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # The heartbeat of an awaitable run comes on another thread, but never on two at once.
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            # Readers and several writers do not wait for each other's disk.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            with connection:
                connection.execute(_TABLE)
                connection.execute(_INDEX)
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_off(self, error: Exception) -> None:
        self._not_before = time.monotonic() + _PAUSE_SECONDS
        if not self._is_warned:
            self._is_warned = True
            _log.warning("The processing log %s cannot be written for now, the worker goes on: %s", self._path, error)
        if len(self._rows) > _KEPT_ROWS:
            _log.warning("%d rows are missing from the processing log %s", len(self._rows) - _KEPT_ROWS, self._path)
            del self._rows[:-_KEPT_ROWS]


def summary(path: str, now: datetime | None = None) -> LogSummary:
    """Add up a processing log.

    Args:
        path: The SQLite file.
        now: The end of the last hour; the present without it.

    Raises:
        NotFoundError: There is no such file.
        SettingsError: It is no processing log.
    """
    file = Path(path)
    if not file.is_file():
        message = f"There is no processing log {path}"
        raise NotFoundError(message, "Give the file that the workers got with --log-db.")
    now = now or datetime.now(timezone.utc)
    an_hour_ago = now - timedelta(hours=1)
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            total: dict[str, Any] = dict(connection.execute(_TOTALS, ("",)).fetchone())
            hour: dict[str, Any] = dict(connection.execute(_TOTALS, (_text(an_hour_ago),)).fetchone())
            errors = [FrequentError(line, times) for line, times in connection.execute(_ERRORS)]
    except sqlite3.Error as error:
        message = f"The processing log {path} could not be read: {error}"
        raise SettingsError(message, "Give the file that the workers got with --log-db.") from None
    files = total["succeeded"] + total["failed"]
    total["first_at"], total["last_at"] = _moment(total["first_at"]), _moment(total["last_at"])
    recent = max(total["first_at"], an_hour_ago) if total["first_at"] else None
    return LogSummary(
        path=str(path),
        files=files,
        **total,
        files_per_minute=_rate(files, total["first_at"], total["last_at"]),
        files_per_minute_last_hour=_rate(hour["succeeded"] + hour["failed"], recent, now),
        success_rate=total["succeeded"] / files if files else None,
        errors=errors,
    )


def _rate(files: int, first: datetime | None, last: datetime | None) -> float:
    """Files a minute; a shorter time than a second tells nothing and counts as one."""
    if first is None or last is None:
        return 0.0
    return files * 60 / max(1.0, (last - first).total_seconds())


def _text(moment: datetime) -> str:
    """All of one length, so that text sorts as time does."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
