"""One server process: started in its own process group, ready when `start` returns, dead when we are.

The log and the data are in a temporary folder that goes with the server. Stopping, killing, freezing and starting again
on the same port and data are what the tests of crashes and restarts are made of.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

START_SECONDS = 60
STOP_SECONDS = 30
POLL_SECONDS = 0.02
LOG_TAIL_LINES = 25

_running: list[Server] = []
_folders: set[Path] = set()
_watchdogs: dict[int, subprocess.Popen[bytes]] = {}
_starting_watchdog = threading.Lock()


class ServerDiedError(Exception):
    """A server ended, or was not ready in time; the message has the end of its log."""


@dataclass(eq=False)
class Server:
    """A server in `folder`; `is_ready` tells from the port or the log whether it answers."""

    name: str
    command: Sequence[str]
    folder: Path
    is_ready: Callable[[Server], bool]
    directory: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    _process: subprocess.Popen[bytes] | None = None
    _log_start: int = 0

    @property
    def log(self) -> Path:
        """What the server printed, over all its lives."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process id; raises where the server does not run."""
        if self._process is None or self._process.poll() is not None:
            msg = f"{self.name} is not running. {self._log_tail()}"
            raise ServerDiedError(msg)
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives, be it frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and return when the server answers. Used again after `stop` or `kill`: same ports, same data."""
        if self.is_running:
            msg = f"{self.name} is already running"
            raise RuntimeError(msg)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory or self.folder,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        tell_watchdog(f"+ {self._process.pid}")
        _running.append(self)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready(self):
            if not self.is_running or time.monotonic() > deadline:
                why = "took too long to start" if self.is_running else "ended while starting"
                self.kill()
                msg = f"{self.name} {why}. {self._log_tail()}"
                raise ServerDiedError(msg)
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask the server to stop and wait until it has; kill it if it takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server like a power cut would: no time to write anything down."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the server: its port takes connections, nothing answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Wake a frozen server."""
        os.killpg(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill the server and delete its folder."""
        self.kill()
        remove_folder(self.folder)

    def log_since_start(self) -> str:
        """What the server printed since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for sign in (signal.SIGCONT, how):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        tell_watchdog(f"- {process.pid}")
        _running.remove(self)

    def _log_tail(self) -> str:
        lines = self.log_since_start().splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(["The end of its log:", *lines])


@dataclass(frozen=True)
class Endpoint:
    """What tests talk to: a server of ours, or one that the environment names."""

    _server: Server | None = field(default=None, repr=False, kw_only=True)

    @property
    def server(self) -> Server:
        """The process, for tests that stop, kill or freeze it; raises where the environment named the endpoint."""
        if self._server is None:
            msg = f"{type(self).__name__} was named by the environment: it is not ours to stop"
            raise RuntimeError(msg)
        return self._server


def port_answers(port: int) -> Callable[[Server], bool]:
    """Ready as soon as the port takes a connection."""

    def is_ready(_: Server) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    return is_ready


def log_says(words: str) -> Callable[[Server], bool]:
    """Ready when the server has printed `words` in its present life."""
    return lambda server: words in server.log_since_start()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on.

    Below the range of which the kernel picks the ports of outgoing connections, so that no client takes the port of a
    server that is being restarted.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = random.randrange(12_000, 32_000)
            listener = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def temporary_folder(name: str) -> Path:
    """A new folder that is deleted at exit, also when we are killed."""
    folder = Path(tempfile.mkdtemp(prefix=f"pipeline_core-{name}-"))
    _folders.add(folder)
    tell_watchdog(f"+ {folder}")
    return folder


def remove_folder(folder: Path) -> None:
    """Delete a folder of `temporary_folder`; a second time does nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    _folders.discard(folder)
    tell_watchdog(f"- {folder}")


def tell_watchdog(line: str) -> None:
    """What is to be ended when we are killed, or no longer: see watchdog.py."""
    pipe = _watchdog(os.getpid()).stdin
    assert pipe is not None
    with contextlib.suppress(BrokenPipeError):
        pipe.write(f"{line}\n".encode())


def _watchdog(parent: int) -> subprocess.Popen[bytes]:
    """The watchdog of this process, started when first needed."""
    with _starting_watchdog:
        if parent not in _watchdogs:
            atexit.register(_end_all, parent)
            script = Path(__file__).with_name("watchdog.py")
            command = [sys.executable, "-S", "-E", str(script), str(parent)]
            _watchdogs[parent] = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True)
        return _watchdogs[parent]


def _end_all(owner: int) -> None:
    """End what is left at exit; a forked child that exits must not."""
    if os.getpid() != owner:
        return
    for server in _running.copy():
        server.kill()
    for folder in _folders.copy():
        remove_folder(folder)
    with _watchdogs.pop(owner) as watchdog:
        watchdog.terminate()
