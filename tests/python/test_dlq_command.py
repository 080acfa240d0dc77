from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline_core import _core, cdc_to_postgres, dlq
from pipeline_core.cli import application
from pipeline_core.dead_letters import LetterSummary, ReplayReport

pytestmark = pytest.mark.usefixtures("no_settings")


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
    return lambda *arguments: CliRunner().invoke(application(), arguments)


def test_dead_letters_are_told_by_reason(monkeypatch, invoke):
    letter = {"partition": 0, "offset": 7, "time": "2026-01-31T12:00:00Z", "key": "3", "origin": "t/0/9"}
    found = {
        "topic": "t_dlq",
        "letters": 1200,
        "first": "2026-01-31T12:00:00Z",
        "last": "2026-01-31T13:00:00Z",
        "reasons": [
            {
                "reason": "$.emp_dob: no date",
                "count": 1200,
                "examples": [{**letter, "reason": "no date", "value": "{}", "replays": 2}],
            }
        ],
        "pipelines": {"cdc_to_postgres": 1200},
        "origins": {"t": 1200},
    }
    documents = []
    show = lambda text, *_: documents.append(json.loads(text)) or json.dumps(found)  # noqa: E731
    monkeypatch.setattr(_core, "dlq_show", show, raising=False)
    result = invoke("dlq", "show", "t_dlq", "--reason", "DOB", "--since", "2026-01-31", "--examples", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "t_dlq: 1,200 letters",
        "  first       2026-01-31 12:00:00+00:00",
        "  last        2026-01-31 13:00:00+00:00",
        "  from        t: 1,200",
        "  refused by  cdc_to_postgres: 1,200",
        "  reason      1,200 times: $.emp_dob: no date",
        "    example   0/7, at 2026-01-31 12:00:00+00:00, from t/0/9, key 3, sent again 2 times, no date: {}",
    ]
    assert {name: value for name, value in documents[0].items() if name != "kafka"} == {
        "topic": "t_dlq",
        "reason": "DOB",
        "key": None,
        "since": "2026-01-31T00:00:00Z",
        "limit": None,
        "examples": 1,
        "max_replays": 3,
        "again": False,
        "to": None,
        "dry_run": False,
    }
    assert json.loads(invoke("dlq", "show", "t_dlq", "--json").stdout) == found
    assert isinstance(dlq.show("t_dlq"), LetterSummary)


@pytest.fixture
def replayed(monkeypatch):
    """What a replay was asked to do, and the settings of its trial, in place of doing it."""
    calls = []

    def replay(text, trial, _stop, _beat):
        settings = json.loads(text)
        calls.append((settings, json.loads(trial)))
        answer = {
            "topic": settings["topic"],
            "dry_run": settings["dry_run"],
            "chosen": 12,
            "replayed": 0 if settings["dry_run"] else 11,
            "would_succeed": 11,
            "would_fail": 1,
            "skipped": {"sent again before": 3},
            "failures": [{"partition": 1, "offset": 5, "reason": "$.emp_dob: no date"}],
            "to": {"t": 11},
        }
        return json.dumps(answer)

    monkeypatch.setattr(_core, "dlq_replay", replay, raising=False)
    return calls


def test_a_replay_tells_what_it_sent(invoke, replayed):
    result = invoke("dlq", "replay", "t_dlq", "--limit", "12", "--to", "again")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "t_dlq: 11 of 12 letters sent again",
        "  to        t: 11",
        "  left out  3: sent again before",
        "  failure   1/5: $.emp_dob: no date",
    ]
    settings, trial = replayed[0]
    assert (settings["limit"], settings["to"], trial) == (12, "again", {})


def test_a_dry_run_has_the_settings_that_the_pipelines_have_now(invoke, replayed, monkeypatch, caplog):
    Path("s.toml").write_text('[target]\nhost = "db"\n[walmart_to_mysql]\ntable = "no name"\n')
    monkeypatch.setenv("TARGET_PASSWORD", "hunter2")
    caplog.set_level(logging.INFO, "pipeline_core")
    report = dlq.replay("t_dlq", dry_run=True, config_file="s.toml")
    result = invoke("dlq", "replay", "t_dlq", "--dry-run", "--config", "s.toml")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:3] == [
        "t_dlq: 12 letters tried, none sent",
        "  would succeed  11",
        "  would fail     1",
    ]
    assert isinstance(report, ReplayReport)
    for settings, trial in replayed:
        assert settings["dry_run"] is True
        assert set(trial) == {"cdc_to_postgres", "kafka_to_parquet", "obs_worker"}
        target = trial["cdc_to_postgres"]["target"]
        assert (target["host"], target["password"]) == ("db", "hunter2")
    assert any(
        line.startswith("Letters of walmart_to_mysql are not tried: Setting 'table'") for line in caplog.messages
    )


def test_a_dry_run_takes_settings_that_are_given(replayed):
    dlq.replay("t_dlq", dry_run=True, trial=[cdc_to_postgres.Config(target_host="db")])
    assert [list(trial) for _, trial in replayed] == [["cdc_to_postgres"]]


def test_which_letters_is_never_taken_from_what_is_meant_for_others(monkeypatch):
    for name in ("TO", "KEY", "TOPIC", "LIMIT"):
        monkeypatch.setenv(f"PIPELINE_CORE_{name}", "7")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:1")
    Path("s.toml").write_text('to = "./lake"\nkey = "id"\n[kafka]\nsecurity_protocol = "SSL"\n[dlq]\nmax_replays = 5\n')
    config = dlq.Config(topic="t_dlq", config_file="s.toml")
    assert (config.topic, config.to, config.key, config.limit, config.max_replays) == ("t_dlq", None, None, None, 5)
    assert (config.bootstrap_servers, config.security_protocol) == ("broker:1", "SSL")
