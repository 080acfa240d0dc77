"""`obs_worker` from Python: a callable as parser, awaited, with counts on the way; and `obs-worker status`."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from tests.python.support.children import succeed
from tests.python.support.files import File
from tests.python.support.jobs import SUFFIX, Job

pytestmark = pytest.mark.usefixtures("no_settings")

FOR_THE_COMMAND = {"json", "log_format", "parser"}


@pytest.fixture
def job(kafka, s3, tmp_path) -> Job:
    return Job(kafka, s3, tmp_path / "job")


def settings(job: Job) -> dict[str, object]:
    given = {name: value for name, value in job.settings.items() if name not in FOR_THE_COMMAND}
    work = job.folder / "work"
    return {**given, "download_dir": str(work / "downloads"), "upload_dir": str(work / "uploads")}


SCRIPT = """
import asyncio, json, sys
from dataclasses import dataclass
from pathlib import Path
from pipeline_core import obs_worker

SUFFIX = b"!"

@dataclass
class Adding:
    text: bytes

    def parse(self, input_path: Path, output_path: Path) -> None:
        output_path.write_bytes(input_path.read_bytes() + self.text + SUFFIX)

def parse(input_path: Path, output_path: Path) -> None:
    output_path.write_bytes(input_path.read_bytes() + b"function" + SUFFIX)

def main():
    tail = b"lambda"
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    parser = {
        "a function": parse,
        "an object": Adding(b"object"),
        "a closure": lambda source, target: target.write_bytes(source.read_bytes() + tail + SUFFIX),
    }[kind]
    if sys.argv[3] == "run":
        report = obs_worker.run(parser=parser, **settings)
    else:
        report = asyncio.run(obs_worker.arun(parser=parser, **settings))
    print(json.dumps(report.to_dict()))

if __name__ == "__main__":
    main()
"""
KINDS = {"a function": b"function!", "an object": b"object!", "a closure": b"lambda!"}


@pytest.mark.parametrize("call", ["run", "arun"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_parser_of_the_script_itself_is_run_by_obs_worker(job, kind, call) -> None:
    job.add(file := File("a"))
    script = job.folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), kind, json.dumps(settings(job)), call]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=job.folder, timeout=120, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_written"] == 1
    assert job.result("a" + SUFFIX) == file.content + KINDS[kind]


def test_a_parser_that_cannot_be_carried_to_another_process_is_said(job) -> None:
    import threading

    from pipeline_core import obs_worker
    from pipeline_core.exceptions import PipelineError

    lock = threading.Lock()
    with pytest.raises((PipelineError, TypeError), match=r"(?i)pickle|parser"):
        obs_worker.run(parser=lambda _source, _target: lock.acquire(), **settings(job))


def test_an_awaited_obs_worker_tells_its_counts_and_drains_when_cancelled(job) -> None:
    import asyncio

    from pipeline_core import obs_worker

    files = [File(f"{number}") for number in range(5)]
    job.add(*files)
    counts: list[int] = []

    async def main() -> None:
        all_done = asyncio.Event()

        def tell(stats: object) -> None:
            counts.append(stats.rows_written)
            if counts[-1] == len(files):
                all_done.set()

        given = settings(job) | {"until": "stopped", "parser": "default"}
        run = asyncio.create_task(obs_worker.arun(on_progress=tell, **given))
        await asyncio.wait_for(all_done.wait(), 60)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    assert counts == sorted(counts)
    assert len(job.notices()) == len(files)
    assert job.work().report["rows_read"] == 0


def test_status_tells_what_was_done_and_what_is_left(job) -> None:
    job.add(*(File(f"good {number}") for number in range(3)), File("bad", acts=("raise:No such signal",) * 9))
    job.work(max_attempts=2, log_db="log.db")
    job.send(keys=[f"waits {number}" for number in range(17)])
    names = ("topic", "group_id", "bootstrap_servers")
    given = {name: job.settings[name] for name in names} | {"log_db": job.folder / "log.db"}
    said = succeed(job.folder, "obs-worker status", **given).out
    assert re.search(r"\b75(\.0+)? ?%", said), said
    assert "ValueError: No such signal" in said, said
    assert re.search(r"\b17\b", said), said
    assert not re.search("Traceback", said), said


def test_the_processing_log_has_a_line_for_each_file(job) -> None:
    files = [File("good"), File("mended", acts=("raise",)), File("bad", acts=("raise",) * 9)]
    job.add(*files)
    job.work(max_attempts=2, log_db="log.db")
    with closing(sqlite3.connect(job.folder / "log.db")) as log:
        log.row_factory = sqlite3.Row
        [table] = [
            name
            for (name,) in log.execute("select name from sqlite_master where type = 'table'").fetchall()
            if not name.startswith("sqlite_")
        ]
        rows = [dict(row) for row in log.execute(f'select * from "{table}"')]
    assert rows
    assert rows[0].keys() >= {"status", "attempts", "seconds", "error"}, rows[0]
    [file] = rows[0].keys() & {"file", "file_key", "key"}
    ends = {row[file]: (row["status"], row["attempts"]) for row in rows if row["status"] != "retry"}
    assert ends == {"good": ("success", 1), "mended": ("success", 2), "bad": ("failed", 2)}
    assert all("ValueError" in row["error"] for row in rows if row["status"] == "failed")


def test_check_tries_what_obs_worker_needs(job) -> None:
    given = {name: value for name, value in job.settings.items() if name != "log_format"}
    items = json.loads(succeed(job.folder, "check obs-worker", **given).out.splitlines()[-1])
    assert items
    assert all(item["ok"] for item in items), items
