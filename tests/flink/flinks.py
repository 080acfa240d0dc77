"""Commands of ours in the Python of Flink's environment, and what to ask a cluster of it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.python.support.children import SETTINGS, Ended, command, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.services.flink import Cluster
    from tests.services.process import Server

SECONDS = 240
SAVED_SECONDS = 60
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Flink:
    """Our package beside PyFlink.

    Attributes:
        folder: The environment, and the jars in it.
        site: A folder with the package alone, as the tests' own environment has it.
    """

    folder: Path
    site: Path

    @property
    def python(self) -> Path:
        """The Python that PyFlink is installed in."""
        return self.folder / "bin" / "python"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find our package, without settings of ours."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        return {**clean, "PYTHONPATH": str(self.site)}

    def start(
        self, folder: Path, words: str, environment: Mapping[str, str] | None = None, **settings: Any
    ) -> subprocess.Popen[str]:
        """Start `pipeline-core flink WORDS`; its output is read by `ended`."""
        arguments, secrets = command(f"flink {words}", {"jars": self.folder / "jars", "json": True, **settings})
        return subprocess.Popen(
            [self.python, *arguments[1:]],
            env={**self.environment, **secrets, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, folder: Path, words: str, environment: Mapping[str, str] | None = None, **settings: Any) -> Ended:
        """Run `pipeline-core flink WORDS` until it has ended."""
        return ended(self.start(folder, words, environment, **settings))

    def succeed(
        self, folder: Path, words: str, environment: Mapping[str, str] | None = None, **settings: Any
    ) -> dict[str, Any]:
        """What `pipeline-core flink WORDS` reports; it must end well."""
        done = self.end(folder, words, environment, **settings)
        assert done.code == 0, done.err[-5000:]
        return done.report


def ended(process: subprocess.Popen[str]) -> Ended:
    """How a command has ended, once it has."""
    with process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return Ended(process.returncode, out, err)


@dataclass(frozen=True)
class Submitted:
    """A job in a cluster."""

    cluster: Cluster
    job_id: str

    @property
    def state(self) -> str:
        """RUNNING, RESTARTING, FINISHED and so on."""
        return self.cluster.ask(f"/jobs/{self.job_id}")["state"]

    @property
    def checkpoints(self) -> int:
        """How many have been completed."""
        return self.cluster.ask(f"/jobs/{self.job_id}/checkpoints")["counts"]["completed"]

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        found = self.cluster.ask(f"/jobs/{self.job_id}/metrics?get=numRestarts")
        return int(found[0]["value"]) if found else 0

    def wait_until(self, is_so: Callable[[], object], what: str) -> None:
        """Wait for something that comes of the job, which must not fail meanwhile."""

        def is_so_or_failed() -> bool:
            state = self.state
            assert state not in {"FAILED", "CANCELED"}, f"{state}: {self.why()}"
            time.sleep(POLL_SECONDS)
            return bool(is_so())

        wait_until(is_so_or_failed, what, SECONDS)

    def wait_until_running(self) -> None:
        """Wait until all tasks run."""

        def is_so() -> bool:
            vertices = self.cluster.ask(f"/jobs/{self.job_id}")["vertices"]
            return bool(vertices) and {vertex["status"] for vertex in vertices} == {"RUNNING"}

        self.wait_until(is_so, "all tasks run")

    def wait_for_checkpoint(self) -> None:
        """Wait until one more checkpoint is complete than now."""
        before = self.checkpoints
        self.wait_until(lambda: self.checkpoints > before, "a checkpoint is complete")

    def lose(self, machine: Server) -> None:
        """Kill a task manager that the job runs on, and start it again when the loss is seen."""
        before = self.restarts
        machine.kill()
        self.wait_until(lambda: self.restarts > before or self.state == "RESTARTING", "the loss is seen")
        machine.start()
        self.wait_until_running()

    def why(self) -> str:
        """What it failed of."""
        return str(self.cluster.ask(f"/jobs/{self.job_id}/exceptions"))[:3000]

    def stop(self) -> str:
        """Stop it with a savepoint; where that is."""
        to = {"targetDirectory": (self.cluster.folder / "savepoints").as_uri(), "drain": False}
        asked = self.cluster.ask(f"/jobs/{self.job_id}/stop", to)["request-id"]
        found: dict[str, Any] = {}

        def is_done() -> bool:
            found.update(self.cluster.ask(f"/jobs/{self.job_id}/savepoints/{asked}"))
            return found["status"]["id"] == "COMPLETED"

        wait_until(is_done, "the savepoint is written", SAVED_SECONDS)
        assert "location" in found["operation"], found
        return found["operation"]["location"]

    def cancel(self) -> None:
        """End it without a savepoint."""
        self.cluster.ask(f"/jobs/{self.job_id}", method="PATCH")
        wait_until(lambda: self.state == "CANCELED", "it is cancelled", SAVED_SECONDS)
