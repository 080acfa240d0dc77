"""A parser of CAN logs: the frames of a `.blf` or `.asc` file, decoded into signals with a `.dbc` file.

It comes with `pip install pipeline-core[dbc]`; `import pipeline_core` does not load it.

```sh
DBC_FILE=powertrain.dbc pipeline-core obs-worker --parser pipeline_core.dbc:create_parser
```
"""

import importlib
import json
import math
import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import can
from cantools import database
from cantools.database.errors import DecodeError, Error

from pipeline_core.exceptions import SettingsError

if TYPE_CHECKING:
    from cantools.database.can.message import Message

Format = Literal["json", "parquet"]

_BLF = b"LOGG"
_ASC = (b"date", b"base", b"//", b";")
_PARQUET_ROWS = 100_000
_INT64 = range(-(2**63), 2**63)


class Row(NamedTuple):
    """One signal's value in one frame.

    Attributes:
        time: Seconds since the measurement began.
        channel: The bus, counted from 1 as in the log; None where the log names none.
        message: The message's name.
        signal: The signal's name.
        value: The physical value.
        raw: The value as it was sent.
        unit: The physical value's unit, or None.
        label: The name that the database has for the raw value, or None.
    """

    time: float
    channel: int | None
    message: str
    signal: str
    value: float
    raw: float
    unit: str | None
    label: str | None


@dataclass
class SignalSummary:
    """A signal's values in a log.

    Attributes:
        unit: Their unit.
        count: How many they are.
        minimum: The least.
        maximum: The greatest.
    """

    unit: str | None
    count: int = 0
    minimum: float | None = None
    maximum: float | None = None

    def add(self, value: float) -> None:
        """Count a value."""
        self.count += 1
        if math.isfinite(value):
            self.minimum = value if self.minimum is None else min(self.minimum, value)
            self.maximum = value if self.maximum is None else max(self.maximum, value)


@dataclass
class Summary:
    """What was in a log.

    Attributes:
        database: Name of the database's file.
        started: When the measurement began, as the log says it, or None.
        seconds: Time of the last frame.
        frames: Frames with data.
        decoded_frames: Those that were decoded.
        unknown_frames: Those whose identifier the database does not have.
        unknown_ids: How often each such identifier came, `x` behind the extended ones.
        undecodable_frames: Those whose data does not fit their message, by the message's name.
        error_frames: Error frames.
        remote_frames: Remote frames, which have no data.
        rows: Values of signals.
        messages: Decoded frames by message.
        signals: Values by `message.signal`.
    """

    database: str
    started: str | None = None
    seconds: float = 0.0
    frames: int = 0
    decoded_frames: int = 0
    unknown_frames: int = 0
    unknown_ids: Counter[str] = field(default_factory=Counter[str])
    undecodable_frames: Counter[str] = field(default_factory=Counter[str])
    error_frames: int = 0
    remote_frames: int = 0
    rows: int = 0
    messages: Counter[str] = field(default_factory=Counter[str])
    signals: dict[str, SignalSummary] = field(default_factory=dict[str, SignalSummary])


class DbcParser:
    """Decodes CAN and CAN FD logs into rows of signals.

    JSON is `{"rows": […], "summary": {…}}`; Parquet is a long table of the rows, with the summary in its metadata.

    Args:
        dbc_file: The database: `.dbc`, or another format that cantools knows by its ending.
        form: What to write.

    Raises:
        SettingsError: The database cannot be read.
    """

    def __init__(self, dbc_file: str | os.PathLike[str], form: Format = "json") -> None:
        self._name = Path(dbc_file).name
        self._form = form
        try:
            loaded = database.load_file(dbc_file, strict=False)
        except (OSError, ValueError, Error) as error:
            message = f"The database {os.fspath(dbc_file)} cannot be read: {error}"
            raise SettingsError(message, "Set DBC_FILE to a .dbc file.") from error
        if not isinstance(loaded, database.Database):
            message = f"The database {os.fspath(dbc_file)} has no CAN messages"
            raise SettingsError(message, "Set DBC_FILE to a .dbc file.")
        # An extended identifier may be the same number as a standard one.
        self._messages: dict[tuple[int, bool], Message] = {
            (message.frame_id, message.is_extended_frame): message for message in loaded.messages
        }

    def parse(self, input_path: Path, output_path: Path) -> None:
        """Decode a log into a file."""
        summary = Summary(self._name)
        rows = self.rows(input_path, summary)
        if self._form == "parquet":
            _write_parquet(rows, summary, output_path)
        else:
            _write_json(rows, summary, output_path)

    def rows(self, path: Path, summary: Summary | None = None) -> Iterator[Row]:
        """The values in a log, in its order; only those signals of a multiplexed message that the frame has.

        Args:
            path: A `.blf` or `.asc` file, told by what is in it.
            summary: What to count in.

        Raises:
            ValueError: It is no such file, or broken.
        """
        summary = summary or Summary(self._name)
        with _opened(path) as reader:
            start = float(getattr(reader, "start_timestamp", 0) or 0)
            for frame in reader:
                summary.started = summary.started or _started(reader)
                # A double holds a microsecond of our century.
                time = round(frame.timestamp - start, 6)
                summary.seconds = max(summary.seconds, time)
                if frame.is_error_frame:
                    summary.error_frames += 1
                elif frame.is_remote_frame:
                    summary.remote_frames += 1
                else:
                    yield from self._decoded(frame, time, summary)

    def _decoded(self, frame: can.Message, time: float, summary: Summary) -> Iterator[Row]:
        summary.frames += 1
        message = self._messages.get((frame.arbitration_id, frame.is_extended_id))
        if message is None:
            summary.unknown_frames += 1
            summary.unknown_ids[f"0x{frame.arbitration_id:X}{'x' if frame.is_extended_id else ''}"] += 1
            return
        try:
            raws = message.decode_simple(bytes(frame.data), decode_choices=False, scaling=False, allow_truncated=True)
        except (DecodeError, ValueError):
            summary.undecodable_frames[message.name] += 1
            return
        summary.decoded_frames += 1
        summary.messages[message.name] += 1
        channel = frame.channel + 1 if isinstance(frame.channel, int) else None
        for name, raw in raws.items():
            signal = message.get_signal_by_name(name)
            value: Any = signal.conversion.raw_to_scaled(raw, decode_choices=False)  # type: ignore[arg-type]
            label = signal.choices.get(raw) if signal.choices and isinstance(raw, int) else None
            row = Row(time, channel, message.name, name, value, raw, signal.unit, str(label) if label else None)  # type: ignore[arg-type]
            summary.rows += 1
            summary.signals.setdefault(f"{message.name}.{name}", SignalSummary(signal.unit)).add(value)
            yield row


