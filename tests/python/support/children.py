"""The command line in child processes, to be killed, frozen and woken."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from typing_extensions import Self

SECONDS = 120
POLL_SECONDS = 0.01
FAULT = "PIPELINE_CORE_FAULT"
SETTINGS = (
    "AUTO_OFFSET",
    "AWS_",
    "CLEANUP_",
    "CONSUMER_",
    "CSV_",
    "DBC_",
    "FLINK_",
    "DEST_",
    "FILE_PREFIX",
    "GCS_",
    "GOOGLE_",
    "KAFKA_",
    "MAX_FILES",
    "MONGODB_",
    "MYSQL_",
    "OBS_",
    "PIPELINE_CORE_",
    "POOL_SIZE",
    "SINGLE_FILE",
    "SOURCE_",
    "STORAGE_",
    "TARGET_",
    "WALMART_",
)
SINGULAR = {"column_types": "column-type", "columns": "column", "properties": "property"}
SECRETS = {
    "s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "obs_secret_access_key": "OBS_SECRET_KEY",
    "sasl_password": "KAFKA_SASL_PASSWORD",
    "walmart_token": "WALMART_TOKEN",
    "client_secret": "WALMART_CLIENT_SECRET",
    "mongodb_password": "MONGODB_PASSWORD",
    "mongodb_uri": "MONGODB_URI",
    "mysql_password": "MYSQL_PASSWORD",
    "source_password": "SOURCE_PASSWORD",
    "target_password": "TARGET_PASSWORD",
}
SEED = "PIPELINE_CORE_TEST_SEED"
TOGETHER = 4
Case = TypeVar("Case")
Result = TypeVar("Result")
_numbers = count(1)


def seeded(what: str) -> random.Random:
    """Dice for a test. The seed is printed; the environment's PIPELINE_CORE_TEST_SEED repeats a run."""
    seed = int(os.environ.get(SEED) or random.randrange(2**32))
    print(f"{what}: repeat it with {SEED}={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


def wait_until(is_so: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait for something that can only be asked for."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"Waited {seconds} s in vain: {what}"
        time.sleep(POLL_SECONDS)


def command(pipeline: str, settings: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment that give a command these settings."""
    arguments, environment = [sys.executable, "-m", "pipeline_core", *pipeline.split()], {}
    for name, value in settings.items():
        flag = f"--{SINGULAR.get(name, name).replace('_', '-')}"
        if name in SECRETS:
            environment[SECRETS[name]] = str(value)
        elif isinstance(value, bool):
            arguments.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, dict):
            arguments += [part for key, text in value.items() for part in (flag, f"{key}={text}")]
        elif isinstance(value, list):
            arguments += [part for item in value for part in (flag, str(item))]
        else:
            arguments += [flag, str(value)]
    return arguments, environment


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The last line of a command with `--json`."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def error(self) -> dict[str, Any]:
        """The one error of a command with `--log-format json`: its `event`, `kind` and `hint`."""
        assert not re.search("Traceback|panicked", self.err), self.err
        errors = [line for line in map(json.loads, self.err.splitlines()) if line["level"] == "error"]
        assert len(errors) == 1, f"It ended with {self.code} and said:\n{self.err[-3000:]}"
        return errors[0]


class Child:
    """A command of ours in a process of its own; killed at the end of a `with`.

    Args:
        folder: Where it runs and where its output is kept.
        pipeline: The command and its positional arguments.
        fault: `place:count:signal` where it shall signal itself.
        environment: More of its environment.
        **settings: Its flags; secrets go into its environment.
    """

    def __init__(
        self,
        folder: Path,
        pipeline: str,
        *,
        fault: str = "",
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        arguments, secrets = command(pipeline, settings)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**secrets, **({FAULT: fault} if fault else {}), **(environment or {})}
        name = f"{pipeline.split(maxsplit=1)[0]}-{next(_numbers)}"
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        self.fault = fault
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                arguments,
                cwd=folder,
                env={**ours, **environment, "PYTHONUNBUFFERED": "1", "HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def said(self) -> str:
        """What it has printed to stderr."""
        return self.err.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the process lives, be it frozen."""
        return self.process.poll() is None

    @property
    def is_frozen(self) -> bool:
        """Whether the process has been stopped by SIGSTOP."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = Path(f"/proc/{self.process.pid}/stat").read_text()
            return stat.rpartition(")")[2].split()[0] == "T"
        return False

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it still runs."""
        if self.is_running:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it like a power cut would, frozen or not."""
        self.send(signal.SIGKILL)
        self.process.wait(SECONDS)

    def wake(self) -> None:
        """Let a frozen process go on."""
        self.send(signal.SIGCONT)

    def wait_for(self, words: str, seconds: float = SECONDS) -> None:
        """Wait until its log matches `words`."""
        wait_until(lambda: re.search(words, self.said) or self._must_run(words), f"{words!r} in {self.err}", seconds)

    def wait_until_frozen(self, seconds: float = SECONDS) -> None:
        """Wait until the fault has stopped it."""
        wait_until(
            lambda: self.is_frozen or self._must_run(f"the fault {self.fault}"), f"{self.fault} stops it", seconds
        )

    def wait_until_killed(self, seconds: float = SECONDS) -> None:
        """Wait until the fault has killed it."""
        ended = self.wait(seconds)
        assert ended.code == -signal.SIGKILL, f"{self.fault} did not kill it; was it built without failpoints?\n{ended}"

    def wait(self, seconds: float = SECONDS) -> Ended:
        """Wait for its end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            message = f"It still runs after {seconds} s:\n{self.said[-3000:]}"
            raise AssertionError(message) from None
        return Ended(code, self.out.read_text(errors="replace"), self.said)

    def peak_memory(self) -> int:
        """The most bytes of memory that it has had resident so far; 0 once it has ended."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
            return int(found[1]) * 1024 if found else 0
        return 0

    def _must_run(self, awaited: str) -> bool:
        assert self.is_running, f"It ended with {self.process.returncode} before {awaited}:\n{self.said[-3000:]}"
        return False


def side_by_side(scenario: Callable[[Case], Result], cases: Iterable[Case]) -> Iterator[dict[Case, Future[Result]]]:
    """Run scenarios that mostly wait, a few at a time; each test takes the result, or the failure, of its own."""
    with ThreadPoolExecutor(TOGETHER) as pool:
        yield {case: pool.submit(scenario, case) for case in cases}
        pool.shutdown(cancel_futures=True)


def run(folder: Path, pipeline: str, *, seconds: float = SECONDS, **settings: Any) -> Ended:
    """Run a command to its end."""
    with Child(folder, pipeline, **settings) as child:
        return child.wait(seconds)


def succeed(folder: Path, pipeline: str, *, seconds: float = SECONDS, **settings: Any) -> Ended:
    """Run a command to its end, which must be a good one."""
    ended = run(folder, pipeline, seconds=seconds, **settings)
    assert ended.code == 0, f"{pipeline} ended with {ended.code}:\n{ended.err[-3000:]}"
    return ended
