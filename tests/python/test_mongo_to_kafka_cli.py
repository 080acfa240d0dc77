from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

import pytest
from typer.testing import CliRunner

from pipeline_core import _core, mongo_to_kafka
from pipeline_core.cli import application
from pipeline_core.exceptions import ConflictError, SettingsError
from pipeline_core.mongo_cursor import CursorReport
from pipeline_core.report import Report

pytestmark = pytest.mark.usefixtures("no_settings")

UID = "6560cf7e1f2b3c4d5e6f7081"
FILE = "runtime/cursors/t/raw_information_list_temp/cursor.db"


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """Undo what the command line does to the package's logger."""
    logger = logging.getLogger("pipeline_core")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *arguments: CliRunner().invoke(application(), ["mongo-to-kafka", *arguments])


@pytest.fixture
def sent(monkeypatch):
    """Configs that mongo-to-kafka was run with, in place of running it."""
    configs = []

    def run(config, *, on_progress=None):
        assert callable(on_progress)
        configs.append(config)
        now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        return Report("mongo_to_kafka", "complete", "end of what was there", 5, 5, 0, 50, 60, now, 1.0)

    monkeypatch.setattr(mongo_to_kafka, "run", run)
    return configs


@pytest.fixture
def moved(monkeypatch):
    """What the engine was asked about cursors, in place of asking it."""
    calls = []

    def mongo_cursor(config, action, value, stop, beat):
        assert callable(beat)
        assert not stop.is_set()
        calls.append((action, value, json.loads(config)))
        return json.dumps({"file": FILE, "mode": "cursor", "field": "_id", "position": {"$oid": UID}, "window": 2})

    monkeypatch.setattr(_core, "mongo_cursor", mongo_cursor, raising=False)
    return calls


def test_mongo_to_kafka_takes_the_flags_of_the_original(invoke, sent):
    result = invoke("--topic", "temp5", "--data_type", "information", "--full_amount", "--debug")
    assert result.exit_code == 0, result.output
    (config,) = sent
    assert (config.topic, config.data_type, config.full_amount, config.debug) == ("temp5", "information", True, True)
    assert logging.getLogger("pipeline_core").level == logging.DEBUG


def test_flags_become_settings(invoke, sent):
    flags = "--topic t --collection c --cursor-field meta.at --mode stream --until 10m --lag-seconds 1m --no-snapshot"
    more = "--full-document post-image --on-lost-token fail --partitioner consistent_random --no-full-amount"
    own = ["--mongodb-host", "db", "--data-types", "a=my_models:A", "--data-types", '{"b": "my_models:B"}']
    producer = ["--producer-config", "linger_ms=7", "--producer-config", "compression_type=zstd"]
    result = invoke(*flags.split(), *more.split(), *own, *producer, "--data-type", "b")
    assert result.exit_code == 0, result.output
    (config,) = sent
    assert (config.topic, config.collection, config.cursor_field, config.mode) == ("t", "c", "meta.at", "stream")
    assert (config.until, config.lag_seconds, config.snapshot, config.full_amount) == ("10m", 60, False, False)
    assert (config.full_document, config.on_lost_token) == ("post-image", "fail")
    assert (config.mongodb_host, config.partitioner) == ("db", "consistent_random")
    assert {name: one.model for name, one in config.data_types.items()} == {"a": "my_models:A", "b": "my_models:B"}
    assert (config.compression, config.properties) == ("zstd", {"linger.ms": "7"})
    assert logging.getLogger("pipeline_core").level == logging.INFO


@pytest.mark.parametrize("flag", ["--full-amount", "--full_amount", "--debug"])
@pytest.mark.parametrize("value", ["False", "True", "0", "no"])
@pytest.mark.parametrize("between", [" ", "="])
def test_a_flag_with_a_value_is_an_error_that_says_so(invoke, sent, flag, value, between):
    result = invoke("--topic", "t", *f"{flag}{between}{value}".split(), "--data_type", "information")
    name = flag.replace("_", "-")
    assert (result.exit_code, sent) == (2, [])
    assert result.stderr.splitlines() == [
        f"Error: {name} is a flag without a value, but got {value!r}",
        f"Hint: Write {name} for yes, and --no-{name[2:]} or nothing for no.",
    ]


