from __future__ import annotations

import json
import logging
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline_core import bucket_to_kafka, obs_worker
from pipeline_core.cli import application
from pipeline_core.exceptions import SettingsError

pytestmark = pytest.mark.usefixtures("no_settings")

BUCKET, WORKER = bucket_to_kafka.Config, obs_worker.Config

# Name, text, the setting it is, the value that comes of it, and the value without it: the original README's.
OF_BOTH = [
    ("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2", "bootstrap_servers", "a:1,b:2", "localhost:9092"),
    ("KAFKA_TOPIC_TASKS", "t", "topic", "t", "file-processing-tasks"),
    ("KAFKA_SECURITY_PROTOCOL", "ssl", "security_protocol", "SSL", None),
    ("KAFKA_SASL_MECHANISM", "scram-sha-512", "sasl_mechanism", "SCRAM-SHA-512", None),
    ("OBS_ACCESS_KEY", "id", "obs_access_key_id", "id", None),
    ("OBS_SERVER", "https://obs.example", "obs_endpoint", "https://obs.example", None),
    ("OBS_REGION", "cn-north-4", "obs_region", "cn-north-4", None),
]
OF_WORKER = [
    ("KAFKA_GROUP_ID", "g", "group_id", "g", "obs-workers"),
    ("KAFKA_RESULT_TOPIC", "r", "result_topic", "r", "file-processing-results"),
    ("KAFKA_AUTO_OFFSET_RESET", "earliest", "auto_offset_reset", "earliest", "latest"),
    ("KAFKA_ENABLE_AUTO_COMMIT", "false", "enable_auto_commit", False, True),
    ("KAFKA_AUTO_COMMIT_INTERVAL_MS", "7000", "auto_commit_interval_seconds", 7, 5),
    ("KAFKA_SESSION_TIMEOUT_MS", "30000", "session_timeout_seconds", 30, 10),
    ("KAFKA_HEARTBEAT_INTERVAL_MS", "2500", "heartbeat_seconds", 2.5, 3),
    ("KAFKA_MAX_POLL_INTERVAL_MS", "600000", "max_poll_interval_seconds", 600, 300),
    ("KAFKA_MAX_POLL_RECORDS", "1000", "max_poll_records", 1000, 500),
    ("KAFKA_ENABLE_PRODUCER", "false", "send_results", False, True),
    ("OBS_SOURCE_BUCKET", "b", "source_bucket", "b", None),
    ("OBS_DEST_BUCKET", "b", "dest_bucket", "b", None),
    ("OBS_DOWNLOAD_DIR", "/var/in", "download_dir", "/var/in", "./work/downloads"),
    ("OBS_UPLOAD_DIR", "/var/out", "upload_dir", "/var/out", "./work/uploads"),
    ("POOL_SIZE", "16", "processes", 16, 4),
    ("CLEANUP_FILES", "false", "cleanup_files", False, True),
    ("CLEANUP_ON_ERROR", "true", "cleanup_on_error", True, False),
    ("DBC_FACTORY", "my_module:create_parser", "parser", "my_module:create_parser", "default"),
]
OF_BUCKET = [
    ("SOURCE_BUCKET", "b", "bucket", "b", None),
    ("OBS_SOURCE_BUCKET", "b", "bucket", "b", None),
    ("FILE_PREFIX", "data/2024/08/", "prefix", "data/2024/08/", ""),
    ("DEST_BUCKET", "b", "dest_bucket", "b", None),
    ("MAX_FILES", "500", "max_files", 500, 1000),
    ("SINGLE_FILE", "a, b/c.csv", "keys", ["a, b/c.csv"], []),
]
VARIABLES = [
    *((BUCKET, *row) for row in OF_BOTH),
    *((WORKER, *row) for row in OF_BOTH),
    *((WORKER, *row) for row in OF_WORKER),
    *((BUCKET, *row) for row in OF_BUCKET),
]


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize(("config", "variable", "text", "field", "value", "default"), VARIABLES)
def test_every_variable_of_the_original_is_read(monkeypatch, place, config, variable, text, field, value, default):
    assert getattr(config(), field) == default
    if place == ".env":
        Path(".env").write_text(f"{variable}={text}\n")
    else:
        monkeypatch.setenv(variable, text)
    assert getattr(config(), field) == value


