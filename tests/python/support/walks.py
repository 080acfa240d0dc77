"""A walk through a page as a new user takes it: each block is typed, in the page's order, in a folder of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.architecture.pages import PROGRAM, Block, blocks, resolved
from tests.python.support.children import SETTINGS, wait_until

from pipeline_core.settings import PipelineSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECONDS = 120
# So long does a run that has no end get, to begin, to do its work, and to wait for more.
STOPPED_AFTER = 5
STOPPED = 128 + signal.SIGTERM


@dataclass
class Walk:
    """A page, or several that go on where the one before ended.

    Attributes:
        folder: Where folders of pages are made.
        places: What stands in the pages, and what is typed in its place.
        environment: What is set before the first page, as it is on a machine where the program is used.
        before: What a user has when the page begins, by page.
        only_parsed: Beginnings of lines that are not typed.
    """

    folder: Path
    places: Mapping[str, str]
    environment: Mapping[str, str]
    before: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)
    only_parsed: tuple[str, ...] = ()

    def through(self, *pages: str) -> list[str]:
        """Type all of these pages; what was typed."""
        return [line for page in pages for line in self._page(page)]

    def _page(self, page: str) -> list[str]:
        folder = self.folder / page.replace("/", "-")
        folder.mkdir(parents=True)
        if page in self.before:
            self.before[page](folder)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**ours, **self.environment, "HOME": str(folder), "PATH": path}
        typed: list[str] = []
        for block in blocks(page):
            if block.file_name:
                (folder / block.file_name).write_text(self._filled(block.text))
            elif block.language == "python" and not block.text.startswith(self.only_parsed):
                file = folder / f"line_{block.line}.py"
                file.write_text(self._filled(block.text))
                consumes = ".consume(" in block.text
                ended = self._run([sys.executable, file.name], folder, environment, is_endless=consumes)
                assert ended == "", f"{block}: {ended}"
                typed.append(str(block))
            elif block.language == "sh":
                typed += self._shell(block, folder, environment)
        return typed

    def _shell(self, block: Block, folder: Path, environment: dict[str, str]) -> list[str]:
        typed: list[str] = []
        for line in block.lines():
            words = shlex.split(self._filled(line), comments=True)
            if line.startswith(self.only_parsed):
                continue
            if words[0] == "export":
                environment.update(word.split("=", maxsplit=1) for word in words[1:])
                continue
            assert "…" not in self._filled(line), f"{block}: a placeholder is left in {line}"
            is_endless = words[0] == PROGRAM and has_no_end(words[1:])
            ended = self._run(["bash", "-c", self._filled(line)], folder, environment, is_endless=is_endless)
            assert ended == "", f"{block}: {line}\n{ended}"
            typed.append(line)
        return typed

    def _filled(self, text: str) -> str:
        for placeholder, real in self.places.items():
            text = text.replace(placeholder, real)
        return text

    @staticmethod
    def _run(command: list[str], folder: Path, environment: Mapping[str, str], *, is_endless: bool) -> str:
        """Run it to its end, or end it; what was wrong, or nothing."""
        output = folder / "output"
        with output.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
            try:
                if is_endless:
                    wait_until(lambda: process.poll() is not None or heeds_sigterm(process.pid), "it can be stopped")
                code = process.wait(STOPPED_AFTER if is_endless else SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM if is_endless else signal.SIGKILL)
                code = process.wait(SECONDS)
            finally:
                process.kill()
        wanted = {STOPPED} if is_endless else {0}
        return "" if code in wanted else f"It ended with {code} and said:\n{output.read_text(errors='replace')[-3000:]}"


def heeds_sigterm(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM."""
    caught = re.search(r"^SigCgt:\s+([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(caught) and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def has_no_end(words: list[str]) -> bool:
    """Whether a command runs until it is stopped."""
    if words[0] == "run":
        return True
    rest = resolved(words)[1]
    config = PipelineSettings.registry.get(words[0].replace("-", "_"))
    if not config or "until" not in config.model_fields or rest != words[1:]:
        return False
    if "--until" in rest:
        return rest[rest.index("--until") + 1] == "stopped"
    has_another_end = "follow" in config.model_fields and "--follow" not in rest
    return not has_another_end and config.model_fields["until"].default == "stopped"
