"""The process that runs a parser for the engine, which starts it, feeds it JSON lines and replaces it when it breaks.

It is run as a script by its path, needs the standard library only, and imports nothing of this package before the
parser's own code does. Its pipes are moved out of the way of what a parser prints, closes or leaves behind.
"""

import os
import sys

# A script's own folder comes first on the path; names in this package are no business of the parser's imports.
if sys.path[:1] == [os.path.dirname(os.path.abspath(__file__))]:  # noqa: PTH100, PTH120 - sys.path holds text
    del sys.path[0]

import base64
import contextlib
import ctypes
import faulthandler
import importlib
import io
import json
import pickle
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

Parse = Callable[[Path, Path], object]

_PR_SET_PDEATHSIG = 1
_ERROR_CHARACTERS = 4_000
_TRACE_CHARACTERS = 16_000
_EXIT_SECONDS = 5
_DONE = b'{"ok": true}\n'
_OUT_OF_MEMORY = b'{"error": "MemoryError", "traceback": "", "restart": true}\n'


def main() -> None:
    """Load the parser that the first line names, then parse what each further line names, until there are no more."""
    pipes = Pipes()
    lines = pipes.lines()
    setup = next(lines, None)
    if setup is None:
        return
    die_with(setup["parent"])
    for number in (signal.SIGINT, signal.SIGTERM):
        # They come to the whole group or service; the engine decides what becomes of the running parser.
        signal.signal(number, _ignore)
    os.register_at_fork(after_in_child=pipes.abandon)
    try:
        parse = loaded(setup["parser"])
        limit(setup["memory"], setup["output"])
    except BaseException as error:  # noqa: BLE001 - a parser may raise anything
        pipes.answer(told(error))
        sys.exit(1)
    pipes.answer({"ready": True})
    for task in lines:
        outcome = attempted(parse, absolute(task["input"]), absolute(task["output"]))
        pipes.restore()
        pipes.answer(outcome)
    # A parser's threads and exit handlers get a moment, not for ever.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_EXIT_SECONDS)


def absolute(path: str) -> Path:
    """A path that holds wherever a parser goes; `resolve` would follow links."""
    return Path(path if path.startswith("/") else os.path.abspath(path))  # noqa: PTH100


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Unlike SIG_IGN, this does not pass to programs that a parser starts."""


class Pipes:
    """The engine's two pipes, out of reach; what is printed goes to stderr, and stdin is empty."""

    def __init__(self) -> None:
        self._commands, self._answers, self._errors = os.dup(0), os.dup(1), os.dup(2)
        self._nothing = os.open(os.devnull, os.O_RDONLY)
        self._folder = os.open(".", os.O_RDONLY)
        self._process = os.getpid()
        self._out: io.TextIOWrapper | None = None
        self.restore()
        faulthandler.enable(self._errors)

    def restore(self) -> None:
        """Undo what a parser may have done to the standard streams and the working folder."""
        if not (sys.stdout is sys.stderr is self._out):
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
        os.dup2(self._nothing, 0)
        for number in (1, 2):
            os.dup2(self._errors, number)
        if self._out is None or self._out.closed:
            self._out = io.TextIOWrapper(
                io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True
            )
        sys.stdout = sys.stderr = self._out
        with contextlib.suppress(OSError):
            os.fchdir(self._folder)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What the engine says, until it says no more."""
        line = bytearray()
        while part := os.read(self._commands, 65_536):
            *ends, begin = part.split(b"\n")
            for end in ends:
                yield json.loads(line + end)
                line.clear()
            line += begin

    def answer(self, document: dict[str, Any] | bytes) -> None:
        """Tell the engine."""
        if os.getpid() != self._process:
            # A fork of the parser's that came back from it must not speak for us.
            os._exit(0)
        line = document if isinstance(document, bytes) else json.dumps(document).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._answers, line) :]
        except OSError:
            os._exit(1)

    def abandon(self) -> None:
        """Let go of them in a fork, or the engine would wait for that, too; and let signals end it."""
        for number in (self._commands, self._answers):
            with contextlib.suppress(OSError):
                os.close(number)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def die_with(parent: int) -> None:
    """End when the engine does, even in the middle of a parse."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def loaded(setup: dict[str, Any]) -> Parse:
    """The parser that the setup names or holds."""
    sys.path[:] = setup["path"]
    if setup["pickled"] is not None:
        parser = pickle.loads(base64.b64decode(setup["pickled"]))  # noqa: S301 - it comes from the user's own program
    else:
        module, _, name = setup["factory"].partition(":")
        factory: Any = importlib.import_module(module)
        for part in name.split("."):
            factory = getattr(factory, part)
        parser = factory()
    parse = getattr(parser, "parse", parser)
    if not callable(parse):
        message = f"The parser is a {type(parser).__name__}, which neither can be called nor has a method 'parse'"
        raise TypeError(message)
    return parse


def limit(memory: int | None, output: int | None) -> None:
    """Bound what a parse may take; what is loaded counts, too."""
    for kind, wanted in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_FSIZE, output), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        if wanted is not None:
            bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (bound, bound))


def attempted(parse: Parse, source: Path, target: Path) -> dict[str, Any] | bytes:
    """Parse one file; the answer for the engine."""
    process = os.getpid()
    try:
        result = parse(source, target)
        if os.getpid() != process:
            # A fork of the parser's that came back from it must not write for us, either.
            os._exit(0)
        if not os.path.lexists(target):
            write(result, target)
    except BaseException as error:  # noqa: BLE001 - a parser may raise anything
        try:
            return {**told(error), "restart": is_short_of_memory(error)}
        except MemoryError:
            return _OUT_OF_MEMORY
    return _DONE


def write(result: object, target: Path) -> None:
    """Write a dictionary as JSON."""
    if not isinstance(result, dict):
        message = f"The parser has written no result and returned {type(result).__name__} instead of a dictionary"
        raise FileNotFoundError(message)
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, default=plain)
    except ValueError:
        # JSON has no NaN and no infinity; null stands for them.
        finite = json.loads(json.dumps(result, default=plain), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=False)
    target.write_text(text, encoding="utf-8", errors="backslashreplace")


def plain(value: Any) -> object:  # noqa: ANN401 - whatever JSON does not know
    """What JSON can hold of a number or array of NumPy's, a time, or anything else."""
    for name in ("tolist", "isoformat"):
        if hasattr(value, name):
            return getattr(value, name)()
    return str(value)


def told(error: BaseException) -> dict[str, Any]:
    """An exception as text that any JSON reader takes."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception of the parser's may do anything
        text = "(its text cannot be shown)"
    name = type(error).__name__
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    trace = "".join(traceback.format_exception(type(error), error, frames))
    return {
        "error": clean(f"{name}: {text}" if text else name, _ERROR_CHARACTERS),
        "traceback": clean(trace, _TRACE_CHARACTERS),
    }


def clean(text: str, longest: int) -> str:
    """Text of bounded length, its middle left out, without halves of characters."""
    half = longest // 2
    shortened = text if len(text) <= longest else f"{text[:half]}\n…\n{text[-half:]}"
    return shortened.encode("utf-8", "backslashreplace").decode()


def is_short_of_memory(error: BaseException | None) -> bool:
    """Whether a lack of memory is the error, or is behind it."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


if __name__ == "__main__":
    main()
