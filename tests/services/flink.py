"""Flink, in a Python environment of its own, with our package's needs and the connectors' jars; and a cluster of it."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .airflow import needed
from .install import installed, run_tool
from .kafka import COPY_JARS
from .process import Server, free_ports, log_says, port_answers, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

PACKAGE = "apache-flink==2.3.0"
POM = Path(__file__).parents[2] / "deploy" / "flink" / "pom.xml"
REGISTERED = "Successful registration at resource manager"
# The heartbeats tell that a machine is gone; that of ten seconds is for machines far apart.
SETTINGS = """\
jobmanager.rpc.address: 127.0.0.1
jobmanager.bind-host: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.memory.process.size: 900m
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.numberOfTaskSlots: {slots}
taskmanager.memory.process.size: 1100m
taskmanager.memory.managed.size: 128m
taskmanager.memory.jvm-metaspace.size: 192m
cluster.evenly-spread-out-slots: true
heartbeat.interval: 500
heartbeat.timeout: 4000
io.tmp.dirs: {folder}/tmp
execution.checkpointing.dir: file://{folder}/checkpoints
"""


def install_flink() -> Path:
    """The folder of the environment; `jars` in it has the connectors."""
    wanted = [PACKAGE, *needed("flink", PACKAGE)]
    recipe = "\n".join([*wanted, POM.read_text(), sys.base_prefix, sys.version])
    return installed("flink", recipe, lambda folder: _build(folder, wanted))


def _build(folder: Path, wanted: list[str]) -> None:
    run_tool(sys.executable, "-m", "venv", str(folder), directory=folder)
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # Some of what PyFlink asks for comes as source only.
    run_tool(
        str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted, environment=quiet, directory=folder
    )
    to = ("-DincludeScope=runtime", f"-DoutputDirectory={folder / 'jars'}")
    run_tool("mvn", "--batch-mode", "--quiet", "-f", str(POM), COPY_JARS, *to, directory=folder)


@dataclass
class Cluster:
    """A standalone cluster: a job manager and task managers, each a process of its own.

    Args:
        installed: What `install_flink` gives.
        environment: What its Pythons find our package by.
        task_managers: How many.
        slots: Of each.
    """

    installed: Path
    environment: dict[str, str]
    task_managers: int = 2
    slots: int = 1

    def __post_init__(self) -> None:
        self.folder = temporary_folder("flink")
        rpc, rest = free_ports(2)
        self.rest = f"127.0.0.1:{rest}"
        settings = SETTINGS.format(rpc=rpc, rest=rest, slots=self.slots, folder=self.folder)
        (self.folder / "config.yaml").write_text(settings)
        (self.folder / "tmp").mkdir()
        self.home = next((self.installed / "lib").glob("python*/site-packages/pyflink"))
        shutil.copy(self.home / "conf" / "log4j-console.properties", self.folder)
        self.manager = self._server("jobmanager", "jobmanager", port_answers(rest))
        self.workers = {
            port: self._server(
                "taskmanager", f"taskmanager-{port}", log_says(REGISTERED), f"taskmanager.data.port={port}"
            )
            for port in free_ports(self.task_managers)
        }

    def _server(self, kind: str, name: str, is_ready: Callable[[Server], bool], *options: str) -> Server:
        command = ["bash", str(self.home / "bin" / f"{kind}.sh"), "start-foreground"]
        command += [part for option in options for part in ("-D", option)]
        folders = {"FLINK_HOME": str(self.home), "FLINK_CONF_DIR": str(self.folder), "FLINK_LOG_DIR": str(self.folder)}
        return Server(name, command, self.folder, is_ready, environment={**self.environment, **folders})

    def __enter__(self) -> Self:
        for server in (self.manager, *self.workers.values()):
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.workers.values():
            server.kill()
        self.manager.close()

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """What its REST interface answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.rest}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def busy(self) -> list[Server]:
        """The task managers whose slots are taken by a job."""
        found = self.ask("/taskmanagers")["taskmanagers"]
        return [self.workers[one["dataPort"]] for one in found if one["freeSlots"] < one["slotsNumber"]]
