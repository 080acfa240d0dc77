"""`python -m tests.services install | start | stop | run -- COMMAND…`: the servers from the command line.

`start` leaves them running behind a keeper process and prints the file to source; `stop` ends that keeper.
"""
# ruff: noqa: T201 - a command line speaks to its user

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .airflow import install_airflow
from .environment import everything
from .flink import install_flink
from .install import cache_folder
from .kafka import install_kafka
from .mariadb import install_mariadb
from .mongodb import install_mongodb
from .postgres import install_postgres
from .s3 import install_s3
from .s3_memory import install_s3_memory

POLL_SECONDS = 0.05
STOP_SECONDS = 60


def main() -> int:
    """Do what the first argument says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.services", description="The real servers for the tests.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("install", help="install what is missing, start nothing")
    verbs.add_parser("start", help="start all, print the file with their environment")
    verbs.add_parser("stop", help="stop what start started")
    verbs.add_parser("keep", help="what start leaves running").add_argument("env_file", type=Path)
    verbs.add_parser("run", help="start all, run a command, stop all").add_argument("command", nargs="+")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    match chosen.verb:
        case "install":
            print(*install(), sep="\n")
            return 0
        case "start":
            return start(cache_folder() / "running.env")
        case "stop":
            return stop(cache_folder() / "running.env")
        case "keep":
            return keep(chosen.env_file)
        case _:
            return run(chosen.command)


def install() -> list[Path]:
    """Install what is missing, side by side; the folders of the programs."""
    with ThreadPoolExecutor() as pool:
        servers = (install_kafka, install_s3, install_s3_memory, install_mariadb, install_mongodb, install_postgres)
        installing = [pool.submit(one) for one in (*servers, install_airflow, install_flink)]
    return [folder.result() for folder in installing]


def run(command: list[str]) -> int:
    """Run `command` among the servers; its exit code. Pytest's folders of other runs are not its to tidy."""
    with everything() as names, tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, **names, "PYTEST_DEBUG_TEMPROOT": folder}
        with subprocess.Popen(command, env=environment) as process:
            try:
                return process.wait()
            finally:
                process.terminate()


def start(env_file: Path) -> int:
    """Start a keeper, unless one is there, and wait for the servers; 0 when they answer."""
    install()
    if _keeper(env_file) is None:
        env_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.services", "keep", str(env_file)]
        with env_file.with_suffix(".log").open("wb") as log:
            keeper = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        while not env_file.exists():
            if keeper.poll() is not None:
                print(env_file.with_suffix(".log").read_text(), file=sys.stderr)
                return 1
            time.sleep(POLL_SECONDS)
    print(env_file)
    return 0


def keep(env_file: Path) -> int:
    """Hold the servers until SIGTERM; `env_file` is there exactly as long as they are."""
    with env_file.with_suffix(".pid").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.truncate(0)
        print(os.getpid(), file=held, flush=True)
        with everything() as names:
            aside = env_file.with_suffix(".new")
            aside.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in names.items()))
            aside.rename(env_file)
            try:
                signal.pause()
            finally:
                env_file.unlink()
    return 0


def stop(env_file: Path) -> int:
    """Stop the keeper and wait until its servers are gone."""
    keeper = _keeper(env_file)
    if keeper is None:
        print("Nothing is running", file=sys.stderr)
        return 0
    os.kill(keeper, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _keeper(env_file) is not None:
        if time.monotonic() > deadline:
            print(f"The keeper {keeper} does not stop", file=sys.stderr)
            return 1
        time.sleep(POLL_SECONDS)
    return 0


def _keeper(env_file: Path) -> int | None:
    """The process id of the keeper that runs: it holds the lock on the file with its number."""
    env_file.parent.mkdir(parents=True, exist_ok=True)
    with env_file.with_suffix(".pid").open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            return int(held.read())
    return None


if __name__ == "__main__":
    sys.exit(main())
