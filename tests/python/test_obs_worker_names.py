"""Keys that would leave the work folder or meet in it: each file's own content, and nothing anywhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.python.support.children import wait_until
from tests.python.support.files import File
from tests.python.support.jobs import SUFFIX, Job
from tests.python.support.literal_keys import LiteralKeys

if TYPE_CHECKING:
    from collections.abc import Iterator

# Names that S3 and OBS take as they are.
KEYS = [
    "plain.csv",
    "with a blank.csv",
    " blanks around ",
    "50%2Fx",
    "a%20b+c",
    "+plus+",
    "q?x=1&y=2#z",
    "back\\slash",
    "quote\"'`",
    "star*.[a-z]{1}",
    "文件/ünï.csv",
    "e\u0301 is not \u00e9",
    "emoji 😀",
    "tab\tand\nline",
    "-rf",
    "~root",
    "$(touch pwned)",
    "..hidden..",
    "a..b",
    "x" * 1000,
    "ü" * 500,
    "/".join(["deep"] * 190),
    "a",
    "a/b",
    "CON",
    ".env",
    "parsers.py",
]
# No HTTP client that follows the URL standard can ask for a path with dot segments, so these may be refused instead.
STRANGE = ["../up", "../../../../up", "a/../b", "..", ".", "./here", "a/./b", "a//b", "/abs", "//two", "end/.."]


@pytest.fixture
def job(kafka, s3, tmp_path) -> Iterator[Job]:
    """A job in a folder of a folder of a folder, over a store that takes keys as they are."""
    with LiteralKeys(s3) as front:
        yield Job(kafka, front, tmp_path / "a" / "b" / "c")


def outside(job: Job, top: Path) -> list[str]:
    """Files below `top` that neither the test nor the work folder accounts for."""
    ours = ("parsers.py", "attempts", "work", "__pycache__")
    found = [path.relative_to(job.folder) if path.is_relative_to(job.folder) else path for path in top.rglob("*")]
    files = [path for path in found if (job.folder / path).is_file() and path.suffix not in {".out", ".err"}]
    return [str(path) for path in files if path.parts[0] not in ours]


def test_each_key_gets_its_own_content_from_obs_worker(job, tmp_path) -> None:
    files = [File(key, 300 + number) for number, key in enumerate(KEYS) if len(key) < 900]
    files += [File(key, 5000) for key in KEYS if len(key) >= 900]
    job.add(*files)
    ended = job.work(concurrency=64, output_suffix="~out")
    assert ended.report["rows_written"] == len(KEYS), ended.err[-6000:]
    assert job.s3.keys(job.dest) == sorted(f"{key}~out" for key in KEYS)
    for file in files:
        assert job.result(f"{file.key}~out") == file.content, file.key
        assert job.notice(file.key)["destination"]["key"] == f"{file.key}~out"
    assert outside(job, tmp_path) == []
    assert job.left_behind() == []
    assert (job.folder / "parsers.py").read_text() == (Path(__file__).parent / "support" / "parsers.py").read_text()


@pytest.mark.parametrize("fails", [False, True], ids=["done", "given up"])
def test_keys_that_climb_never_leave_the_work_folder(job, tmp_path, fails) -> None:
    absolute = f"{tmp_path}/absolute"
    acts = ("raise",) * 9 if fails else ()
    files = [File(key, acts=acts) for key in [*STRANGE, absolute]]
    job.add(*files, File("good"))
    job.work(cleanup_files=False, max_attempts=1)
    assert job.notice("good")["status"] == "success"
    for file in files:
        notice = job.notice(file.key)
        if fails or notice["status"] == "failed":
            assert notice["status"] == "failed"
            assert file.key + SUFFIX not in job.s3.keys(job.dest)
        else:
            assert job.result(file.key + SUFFIX) == file.content, file.key
    assert job.left_behind(), "They are kept, so there is something to see"
    assert outside(job, tmp_path) == []


def test_destinations_that_climb_never_leave_the_work_folder(job, tmp_path) -> None:
    keys = [*STRANGE, f"{tmp_path}/absolute", "../parsers.py"]
    files = [File(f"in {number}") for number in range(len(keys))]
    job.put(*files)
    job.send(*(job.task(file.key, dest_key=key) for file, key in zip(files, keys, strict=True)))
    job.work(cleanup_files=False, max_attempts=1)
    for file, key in zip(files, keys, strict=True):
        notice = job.notice(file.key)
        assert notice["destination"]["key"] == key
        if notice["status"] == "success":
            assert job.result(key) == file.content, key
    assert job.left_behind()
    assert outside(job, tmp_path) == []


def test_equal_keys_that_are_in_work_at_once_never_meet(job, s3) -> None:
    """Two buckets with the same key, and one file that goes to many places, all at the same time."""
    other = s3.new_bucket()
    file = File("same", acts=("sleep:0.3",) * 20)
    job.put(file)
    content = b"of the other bucket"
    job.s3.client().put_object(Bucket=other, Key="same", Body=content)
    for number in range(4):
        job.send(
            job.task("same", dest_key=f"mine {number}"), job.task("same", bucket=other, dest_key=f"theirs {number}")
        )
    job.work(processes=8)
    assert [job.result(f"mine {number}") for number in range(4)] == [file.content] * 4
    assert [job.result(f"theirs {number}") for number in range(4)] == [content] * 4
    told = {(notice["source"]["bucket"], notice["destination"]["key"]) for notice in job.notices()}
    assert len(told) == 8
    assert job.left_behind() == []


def test_two_obs_workers_in_one_folder_never_meet(job) -> None:
    files = [File(f"{number}", acts=("sleep:0.1",)) for number in range(20)]
    job.add(*files)
    with job.worker(until="stopped") as one, job.worker(until="stopped", group_id=f"{job.topic}-2") as other:
        job.wait_for_notices(40, one, other)
    assert sorted(notice["status"] for notice in job.notices()) == ["success"] * 40
    assert {file.key: job.result(file.key + SUFFIX) for file in files} == {file.key: file.content for file in files}


def test_local_names_keep_the_suffix_that_parsers_go_by(job) -> None:
    """python-can, pandas and the like choose a reader and a writer by it."""
    job.add(File("in/log.BLF", 100))
    job.send(job.task("in/log.BLF", dest_key="out/table.parquet"))
    job.work(parser="parsers:naming")
    for key, suffix in ((f"in/log.BLF{SUFFIX}", ".json"), ("out/table.parquet", ".parquet")):
        names = json.loads(job.result(key))
        assert Path(names["input"]).suffix == ".BLF"
        assert Path(names["output"]).suffix == suffix
        assert Path(names["input"]).is_relative_to(job.folder / "work" / "downloads")
        assert Path(names["output"]).is_relative_to(job.folder / "work" / "uploads")


CLEANUPS = {
    # cleanup_files, cleanup_on_error: whether a good file and a bad one leave something behind
    "by default": ({}, False, True),
    "without cleanup": ({"CLEANUP_FILES": "false"}, True, True),
    "on errors too": ({"CLEANUP_ON_ERROR": "true"}, False, False),
    "never is stronger": ({"CLEANUP_FILES": "false", "CLEANUP_ON_ERROR": "true"}, True, True),
}


@pytest.mark.parametrize("case", CLEANUPS)
def test_local_files_are_kept_as_the_contract_says(job, case) -> None:
    environment, good_stays, bad_stays = CLEANUPS[case]
    good, bad = File("good", 700), File("bad", 800, acts=("raise_half",) * 9)
    job.add(good, bad, File("mended", 900, acts=("raise",)))
    environment |= {"OBS_DOWNLOAD_DIR": "work/in", "OBS_UPLOAD_DIR": "work/out"}
    job.work(environment=environment, max_attempts=2)
    left = [(job.folder / "work" / name).read_bytes() for name in job.left_behind()]
    assert left.count(good.content) == 2 * good_stays, job.left_behind()
    assert (bad.content in left) == bad_stays
    assert (b"half of it" in left) == bad_stays
    assert bool(left) == (good_stays or bad_stays)


def test_what_a_killed_obs_worker_left_is_cleaned_up_by_the_next(job) -> None:
    job.add(file := File("a", acts=("hang",)))
    with job.worker(until="stopped") as worker:
        wait_until(lambda: job.runs("a") or not worker.is_running, "its parser hangs")
    assert job.left_behind(), "It was killed in the middle"
    job.work()
    assert job.result("a" + SUFFIX) == file.content
    assert job.left_behind() == []
