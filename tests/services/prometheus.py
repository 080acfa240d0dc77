"""Prometheus and its promtool, of Debian: what scrapes the metrics, and what checks the rules of its alerts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import urlopen

from .debian import libraries, unpack
from .install import installed
from .process import Endpoint, Server, free_ports, log_says, temporary_folder

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "prometheus"


@dataclass(frozen=True)
class Prometheus(Endpoint):
    """A Prometheus that tests ask; `url` is `http://host:port`."""

    url: str

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers, without the envelope."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(query)}", timeout=30) as answer:
            return json.load(answer)["data"]


def install_prometheus() -> Path:
    """The folder of its programs."""
    return installed(PACKAGE, "Debian's", lambda folder: unpack(PACKAGE, folder))


def promtool() -> tuple[Path, dict[str, str]]:
    """The program, and the environment to run it in."""
    folder = install_prometheus()
    return folder / "usr/bin/promtool", {**os.environ, **libraries(folder)}


def start_prometheus(settings: str) -> Prometheus:
    """Start one with the text of a settings file; `server.close()` ends it."""
    folder = temporary_folder(PACKAGE)
    (folder / "prometheus.yml").write_text(settings)
    installation = install_prometheus()
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    command = [str(installation / "usr/bin/prometheus"), f"--web.listen-address={address}"]
    places = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    ready = log_says("Server is ready to receive web requests")
    server = Server(PACKAGE, [*command, *places], folder, ready, environment=libraries(installation))
    server.start()
    return Prometheus(f"http://{address}", _server=server)
