"""The process that turns documents into messages by a class of the user's, for the engine, which replaces it.

It is run as a script by its path, as `parser_process` is, and needs the standard library only. Frames come and go:
eight bytes of length, little-endian, and the content; an answer has a byte for its kind in front.
"""

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING or __name__ != "__main__":
    from pipeline_core.parser_process import Pipes, clean, die_with, is_short_of_memory, limit, plain, told
else:
    # The neighbour takes their folder off the path again.
    from parser_process import Pipes, clean, die_with, is_short_of_memory, limit, plain, told

import base64
import contextlib
import importlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from types import FrameType

Document = dict[str, Any]
Convert = Callable[[Document], object]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EXIT_SECONDS = 5
_LENGTH = 8
_OID = 24
_READ = 1 << 20
_CANNOT_LOAD, _LEFT_OUT, _MESSAGE, _READY, _REFUSED = b"e", b"l", b"m", b"k", b"r"
_OUT_OF_MEMORY = b"r" + (11).to_bytes(_LENGTH, "little") + b"MemoryError"


def main() -> None:
    """Load the class that the first frame names, then convert the documents of each further frame."""
    frames = Frames()
    setup = frames.read()
    if setup is None:
        return
    told_of: dict[str, Any] = json.loads(bytes(setup))
    die_with(told_of["parent"])
    for number in (signal.SIGINT, signal.SIGTERM):
        # They come to the whole group or service; the engine decides what becomes of the run.
        signal.signal(number, _ignore)
    os.register_at_fork(after_in_child=frames.abandon)
    try:
        convert = loaded(told_of["class"], told_of["path"])
        limit(told_of["memory"], None)
    except BaseException as error:  # noqa: BLE001 - importing a module may raise anything
        frames.write(_CANNOT_LOAD, told(error)["traceback"].encode())
        sys.exit(1)
    frames.write(_READY)
    while (batch := frames.read()) is not None:
        begin = 0
        while begin < len(batch):
            end = begin + _LENGTH + int.from_bytes(batch[begin : begin + _LENGTH], "little")
            answer(frames, convert, batch[begin + _LENGTH : end])
            begin = end
        frames.restore()
    # Its threads and exit handlers get a moment, not for ever.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_EXIT_SECONDS)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Unlike SIG_IGN, this does not pass to programs that a model starts."""


class Frames(Pipes):
    """The engine's two pipes, with frames."""

    def read(self) -> memoryview | None:
        """The next frame; None when there will be no more."""
        head = self._read(_LENGTH)
        if head is None:
            return None
        return self._read(int.from_bytes(head, "little"))

    def write(self, kind: bytes, content: bytes = b"") -> None:
        """Tell the engine, at once: what has no answer is what this process died of."""
        self.answer(kind + len(content).to_bytes(_LENGTH, "little") + content)

    def _read(self, length: int) -> memoryview | None:
        content = bytearray()
        while len(content) < length:
            part = os.read(self._commands, min(length - len(content), _READ))
            if not part:
                return None
            content += part
        return memoryview(content)


def loaded(name: str, path: list[str]) -> Convert:
    """The method `from_document` of the class that `module:Class` names."""
    sys.path[:] = path
    module, _, names = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in names.split("."):
        found = getattr(found, part)
    convert = getattr(found, "from_document", None)
    if not callable(convert):
        message = f"{name} has no method from_document"
        raise TypeError(message)
    if inspect.iscoroutinefunction(convert):
        message = f"{name}.from_document is asynchronous, and nobody awaits it"
        raise TypeError(message)
    try:
        # Of what is not written in Python, nothing is known before it is called.
        with contextlib.suppress(ValueError):
            inspect.signature(convert).bind({})
    except TypeError as error:
        message = f"{name}.from_document must be a class method or static, and take one document: {error}"
        raise TypeError(message) from None
    return convert


def answer(frames: Frames, convert: Convert, document: memoryview) -> None:
    """Convert one document and tell what came of it; end where memory is short, for a new process."""
    process = os.getpid()
    is_over = False
    try:
        message = encoded(convert(read(str(document, "utf-8"))))
    except BaseException as error:  # noqa: BLE001 - a model may raise anything
        kind = _REFUSED
        try:
            is_over = is_short_of_memory(error)
            message = told(error)["error"].encode()
        except MemoryError:
            frames.answer(_OUT_OF_MEMORY)
            os._exit(1)
    else:
        kind = _LEFT_OUT if message is None else _MESSAGE
    if os.getpid() != process:
        # A fork of the model's that came back from it must not speak for us.
        os._exit(0)
    frames.write(kind, message or b"")
    if is_over:
        os._exit(1)


def encoded(message: Any) -> bytes | None:  # noqa: ANN401 - whatever a model gives
    """The JSON of what a model gave; None for none."""
    if message is None or isinstance(message, bytes):
        return message
    if isinstance(message, str):
        return message.encode()
    if isinstance(message, (dict, list)):
        return text(cast("object", message)).encode()
    if hasattr(message, "model_dump_json"):
        return message.model_dump_json().encode()
    problem = f"from_document gave {clean(type(message).__name__, 100)}, not a model, a dictionary, JSON text or None"
    raise TypeError(problem)


def text(value: object) -> str:
    """Compact JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=plain)
    except ValueError:
        # JSON has no NaN and no infinity; null stands for them.
        finite = json.loads(json.dumps(value, default=plain), parse_constant=lambda _: None)
        return json.dumps(finite, ensure_ascii=False, separators=(",", ":"))


def read(document: str) -> Document:
    """A document as Python's values, of its extended JSON, canonical or relaxed; what Python lacks stays as it is."""
    return _decode(document)


def _value(found: dict[str, Any]) -> Any:  # noqa: ANN401 - the value that an object stands for
    if len(found) != 1:
        return found
    ((name, value),) = found.items()
    make = _MAKERS.get(name)
    if make is None:
        return found
    try:
        return make(value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # A field may be called so, too.
        return found


def _oid(value: str) -> str:
    if len(value) != _OID:
        raise ValueError(value)
    return value


def _date(value: int | str) -> object:
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        return {"$date": {"$numberLong": str(value)}}


def _binary(value: dict[str, str]) -> bytes:
    return base64.b64decode(value["base64"], validate=True)


def _timestamp(value: dict[str, int]) -> datetime:
    return _EPOCH + timedelta(seconds=value["t"])


def _pointer(value: dict[str, str]) -> object:
    return {"$dbPointer": {**value, "$id": {"$oid": value["$id"]}}}


_MAKERS: dict[str, Callable[[Any], object]] = {
    "$binary": _binary,
    "$date": _date,
    "$dbPointer": _pointer,
    "$numberDecimal": Decimal,
    "$numberDouble": float,
    "$numberInt": int,
    "$numberLong": int,
    "$oid": _oid,
    "$timestamp": _timestamp,
}
_decode = json.JSONDecoder(object_hook=_value).decode

if __name__ == "__main__":
    main()
