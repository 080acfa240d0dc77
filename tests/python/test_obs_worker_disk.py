"""Disks that are full, files that change under their task, and what a task's ETag is good for."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.python.support import files
from tests.python.support.children import wait_until
from tests.python.support.files import File
from tests.python.support.jobs import Job, attempts_told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD = b"what the task was made for"
NEW = b"what is there now, and longer"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk; again with another size while it is mounted."""
    if os.geteuid() != 0:
        pytest.skip("Only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: str) -> Path:
        options = f"{'remount,' if folder.is_mount() else ''}size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, check=False, timeout=30).returncode:
            pytest.skip("This root may not mount")
        return folder

    try:
        yield mount
    finally:
        if folder.is_mount():
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


@pytest.mark.parametrize("which", ["download_dir", "upload_dir"])
def test_a_full_disk_is_said_by_obs_worker_and_tried_again(kafka, s3, tmp_path, mounted, which) -> None:
    disk = mounted("2m")
    job = Job(kafka, s3, tmp_path / "job", settings={which: disk / "work", "max_attempts": 15})
    small, large = File("small", 100_000), File("large", 5_000_000)
    job.add(large, small)
    with job.worker(retry_seconds=1) as worker:
        wait_until(
            lambda: attempts_told(worker.said, "retry") or not worker.is_running, "it is tried again", seconds=60
        )
        mounted("64m")
        ended = worker.wait()
    assert ended.code == 0, ended.err[-3000:]
    told = attempts_told(ended.err, "retry")
    assert told
    assert "large" in {line["file_key"] for line in told}, "The small one may meet the full disk, too"
    assert all(re.search(r"space|disk", line["error"], re.IGNORECASE) for line in told), told
    job.assert_each_file_once(large, small)
    assert not [path for path in disk.rglob("*") if path.is_file()]


def test_the_work_folders_hold_no_more_than_the_disk_limit(kafka, s3, tmp_path) -> None:
    """Sixteen files of 1 MB may be on their way at a time, but there is room for eight, input and output."""
    job = Job(kafka, s3, tmp_path, settings={"concurrency": 16, "disk_limit": "8MB"})
    given = [File(f"{number}", 1_000_000, acts=("sleep:0.2",)) for number in range(16)]
    job.add(*given)
    most = 0
    with job.worker() as worker:
        while worker.is_running:
            most = max(most, used(job.folder / "work"))
            time.sleep(0.01)
        assert worker.wait().code == 0
    assert 1_000_000 <= most <= 9_000_000
    job.assert_each_file_once(*given)


def used(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@pytest.fixture
def changed(kafka, s3, tmp_path) -> tuple[Job, str]:
    """A job with a task for a file that has changed since; and the file's ETag of now."""
    job = Job(kafka, s3, tmp_path)
    client = s3.client()
    before = client.put_object(Bucket=job.source, Key="a", Body=OLD)["ETag"].strip('"')
    after = client.put_object(Bucket=job.source, Key="a", Body=NEW)["ETag"].strip('"')
    assert before != after
    job.send(job.task("a", size=len(OLD), etag=before))
    job.add(File("good"))
    return job, after


def test_a_file_that_changed_under_its_task_is_processed_as_it_is_and_that_is_said(changed) -> None:
    job, etag = changed
    ended = job.work()
    assert ended.report["details"]["files_changed"] == 1
    assert re.search("changed", ended.err)
    notice = job.notice("a")
    assert (notice["status"], notice["file_info"]["input_size"]) == ("success", len(NEW))
    assert notice["headers"]["pipeline_core.source_etag"] == etag
    assert job.result("a.parsed.json") == NEW
    found = job.s3.client().head_object(Bucket=job.dest, Key="a.parsed.json")["Metadata"]
    assert (found["source-etag"], found["source-key"], found["task"]) == (etag, "a", f"{job.topic}/0/0")


def test_a_file_that_changed_under_its_task_fails_where_that_is_asked_for(changed) -> None:
    job, _ = changed
    ended = job.work(changed_files="fail")
    notice = job.notice("a")
    assert notice["status"] == "failed"
    assert re.search("changed|ETag", notice["error"])
    assert len(attempts_told(ended.err, "failed")) == 1
    assert len(job.letters()) == 1
    assert job.s3.keys(job.dest) == ["good.parsed.json"]


def test_the_etag_of_a_task_may_stand_in_quotes(kafka, s3, tmp_path) -> None:
    job = Job(kafka, s3, tmp_path)
    etag = s3.client().put_object(Bucket=job.source, Key="a", Body=OLD)["ETag"]
    assert etag.startswith('"')
    job.send(job.task("a", etag=etag))
    assert job.work(changed_files="fail").report["rows_written"] == 1


def test_a_result_of_an_earlier_task_is_replaced(kafka, s3, tmp_path) -> None:
    """The same file sent again, as with --resend, or after it changed: its result is the new one."""
    job = Job(kafka, s3, tmp_path)
    client = s3.client()
    for content in (OLD, NEW):
        client.put_object(Bucket=job.source, Key="a", Body=content)
        job.send(keys=["a"])
        job.work()
        assert job.result("a.parsed.json") == content
    assert [notice["status"] for notice in job.notices()] == ["success"] * 2
    assert files.digests(s3, job.dest).keys() == {"a.parsed.json"}


def test_files_on_both_sides_of_a_part_come_and_go_whole(kafka, s3, tmp_path) -> None:
    job = Job(kafka, s3, tmp_path, settings={"parser": "parsers:copying", "memory_limit": "64MB"})
    given = [File(f"{size}", size) for size in (0, 1, files.PART_BYTES - 1, files.PART_BYTES, files.PART_BYTES + 1)]
    given += [File(f"large {number}", files.LARGEST_BYTES) for number in range(3)]
    job.add(*given)
    job.work()
    job.assert_each_file_once(*given)
