"""The pages that users read, and what they tell to type: fenced blocks in their order, and commands within the text."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from tests.architecture.tree import ROOT, files, named

from pipeline_core.cli import application

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAM = "pipeline-core"
README, CHINESE = "README.md", "README.zh-CN.md"
PAGES = {named(path): path.read_text() for path in (ROOT / README, ROOT / CHINESE, *files("docs", ending=".md"))}

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"# ([\w.-]+\.(?:py|toml|ya?ml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """The file that the block is, which stands in its first line."""
        match = _FILE_NAME.match(self.text)
        return match[1] if match else None

    def lines(self) -> list[str]:
        """What is typed, line by line; comments and ends that go on are out of it."""
        whole = self.text.replace("\\\n", " ").splitlines()
        return [line for line in whole if line.strip() and not line.startswith("#")]


def blocks(page: str, *languages: str) -> list[Block]:
    """The fenced blocks of a page in their order, of these languages or of any."""
    text = PAGES[page]
    found = (Block(page, text.count("\n", 0, match.start()) + 1, *match.groups()) for match in _FENCE.finditer(text))
    return [block for block in found if not languages or block.language in languages]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def command_lines(page: str) -> list[list[str]]:
    """What a page says to type after `pipeline-core`, without the variables before it."""
    typed = [line for block in blocks(page, "sh") for line in block.lines()]
    inline = re.findall(rf"`([^`]*{PROGRAM} [a-z-][^`]*)`", prose(PAGES[page]))
    found = [line.split(f"{PROGRAM} ", maxsplit=1)[1] for line in [*typed, *inline] if f"{PROGRAM} " in line]
    return [shlex.split(line, comments=True) for line in found]


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what is left of them."""
    command: Any = typer.main.get_command(application())
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def flags(command: Any) -> set[str]:
    """The flags of a command."""
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def every_flag(command: Any) -> set[str]:
    """The flags of a command and of those below it."""
    below: Iterable[Any] = getattr(command, "commands", {}).values()
    return flags(command).union(*(every_flag(other) for other in below))
