"""Airflow in a process of its own, which is asked in lines of JSON: `inside.py` answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tests.python.support.children import SETTINGS

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).parents[2]
START_SECONDS = 120


@dataclass
class Airflow:
    """A standalone Airflow with the DAGs of the repository and those of `dags_of_tests.py`.

    Args:
        program: Its Python.
        folder: A folder of its own; `AIRFLOW_HOME` is in it.
        database: A fresh metadata database, which is copied.
    """

    program: Path
    folder: Path
    database: Path
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _answers: TextIO | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        dags, home, site = (self.folder / name for name in ("dags", "home", "site"))
        shutil.copytree(ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name("dags_of_tests.py"), dags)
        home.mkdir()
        shutil.copy(self.database, home / "airflow.db")
        put_package(site)
        environment = {**environment_of(home), "AIRFLOW__CORE__DAGS_FOLDER": str(dags), "PYTHONPATH": str(site)}
        reading, writing = os.pipe()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.program, Path(__file__).with_name("inside.py"), str(writing)],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                text=True,
            )
        os.close(writing)
        self._answers = os.fdopen(reading)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._answers is not None
        with self._process as process, self._answers:
            process.kill()

    @property
    def log(self) -> Path:
        """What Airflow and its tasks have logged."""
        return self.folder / "airflow.log"

    def ask(self, do: str, **request: Any) -> Any:
        """Have something done, and wait for it."""
        self.tell(do, **request)
        return self.answer()

    def tell(self, do: str, **request: Any) -> None:
        """Have something done; `answer` waits for it."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What came of the last request."""
        assert self._answers is not None
        line = self._answers.readline()
        assert line, f"Airflow ended:\n{self.log.read_text()[-5000:]}"
        answer = json.loads(line)
        assert "ok" in answer, f"{answer['failed']}\n{self.log.read_text()[-5000:]}"
        return answer["ok"]

    def terminate(self) -> None:
        """Send the SIGTERM that a supervisor passes on to its task."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def said(self, since: int = 0) -> str:
        """The log from a byte on."""
        return self.log.read_bytes()[since:].decode(errors="replace")


def new_database(program: Path, folder: Path) -> Path:
    """Make a metadata database, which takes some seconds."""
    migrate = [program, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(migrate, env=environment_of(folder), capture_output=True, check=False, timeout=START_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "airflow.db"


def environment_of(home: Path) -> dict[str, str]:
    """An environment without settings of ours or of another Airflow."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith((*SETTINGS, "AIRFLOW"))}
    return {**clean, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}


def put_package(site: Path) -> None:
    """The installed package and its metadata, alone in a folder: the entry point for Airflow is in the latter."""
    site.mkdir()
    ours = distribution("pipeline-core")
    tops = {Path(str(file)).parts[0] for file in ours.files or []} - {"..", "."}
    for name in tops:
        (site / name).symlink_to(Path(str(ours.locate_file(name))))