@pytest.mark.parametrize("config", [BUCKET, WORKER])
def test_secrets_of_the_original_are_read_and_not_shown(monkeypatch, config):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "somebody")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("OBS_SECRET_KEY", "hunter3")
    made = config()
    assert "hunter" not in repr(made)
    document = json.loads(made.document())
    assert (document["kafka"]["sasl_password"], document["store"]["obs_secret_access_key"]) == ("hunter2", "hunter3")


def test_the_name_of_a_result_is_for_one_file(monkeypatch):
    monkeypatch.setenv("DEST_KEY", "out.json")
    assert BUCKET(keys="a").dest_key == "out.json"
    for wrong in ({}, {"keys": ["a", "b"]}, {"keys": "a", "keys_file": "-"}):
        with pytest.raises(SettingsError, match=r"'dest_key' .* needs exactly one key"):
            BUCKET(**wrong)


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("a, b", ["a, b"]),
        ('["a", "b, c"]', ["a", "b, c"]),
        ("[a].csv", ["[a].csv"]),
        ('{"a": 1}', ['{"a": 1}']),
        (("a", "b"), ["a", "b"]),
    ],
)
def test_a_key_is_never_split(given, keys):
    assert BUCKET(keys=given).keys == keys


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31 12:00:00.123456789+02:00", "2026-01-31T10:00:00.123456Z"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31t12:00z", "2026-01-31T12:00:00Z"),
        (date(2026, 1, 31), "2026-01-31T00:00:00Z"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))), "2026-01-31T11:00:00Z"),
    ],
)
def test_since_is_a_time_in_utc(given, text):
    config = BUCKET(since=given)
    assert config.since == text
    assert BUCKET(since=config.since).since == text


@pytest.mark.parametrize("given", ["24h", "1d", timedelta(days=1)])
def test_since_may_be_a_duration_ago(given):
    moment = datetime.fromisoformat((BUCKET(since=given).since or "").replace("Z", "+00:00"))
    assert timedelta(hours=24) <= datetime.now(timezone.utc) - moment < timedelta(hours=24, minutes=5)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (BUCKET, {"since": "yesterday"}, "Write a time such as 2026-01-31T12:00:00Z"),
        (BUCKET, {"since": "2026-13-01"}, "Write a time such as"),
        (BUCKET, {"since": "99999999999999d"}, "Write a time such as"),
        (BUCKET, {"max_files": 0}, "It must be greater than 0"),
        (BUCKET, {"keys": [""]}, "Setting 'keys'"),
        (BUCKET, {"scheme": "ftp"}, "'obs', 's3', 'gs' or 'file'"),
        (WORKER, {"processes": 33}, "It must be less than or equal to 32"),
        (WORKER, {"max_attempts": 0}, "It must be greater than or equal to 1"),
        (WORKER, {"parser": "xml"}, "Write default, csv, json, jsonl or module:factory"),
        (WORKER, {"parser": "my module:f"}, "Write default, csv, json, jsonl or module:factory"),
        (WORKER, {"task_timeout": "soon"}, "Write a duration"),
    ],
)
def test_wrong_settings_are_explained(config, settings, message):
    with pytest.raises(SettingsError) as caught:
        config(**settings)
    assert message in caught.value.message


@pytest.mark.parametrize("parser", ["default", "csv", "json", "jsonl", "a:b", "a.b_c:d.e", "größe:f"])
def test_parsers_are_named(parser):
    assert WORKER(parser=parser).parser == parser


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    logger = logging.getLogger("pipeline_core")
    before = (logger.handlers, logger.level, logger.propagate)
    yield lambda *arguments: CliRunner().invoke(application(), arguments)
    logger.handlers, logger.level, logger.propagate = before


@pytest.mark.parametrize(
    ("module", "arguments", "settings"),
    [
        (
            bucket_to_kafka,
            ["bucket-to-kafka", "a,b.csv", "c.csv", "--bucket", "b", "--include", "**/{a,b}", "--since", "2026-01-31"],
            {"keys": ["a,b.csv", "c.csv"], "include": ["**/{a,b}"], "since": "2026-01-31T00:00:00Z"},
        ),
        (
            obs_worker,
            ["obs-worker", "--parser", "m:f", "--processes", "2", "--task-timeout", "10m", "--task-memory", "1GiB"],
            {"parser": "m:f", "processes": 2, "task_timeout": 600, "task_memory": 2**30},
        ),
    ],
)
def test_flags_become_settings_of_the_run(invoke, monkeypatch, module, arguments, settings):
    seen = []

    def run(config, **_more):
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run", run)
    assert invoke(*arguments).exit_code == 130
    (config,) = seen
    assert {name: getattr(config, name) for name in settings} == settings