@pytest.mark.parametrize(
    ("flags", "form", "is_json"),
    [
        ("", None, False),
        ("--json", None, True),
        ("--json plain", "plain", False),
        ("--json=canonical", "canonical", False),
        ("--json-form relaxed", "relaxed", False),
        ("--json --full-amount --json relaxed", "relaxed", True),
    ],
)
def test_json_is_about_the_report_and_with_a_form_about_the_messages(invoke, sent, flags, form, is_json):
    result = invoke("--topic", "t", *flags.split())
    assert result.exit_code == 0, result.output
    assert sent[0].json_form == form
    assert result.stdout.startswith("{") == is_json


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize("words", [["--json", "xml", "--topic", "t"], ["--topic", "t", "nothing"]])
def test_other_words_are_no_commands(invoke, words):
    result = invoke(*words)
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_the_report_is_shown_to_people(invoke, sent):
    assert "5 read, 5 written, 0 rejected" in invoke("--topic", "t").stdout
    assert sent


@pytest.mark.parametrize(
    ("words", "action", "value"),
    [("show", "show", None), (f"set {UID}", "set", UID), ("reset", "reset", None)],
)
def test_the_cursor_is_shown_set_and_reset(invoke, sent, moved, words, action, value):
    result = invoke("cursor", *words.split(), "--topic", "t", "--collection", "c", "--mode", "stream")
    assert result.exit_code == 0, result.output
    ((was, got, config),) = moved
    assert (was, got) == (action, value)
    assert (config["topic"], config["collection"], config["mode"]) == ("t", "c", "stream")
    assert result.stdout.splitlines() == [
        f"cursor after {UID}",
        f"  file    {FILE}",
        "  field   _id",
        "  window  2 documents remembered",
    ]
    assert sent == []


def test_flags_of_a_cursor_may_stand_before_its_word(invoke, moved):
    result = invoke("--topic", "t", "--cursor_field", "at", "cursor", "show", "--cursor_field", "meta.at", "--json")
    assert result.exit_code == 0, result.output
    ((_, _, config),) = moved
    assert (config["topic"], config["cursor_field"]) == ("t", "meta.at")
    assert json.loads(result.stdout)["position"] == {"$oid": UID}


def test_a_cursor_is_not_set_to_nothing(invoke, moved):
    assert invoke("cursor", "set", "--topic", "t").exit_code == 2
    with pytest.raises(SettingsError, match="needs a value"):
        mongo_to_kafka.cursor("set", topic="t")
    with pytest.raises(SettingsError, match="'reset' takes no value"):
        mongo_to_kafka.cursor("reset", UID, topic="t")
    assert moved == []


def test_a_cursor_without_a_topic_is_an_error(invoke, moved):
    result = invoke("cursor", "show")
    assert (result.exit_code, moved) == (2, [])
    assert result.stderr.startswith("Error: Setting 'topic' is missing")


def test_a_cursor_that_a_run_has_is_an_error(invoke, monkeypatch):
    def held(*_):
        message = "A run has the cursor"
        raise ConflictError(message, "Wait for its end.")

    monkeypatch.setattr(_core, "mongo_cursor", held, raising=False)
    result = invoke("cursor", "reset", "--topic", "t")
    assert (result.exit_code, result.stderr) == (1, "Error: A run has the cursor\nHint: Wait for its end.\n")


@pytest.mark.parametrize(
    ("report", "heading"),
    [
        (CursorReport(FILE, "cursor", "_id"), "cursor at the beginning"),
        (CursorReport(FILE, "cursor", "at", {"$date": "2026-01-31T22:56:00Z"}), "cursor after 2026-01-31T22:56:00Z"),
        (CursorReport(FILE, "cursor", "n", {"$numberLong": "7"}), "cursor after $numberLong 7"),
        (CursorReport(FILE, "stream"), "stream at the beginning"),
        (CursorReport(FILE, "stream", token="8264"), "stream after its token"),
    ],
)
def test_a_cursor_tells_where_the_next_run_begins(report, heading):
    assert report.heading() == heading
    assert CursorReport.from_json(json.dumps(report.to_dict())) == report


def test_a_cursor_of_the_original_is_told():
    report = CursorReport(FILE, "cursor", "_id", {"$oid": UID}, original_format=True)
    assert dict(report.lines())["file"] == f"{FILE} (as the original writes it)"
