"""Ends the servers of a process that could not do it itself, because it was killed.

Run as `python watchdog.py PARENT_PID`. Reads lines from standard input: `+ GROUP` and `- GROUP` for process groups,
`+ /FOLDER` and `- /FOLDER` for temporary folders. When the parent is gone, kills the groups and deletes the folders;
what is mounted there is unmounted.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys

# A forked child of the parent may hold the pipe open for long, so the end of the pipe is not the only sign.
POLL_SECONDS = 0.2


def watch(parent: int) -> set[str]:
    """Follow the parent's lines until it is gone; what it left running or lying about."""
    left: set[str] = set()
    unread = b""
    while os.getppid() == parent:
        if not select.select([0], [], [], POLL_SECONDS)[0]:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, unread = (unread + chunk).split(b"\n")
        for line in lines:
            sign, thing = line.decode().split(" ", 1)
            (left.add if sign == "+" else left.discard)(thing)
    return left


def main() -> None:
    """Watch, then clean up: processes first, then the folders that they wrote to."""
    left = watch(int(sys.argv[1]))
    for group in left:
        if not group.startswith("/"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(group), signal.SIGKILL)
    for folder in left:
        if folder.startswith("/"):
            if os.path.ismount(folder):
                subprocess.run(["umount", "--lazy", folder], check=False)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
