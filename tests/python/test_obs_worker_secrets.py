"""No credential is in any log line, notice, dead letter, result or exception, whatever happens and at any level."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support import topics
from tests.python.support.children import Child, run
from tests.python.support.files import File
from tests.python.support.jobs import Job
from tests.services.fault_proxy import FaultProxy
from tests.services.s3 import S3, start_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.python.support.children import Ended

KEY = "AKIADISTINCT0PIPE"
SECRET = "s3cr3t/Distinct+Pipe=42"
WRONG = "wr0ng-Secret/Distinct+77"


@pytest.fixture(scope="module")
def store() -> Iterator[S3]:
    """A store with an account that cannot be mistaken for anything else."""
    store = start_s3(KEY, SECRET)
    with store.server:
        yield store


@pytest.fixture
def job(kafka_sasl, store, tmp_path) -> Iterator[Job]:
    """A job whose login is told by the environment, as users do; the store is behind a proxy that breaks."""
    with FaultProxy(store.url) as proxy:
        job = Job(kafka_sasl, store, tmp_path, url=proxy.url)
        proxy.answer(503, every=7)
        proxy.answer(403, path="/forbidden", times=2)
        proxy.lose_reply("PUT", every=5)
        job.settings |= {
            "obs_access_key_id": None,
            "obs_secret_access_key": None,
            "bootstrap_servers": kafka_sasl.bootstrap,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_username": kafka_sasl.user,
            "ssl_ca_location": kafka_sasl.ca,
            "log_level": "debug",
            "properties": {"debug": "all"},
        }
        yield job


def login(job: Job, secret: str = SECRET, key: str = KEY, password: str = "") -> dict[str, str]:
    return {
        "OBS_ACCESS_KEY": key,
        "OBS_SECRET_KEY": secret,
        "KAFKA_SASL_PASSWORD": password or job.kafka.password,
    }


def secrets(job: Job) -> list[str]:
    """What may be nowhere, in the spellings that it could have on its way."""
    plain = [KEY, SECRET, WRONG, job.kafka.password]
    return [spelling for secret in plain for spelling in {secret, json.dumps(secret)[1:-1], secret.replace("/", "%2F")}]


def assert_silent(job: Job, *said: str) -> None:
    """What was said, notices, dead letters and results hold no secret."""
    texts = list(said)
    for topic in (job.result_topic, f"{job.topic}_dlq"):
        found = topics.messages(job.kafka, topic)
        texts += [f"{message.key} {message.value} {message.headers}" for message in found]
    texts += [job.result(key).decode(errors="replace") for key in job.s3.keys(job.dest)]
    assert all(texts), "There is something to look at"
    for text in texts:
        for secret in secrets(job):
            at = text.find(secret)
            assert at < 0, f"A secret is in: {text[max(0, at - 200) : at]}[here]"


def ran(job: Job, environment: dict[str, str], **changed: Any) -> Ended:
    settings = {name: value for name, value in {**job.settings, **changed}.items() if value is not None}
    return run(job.folder, "obs-worker", environment=environment, **settings)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_obs_worker_says_no_secret_over_files_that_go_well_and_files_that_do_not(job, log_format) -> None:
    job.add(
        File("good"),
        File("large", 9_000_000),
        *(File(act, acts=(act,)) for act in ("raise", "segfault", "raise_half", "vanish")),
        File("always", acts=("raise",) * 9),
        File("forbidden"),
    )
    job.send(job.task("nowhere"), job.task("good", bucket="b-nowhere"), b"no task")
    ended = ran(job, login(job), log_format=log_format)
    assert ended.code == 0, ended.err[-3000:]
    assert len(job.notices()) == 10
    assert len(ended.err) > 10_000, "The debug log is on"
    assert_silent(job, ended.out, ended.err)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_parser_that_raises_the_environment_tells_no_secret(job, log_format) -> None:
    job.add(File("once", acts=("raise_secrets",)), File("always", acts=("raise_secrets",) * 9))
    ended = ran(job, login(job), log_format=log_format, log_db=job.folder / "log.db")
    assert ended.code == 0, ended.err[-3000:]
    assert job.notice("always")["error"].startswith("PermissionError: No login with")
    assert job.notice("once")["status"] == "success"
    assert (job.folder / "log.db").stat().st_size
    log = b"".join(path.read_bytes() for path in job.folder.glob("log.db*"))
    assert_silent(job, ended.out, ended.err, log.decode("latin-1"))


def test_a_secret_that_was_written_into_a_task_is_not_told_by_the_log(job) -> None:
    """The dead letter is the task unchanged; what we say of it is not."""
    job.send(job.task(f"in/{SECRET}"))
    job.settings["dead_letter_topic"] = job.kafka.new_topic()
    ended = ran(job, login(job), log_format="json", max_attempts=1)
    assert ended.code == 0
    assert len(ended.err) > 10_000
    assert not [secret for secret in (WRONG, job.kafka.password) if secret in ended.err]


WRONG_LOGINS = {
    "a wrong secret": {"secret": WRONG},
    "a wrong access key": {"key": "AKIAWRONG0DISTINCT"},
    "a wrong password": {"password": WRONG},
}


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("case", WRONG_LOGINS)
def test_a_login_that_fails_is_told_without_the_secret(job, case, log_format) -> None:
    job.add(File("a"))
    ended = ran(job, login(job, **WRONG_LOGINS[case]), log_format=log_format, max_attempts=2)
    assert len(ended.err) > 500
    assert_silent(job, ended.err)
    assert "AKIAWRONG0DISTINCT" not in ended.err


@pytest.mark.parametrize("case", WRONG_LOGINS)
def test_bucket_to_kafka_tells_a_login_that_fails_without_the_secret(job, case) -> None:
    job.put(File("a"))
    names = ("bootstrap_servers", "security_protocol", "sasl_mechanism", "sasl_username", "ssl_ca_location")
    names += ("obs_endpoint", "obs_region", "obs_virtual_hosted", "topic", "properties", "log_level", "log_format")
    given = {name: job.settings[name] for name in names}
    with Child(
        job.folder, "bucket-to-kafka", bucket=job.source, environment=login(job, **WRONG_LOGINS[case]), **given
    ) as child:
        ended = child.wait()
    assert ended.code == 1, ended.err[-3000:]
    assert_silent(job, ended.err)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("case", WRONG_LOGINS)
def test_exceptions_settings_and_log_records_of_obs_worker_hold_no_secret(job, case, monkeypatch, caplog) -> None:
    from pipeline_core import bucket_to_kafka, obs_worker
    from pipeline_core.exceptions import PipelineError

    for name, value in login(job, **WRONG_LOGINS[case]).items():
        monkeypatch.setenv(name, value)
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", logger="pipeline_core")
    job.add(File("a", acts=("raise_secrets",) * 9))
    both = {
        name: value
        for name, value in job.settings.items()
        if value is not None and name not in {"json", "log_format", "log_level", "parser"}
    }
    config = obs_worker.Config(**both, parser="default")
    said = [repr(config).replace(config.obs_access_key_id, ""), str(config).replace(config.obs_access_key_id, "")]
    sending = {name: both[name] for name in bucket_to_kafka.Config.model_fields if name in both}
    for call in (
        lambda: obs_worker.run(config),
        lambda: bucket_to_kafka.run(bucket=job.source, **sending),
    ):
        try:
            said.append(repr(call()))
        except PipelineError as error:
            said += [str(error), repr(error), repr(error.args), "".join(traceback.format_exception(error))]
    assert len(said) >= 4
    # The test's own client of the store logs, too.
    ours = [record for record in caplog.records if record.name.startswith("pipeline_core")]
    assert ours
    said += [f"{record.getMessage()} {vars(record)}" for record in ours]
    assert_silent(job, *said)
