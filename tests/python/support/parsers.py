"""Parsers of users, good and bad. `install` copies this file beside a worker, which imports it as `parsers`.

A file's first line may say what its parser shall do at each attempt (`support/files.py` writes it); once nothing is
left of that list, it behaves. Attempts are counted in a folder beside the copy, over all workers and their lives.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
HEAD = b'{"key": '
HEAD_BYTES = 100_000
RAISED = "This parser raises"
# What a parser that nobody stops takes at most, so that a bad engine does not take the machine with it.
ENOUGH_BYTES = 4 * 2**30
ENOUGH_LINES = 400_000
A_LONG_TIME = 3600


def install(folder: Path) -> Path:
    """Put the parsers where a worker that runs in `folder` finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(__file__, folder / "parsers.py"))


def attempts(folder: Path, key: str) -> int:
    """How often a parser was begun for a file by workers that run in `folder`."""
    return len(list((folder / "attempts").glob(f"{_mark(key)}-*")))


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def _begin(input_path: Path) -> list[str]:
    """What is left of the file's acts; counts this attempt."""
    with input_path.open("rb") as file:
        line = file.readline(HEAD_BYTES)
    if not line.startswith(HEAD):
        return []
    head = json.loads(line)
    folder = HERE / "attempts"
    folder.mkdir(exist_ok=True)
    for number in count():
        try:
            os.close(os.open(folder / f"{_mark(head['key'])}-{number:04}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return head["acts"][number:]
    raise AssertionError


def _eat_memory() -> None:
    eaten = [bytearray(2**24)]
    while len(eaten) * 2**24 < ENOUGH_BYTES:
        eaten.append(bytearray(2**24))


def _print_endlessly() -> None:
    for _ in range(ENOUGH_LINES):
        sys.stdout.write("x" * 1000 + "\n")


def _write_endlessly(output_path: Path) -> None:
    with output_path.open("wb") as out:
        for _ in range(ENOUGH_BYTES // 2**20):
            out.write(bytes(2**20))


def _raise_secrets() -> None:
    environment = " ".join(f"{name}={value}" for name, value in os.environ.items())
    for stream in (sys.stdout, sys.stderr):
        stream.write(f"The environment is {environment}\n")
    message = f"No login with {environment} {sys.argv}"
    raise PermissionError(message)


def _raise_half(output_path: Path) -> None:
    output_path.write_bytes(b"half of it")
    raise ValueError(RAISED)


def _raise(message: str) -> None:
    raise ValueError(message or RAISED)


# What an act does with its argument and the place of the result.
ACTS: dict[str, Callable[[str, Path], object]] = {
    "raise": lambda message, _: _raise(message),
    "raise_half": lambda _, output_path: _raise_half(output_path),
    "raise_secrets": lambda _, __: _raise_secrets(),
    "segfault": lambda _, __: os.kill(os.getpid(), 11),
    "exit": lambda _, __: sys.exit(3),
    "vanish": lambda _, __: os._exit(0),
    "hang": lambda _, __: time.sleep(A_LONG_TIME),
    # Keeps the interpreter's lock, so that no thread of Python would run.
    "hang_in_c": lambda _, __: ctypes.PyDLL(None).sleep(A_LONG_TIME),
    "eat_memory": lambda _, __: _eat_memory(),
    "print": lambda _, __: _print_endlessly(),
    "write": lambda _, output_path: _write_endlessly(output_path),
    "sleep": lambda seconds, _: time.sleep(float(seconds)),
}


def _act(act: str, output_path: Path) -> None:
    """Do one of the things that parsers do; only those that sleep a while go on after it."""
    name, _, argument = act.partition(":")
    ACTS[name](argument, output_path)
    assert name == "sleep", f"Nobody stopped this parser: {act}"


def copy(input_path: Path, output_path: Path) -> None:
    """Copy the file."""
    shutil.copyfile(input_path, output_path)


def copying() -> Callable[[Path, Path], None]:
    """A parser that does what the file says, then copies it. Attempts that only sleep are followed by the copy."""

    def parse(input_path: Path, output_path: Path) -> None:
        for act in _begin(input_path)[:1]:
            _act(act, output_path)
        copy(input_path, output_path)

    return parse


class Checksum:
    """A parser with a method, as an object."""

    def parse(self, input_path: Path, output_path: Path) -> None:
        """Write the file's SHA-256 as JSON."""
        digest = hashlib.sha256(input_path.read_bytes()).hexdigest()
        output_path.write_text(json.dumps({"sha256": digest}))


def checksum() -> Checksum:
    """A parser with a method."""
    return Checksum()


def answering() -> Callable[[Path, Path], dict[str, object]]:
    """A parser that writes no file but returns a dict."""
    return lambda input_path, _output_path: {"bytes": input_path.stat().st_size, "suffix": input_path.suffix}


def naming() -> Callable[[Path, Path], None]:
    """A parser that tells the names that it was given."""

    def parse(input_path: Path, output_path: Path) -> None:
        output_path.write_text(json.dumps({"input": str(input_path), "output": str(output_path)}))

    return parse


def idle() -> Callable[[Path, Path], None]:
    """A parser that leaves nothing behind."""
    return lambda _input_path, _output_path: None


def broken() -> None:
    """A factory that raises."""
    raise LookupError(RAISED)


def number() -> int:
    """A factory of what is no parser."""
    return 5
