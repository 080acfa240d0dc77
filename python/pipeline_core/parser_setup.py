"""How a parser or a model of the user's reaches the processes that run it: by its name, or pickled."""

import base64
import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pipeline_core.exceptions import SettingsError

BUILT_IN = ("default", "csv", "json", "jsonl")

_FACTORY = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_CHILD = Path(__file__).with_name("parser_process.py")
_DOCUMENT_CHILD = Path(__file__).with_name("document_process.py")


class HasParse(Protocol):
    """An object that parses files."""

    def parse(self, input_path: Path, output_path: Path, /) -> object:
        """Read one file and write the other, or return a dictionary to be written as JSON."""


Parser = Callable[[Path, Path], object] | HasParse
"""Reads a file and writes another; raising fails the task."""


def checked(value: object) -> object:
    """The name of a parser that may be: a built-in one, or `module:factory`.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str) and value not in BUILT_IN and not _FACTORY.fullmatch(value):
        message = f"Write {', '.join(BUILT_IN)} or module:factory"
        raise ValueError(message)
    return value


def command(parser: str) -> list[str]:
    """The program that runs a parser; nothing for those that the engine brings."""
    return [] if parser in BUILT_IN else [sys.executable, str(_CHILD)]


def of_name(parser: str) -> dict[str, Any]:
    """What the program is told of a parser that it loads itself."""
    return {"factory": None if parser in BUILT_IN else parser, "pickled": None, "path": _path()}


def of_object(parser: object) -> dict[str, Any]:
    """What the program is told of a parser that exists here.

    Raises:
        SettingsError: It is no parser, or cannot be pickled.
    """
    hint = "Give a function of a module, or the text 'module:factory' of one that makes the parser."
    if isinstance(parser, type):
        message = f"Setting 'parser' is the class {parser.__name__}"
        raise SettingsError(message, f"Give an object of it: parser={parser.__name__}().")
    if not callable(parser) and not callable(getattr(parser, "parse", None)):
        message = f"Setting 'parser' is a {type(parser).__name__}, which neither can be called nor has a method 'parse'"
        raise SettingsError(message, hint)
    cloudpickle: Any = importlib.import_module("cloudpickle")
    try:
        pickled: bytes = cloudpickle.dumps(parser)
    except Exception as error:
        message = f"Parser {title(parser)} cannot be sent to another process: {type(error).__name__}: {error}"
        raise SettingsError(message, hint) from error
    return {"factory": None, "pickled": base64.b64encode(pickled).decode(), "path": _path()}


def of_class(name: str) -> dict[str, Any]:
    """How documents get to a class of the user's: the program, and what it is told."""
    return {"command": [sys.executable, str(_DOCUMENT_CHILD)], "class": name, "path": _path()}


def title(parser: object) -> str:
    """What reports call a parser: `module:name`."""
    named = parser if hasattr(parser, "__qualname__") else type(parser)
    return f"{getattr(named, '__module__', '')}:{getattr(named, '__qualname__', '')}"


def _path() -> list[str]:
    """Where modules are found here, the working folder first, as text that means the same everywhere."""
    places = [os.getcwd(), *(place for place in sys.path if place)]  # noqa: PTH109 - sys.path holds text
    return list(dict.fromkeys(os.path.abspath(place) for place in places))  # noqa: PTH100 - sys.path holds text
