from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import pytest

from pipeline_core import TaskGenerator, _core, bucket_to_kafka
from pipeline_core.exceptions import SettingsError

pytestmark = pytest.mark.usefixtures("no_settings")

REPORT = {
    "pipeline": "bucket_to_kafka",
    "status": "complete",
    "reason": "end of input",
    "rows_read": 0,
    "rows_rejected": 0,
    "bytes_read": 0,
    "bytes_written": 0,
    "started_at": "2026-01-31T00:00:00Z",
    "seconds": 1.0,
}
LISTED = [{"key": f"data/{number}.csv", "bucket": "b", "etag": str(number)} for number in range(5)]


@pytest.fixture
def engine(monkeypatch):
    """What the engine was asked for, in place of asking it; a task with the ETag 0 was sent before."""
    asked = []

    def list_tasks(document, _stop, _beat=None):
        asked.append(("list", json.loads(document)))
        return json.dumps(LISTED)

    def send_tasks(document, tasks, _stop, _beat=None):
        sent = json.loads(tasks)
        asked.append(("send", json.loads(document), sent))
        return json.dumps({**REPORT, "rows_written": len([task for task in sent if task.get("etag") != "0"])})

    monkeypatch.setattr(_core, "list_tasks", list_tasks, raising=False)
    monkeypatch.setattr(_core, "send_tasks", send_tasks, raising=False)
    return asked


def test_a_task_has_its_fields_in_the_order_of_the_contract():
    with TaskGenerator() as generator:
        task = generator.generate_single_task("a/b.csv", "b", "d", "out.json", {"line": 7})
    assert list(task) == ["key", "bucket", "dest_bucket", "dest_key", "generated_at", "metadata"]
    assert task["generated_at"].endswith("Z")
    assert len(task["generated_at"]) == len("2026-01-31T12:00:00.123456Z")
    made = datetime.fromisoformat(task["generated_at"].replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - made).total_seconds()) < 60
    assert task["metadata"] == {"line": 7}


def test_what_is_not_known_is_not_in_a_task(monkeypatch):
    monkeypatch.setenv("OBS_SOURCE_BUCKET", "")
    task = TaskGenerator().generate_single_task("a", "", None, "", {})
    assert list(task) == ["key", "generated_at"]


def test_buckets_come_from_the_settings_where_no_other_is_named(monkeypatch):
    monkeypatch.setenv("SOURCE_BUCKET", "from the environment")
    generator = TaskGenerator(dest_bucket="d")
    first, second = generator.generate_task_from_file_list(["a", "b"])
    assert (first["bucket"], second["dest_bucket"]) == ("from the environment", "d")
    (third,) = generator.generate_task_from_file_list(["c"], bucket="mine", dest_bucket="e")
    assert (third["key"], third["bucket"], third["dest_bucket"]) == ("c", "mine", "e")


def test_settings_may_be_given_whole():
    config = bucket_to_kafka.Config(bucket="b")
    assert TaskGenerator(config).generate_single_task("a")["bucket"] == "b"
    with pytest.raises(SettingsError, match="not both: bucket"):
        TaskGenerator(config, bucket="c")


def test_variables_of_the_command_s_single_mode_do_not_disturb(monkeypatch, engine):
    monkeypatch.setenv("DEST_KEY", "out.json")
    monkeypatch.setenv("SINGLE_FILE", "a.csv")
    TaskGenerator().generate_task_from_obs_list("b")
    assert (engine[0][1]["keys"], engine[0][1]["dest_key"]) == ([], None)


def test_a_listing_takes_the_arguments_of_the_call_over_the_settings(engine):
    generator = TaskGenerator(bucket="b", prefix="data/", dest_bucket="d", max_files=7)
    assert generator.generate_task_from_obs_list() == LISTED
    generator.generate_task_from_obs_list("c", "other/", "e", 9)
    wanted = ("bucket", "prefix", "dest_bucket", "max_files")
    assert [[asked[1][name] for name in wanted] for asked in engine] == [
        ["b", "data/", "d", 7],
        ["c", "other/", "e", 9],
    ]


def test_the_secrets_of_the_settings_reach_the_engine(engine, monkeypatch):
    monkeypatch.setenv("OBS_SECRET_KEY", "hunter2")
    TaskGenerator().generate_task_from_obs_list("b")
    assert engine[0][1]["store"]["obs_secret_access_key"] == "hunter2"


def test_sending_tells_how_many_were_sent(engine):
    generator = TaskGenerator(topic="t")
    assert generator.send_tasks_to_kafka(LISTED) == 4
    assert [len(asked[2]) for asked in engine] == [5]
    assert engine[0][1]["topic"] == "t"
    assert generator.report is not None
    assert generator.report.rows_written == 4


def test_one_task_is_sent_or_was_sent_before(engine):
    generator = TaskGenerator()
    assert generator.send_task_to_kafka(LISTED[1]) is True
    assert generator.send_task_to_kafka(LISTED[0]) is False
    assert len(engine) == 2


def test_batches_are_sent_with_pauses_where_a_pause_is_asked_for(engine):
    began = time.monotonic()
    assert TaskGenerator().send_tasks_to_kafka(LISTED, batch_size=2, delay_between_batches=0.05) == 4
    assert time.monotonic() - began >= 0.1
    assert [len(asked[2]) for asked in engine] == [2, 2, 1]


def test_nothing_is_sent_without_tasks(engine):
    assert TaskGenerator().send_tasks_to_kafka([]) == 0
    assert engine == []


def test_a_scan_sends_what_it_lists_and_gives_it(engine):
    with TaskGenerator(bucket="b") as generator:
        assert generator.scan_and_generate_tasks(prefix="data/") == LISTED
    assert [asked[0] for asked in engine] == ["list", "send"]


def test_a_scan_may_leave_the_sending_to_the_caller(engine):
    assert TaskGenerator().scan_and_generate_tasks("b", "", None, 1000, False) == LISTED  # noqa: FBT003 - as in the original
    assert [asked[0] for asked in engine] == ["list"]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda generator: generator.generate_task_from_obs_list(), "'bucket' is missing"),
        (lambda generator: generator.generate_task_from_obs_list("b", max_files=0), "'max_files'"),
        (lambda generator: generator.generate_task_from_file_list("a.csv"), "'file_list' is one text"),
        (lambda generator: generator.generate_single_task(""), "A task needs a key"),
        (lambda generator: generator.send_tasks_to_kafka([], batch_size=0), "'batch_size'"),
    ],
)
def test_wrong_calls_are_explained(call, message):
    with pytest.raises(SettingsError) as caught:
        call(TaskGenerator())
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.usefixtures("engine")
def test_a_closed_generator_sends_nothing():
    with TaskGenerator() as generator:
        pass
    with pytest.raises(SettingsError, match="This TaskGenerator is closed"):
        generator.send_tasks_to_kafka(LISTED)