def create_parser() -> DbcParser:
    """A parser with the settings of the environment: `DBC_FILE`, and `DBC_FORMAT` json or parquet.

    Raises:
        SettingsError: A setting is missing or wrong.
    """
    path = os.environ.get("DBC_FILE")
    if not path:
        message = "DBC_FILE is not set"
        raise SettingsError(message, "Set it to the path of a .dbc file.")
    form = os.environ.get("DBC_FORMAT") or "json"
    if form not in {"json", "parquet"}:
        message = f"DBC_FORMAT must be json or parquet, not {form!r}"
        raise SettingsError(message, "Leave it out for json.")
    return DbcParser(path, "parquet" if form == "parquet" else "json")


@contextmanager
def _opened(path: Path) -> Generator[can.BLFReader | can.ASCReader]:
    with path.open("rb") as file:
        begin = file.read(64).lstrip().lower()
    if begin.startswith(_BLF.lower()):
        with can.BLFReader(path) as reader:
            yield reader
    elif begin.startswith(_ASC):
        # Its text is ASCII but for comments and names of months.
        with path.open(encoding="latin-1") as text, can.ASCReader(text) as reader:
            yield reader
    else:
        message = f"{path.name} is neither a .blf nor an .asc log"
        raise ValueError(message)


def _started(reader: can.BLFReader | can.ASCReader) -> str | None:
    if isinstance(reader, can.ASCReader):
        return reader.date
    moment = datetime.fromtimestamp(reader.start_timestamp, timezone.utc)
    # The log does not say of which zone its time is.
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds") if reader.start_timestamp else None


def _write_json(rows: Iterable[Row], summary: Summary, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write('{"rows":[')
        between = "\n"
        for row in rows:
            values = {name: value for name, value in row._asdict().items() if value is not None}
            values |= {name: None for name in ("value", "raw") if not math.isfinite(values[name])}
            if values["raw"] == values["value"]:
                del values["raw"]
            file.write(between + json.dumps(values, ensure_ascii=False, separators=(",", ":")))
            between = ",\n"
        file.write(f'\n],\n"summary":{_text(summary)}}}\n')


def _write_parquet(rows: Iterator[Row], summary: Summary, path: Path) -> None:
    # Only this format needs it.
    pyarrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    types = {
        "time": pyarrow.float64(),
        "channel": pyarrow.int32(),
        "message": pyarrow.string(),
        "signal": pyarrow.string(),
        "value": pyarrow.float64(),
        "raw": pyarrow.int64(),
        "unit": pyarrow.string(),
        "label": pyarrow.string(),
    }
    with parquet.ParquetWriter(path, pyarrow.schema(types.items()), compression="zstd") as writer:
        while part := [*islice(rows, _PARQUET_ROWS)]:
            columns = dict(zip(Row._fields, zip(*part, strict=True), strict=True))
            columns["value"] = tuple(map(float, columns["value"]))
            columns["raw"] = tuple(raw if isinstance(raw, int) and raw in _INT64 else None for raw in columns["raw"])
            arrays = [pyarrow.array(columns[name], kind) for name, kind in types.items()]
            writer.write_table(pyarrow.table(arrays, names=list(types)))
        writer.add_key_value_metadata({"summary": _text(summary)})


def _text(summary: Summary) -> str:
    signals = {name: vars(signal) for name, signal in summary.signals.items()}
    return json.dumps({**vars(summary), "signals": signals}, ensure_ascii=False)
