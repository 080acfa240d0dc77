"""An S3 server for the benchmark (`s3_memory/`, ours, in Go): objects in memory, nothing checked, next to no CPU.

On two cores a server that is as busy as its clients decides who wins. CPU of the server for a GET and a PUT of 1 KB,
and of 1 MB: versitygw 650 µs and 3.6 ms (signatures, SHA-256, files), this one 70 µs and 0.5 ms. What it leaves out
spares clients nothing: they sign and hash as for any other store. No place to test behaviour: that is `s3.py`.
"""

from __future__ import annotations

from pathlib import Path

from .install import installed, run_tool
from .process import Server, free_ports, port_answers, temporary_folder
from .s3 import KEY, S3, SECRET

SOURCE = Path(__file__).parent / "s3_memory"


def install_s3_memory() -> Path:
    """The folder with the server's program."""
    files = sorted(path for path in SOURCE.iterdir() if path.suffix in (".go", ".mod"))
    return installed("s3_memory", "\n".join(path.read_text(encoding="utf-8") for path in files), _build)


def start_s3_memory() -> S3:
    """Install what is missing and start an empty store; `server.close()` ends it."""
    program = install_s3_memory() / "s3_memory"
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    server = Server("s3_memory", [str(program), address], temporary_folder("s3_memory"), port_answers(port))
    server.start()
    return S3(f"http://{address}", KEY, SECRET, _server=server)


def _build(folder: Path) -> None:
    options = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(folder / "s3_memory")]
    run_tool("go", "build", *options, ".", environment={"CGO_ENABLED": "0"}, directory=SOURCE)
