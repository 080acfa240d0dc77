"""Installing, starting and ending the servers: once, all together, and never leaving one behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.services.environment import GCS, KAFKA, MONGODB, MYSQL, POSTGRES_SOURCE, POSTGRES_TARGET, S3_URL
from tests.services.install import ServiceUnavailableError, cache_folder, installed, run_tool
from tests.services.kafka import install_kafka
from tests.services.mariadb import install_mariadb
from tests.services.mongodb import install_mongodb
from tests.services.postgres import install_postgres
from tests.services.process import Server, ServerDiedError, free_ports, log_says, port_answers, temporary_folder
from tests.services.s3 import REPOSITORY, install_s3
from tests.services.s3_memory import install_s3_memory

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 20
START_AND_HANG = """
import json, time
from tests.services.s3 import start_s3, start_s3_without_preconditions
store = start_s3()
front = start_s3_without_preconditions(store)
servers = [store.server, front.server]
print(json.dumps({"pids": [s.pid for s in servers], "folders": [str(s.folder) for s in servers]}), flush=True)
time.sleep(600)
"""
FORK_AND_LOOK = """
import os, sys
from tests.services.s3 import start_s3
store = start_s3()
if os.fork() == 0:
    sys.exit()
os.wait()
sys.exit(not (store.server.is_running and store.server.folder.is_dir()))
"""

FOLDERS_FROM_THREADS = """
import subprocess, threading, time
from tests.services.process import temporary_folder
barrier = threading.Barrier(8)
folders = []
def make():
    barrier.wait()
    folders.append(temporary_folder("race"))
threads = [threading.Thread(target=make) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
time.sleep(0.5)
print(sum(folder.is_dir() for folder in folders))
"""


def becomes_true(condition: Callable[[], bool]) -> bool:
    """Whether `condition` comes true in a while."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def services(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    environment = {**os.environ, "PIPELINE_CORE_CACHE": str(cache)} if cache else None
    command = [sys.executable, "-m", "tests.services", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("our_s3")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_parent_leaves_no_server_and_no_folder_behind(how: signal.Signals) -> None:
    command = [sys.executable, "-c", START_AND_HANG]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout
        left = json.loads(parent.stdout.readline())
        assert all(is_alive(pid) for pid in left["pids"])
        parent.send_signal(how)
    assert becomes_true(lambda: not any(is_alive(pid) for pid in left["pids"]))
    assert becomes_true(lambda: not any(Path(folder).exists() for folder in left["folders"]))


def test_threads_that_start_servers_at_once_share_one_watchdog() -> None:
    command = [sys.executable, "-W", "error", "-c", FOLDERS_FROM_THREADS]
    done = subprocess.run(command, cwd=REPOSITORY, timeout=SECONDS, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("8", "")


@pytest.mark.usefixtures("our_s3")
def test_a_forked_child_that_exits_ends_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FORK_AND_LOOK], cwd=REPOSITORY, timeout=SECONDS, check=False)
    assert done.returncode == 0


def test_a_server_that_dies_at_once_shows_its_log() -> None:
    [port] = free_ports(1)
    command = [sys.executable, "-c", "print('no such setting'); raise SystemExit(3)"]
    server = Server("broken", command, temporary_folder("broken"), port_answers(port))
    with server, pytest.raises(ServerDiedError, match="no such setting"):
        server.start()


def test_programs_are_installed_once_however_many_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIPELINE_CORE_CACHE", str(tmp_path))
    builds: list[Path] = []

    def build(folder: Path) -> None:
        builds.append(folder)
        time.sleep(0.2)
        (folder / "program").write_text("")

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: installed("thing", "recipe", build), range(8)))
    assert len(builds) == 1
    assert [(folder / "program").exists() for folder in folders] == [True]


def test_a_failed_installation_leaves_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIPELINE_CORE_CACHE", str(tmp_path))
    for program, message in (("no-such-program", "needed to install"), ("false", "failed with 1")):
        with pytest.raises(ServiceUnavailableError, match=message):
            installed("thing", program, lambda folder, program=program: run_tool(program, directory=folder))
    assert [path.name for path in (tmp_path / "services").iterdir()] == ["thing.lock"]


def test_run_gives_a_command_every_server_and_passes_its_exit_code_on() -> None:
    names = [KAFKA, S3_URL, GCS, MYSQL, MONGODB, POSTGRES_SOURCE, POSTGRES_TARGET]
    check = f"import os; assert all(os.environ[n] for n in {names}); raise SystemExit(7)"
    done = services("run", "--", sys.executable, "-c", check)
    assert done.returncode == 7, done.stderr


def test_start_leaves_the_servers_until_stop(tmp_path: Path) -> None:
    databases = (install_mariadb(), install_mongodb(), install_postgres())
    for folder in (install_kafka(), install_s3(), install_s3_memory(), *databases):
        link = tmp_path / "services" / folder.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(cache_folder() / folder.name)
    started = services("start", cache=tmp_path)
    assert started.returncode == 0, started.stderr
    env_file = Path(started.stdout.strip())
    try:
        text = env_file.read_text()
        again = services("start", cache=tmp_path)
        assert (again.stdout, env_file.read_text()) == (started.stdout, text)
    finally:
        stopped = services("stop", cache=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert not env_file.exists()
    port = int(text.split(f"{KAFKA}=127.0.0.1:")[1].split()[0])
    assert not port_answers(port)(Server("gone", [], tmp_path, log_says("")))
