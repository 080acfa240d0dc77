"""The example settings are what the pipelines take: as they stand, and with all that is commented out."""

from __future__ import annotations

import importlib
import re

import pytest
from dotenv import dotenv_values
from tests.architecture.test_names import PIPELINES
from tests.architecture.tree import ROOT

from pipeline_core.layers import PREFIX, variables
from pipeline_core.plan import Plan
from pipeline_core.settings import PipelineSettings

EXAMPLES = ROOT / "deploy" / "examples"
DOTENV = ROOT / ".env.example"

# A setting that is commented out, in a settings file and in .env.
COMMENTED = re.compile(r"^# (?=\w+ = |[A-Z_0-9]+=)", re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder where nothing is set from outside."""
    monkeypatch.chdir(tmp_path)
    fields = [item for config in PipelineSettings.registry.values() for item in config.model_fields.items()]
    for variable in {variable.name for name, field in fields for variable in variables(name, field)}:
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def everything(path):
    text = path.read_text()
    assert COMMENTED.search(text)
    return COMMENTED.sub("", text)


def config(pipeline, path):
    return importlib.import_module(f"pipeline_core.{pipeline}").Config(config_file=path)


def test_each_pipeline_has_an_example():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} >= set(PIPELINES)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_an_example_is_taken_as_it_stands(pipeline):
    assert config(pipeline, EXAMPLES / f"{pipeline}.toml").model_fields_set


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_an_example_is_taken_with_all_that_is_commented_out(pipeline, folder):
    as_it_stands = config(pipeline, EXAMPLES / f"{pipeline}.toml")
    (folder / "all.toml").write_text(everything(EXAMPLES / f"{pipeline}.toml"))
    (folder / ".env").write_text("KAFKA_SASL_PASSWORD=x\nMONGODB_PASSWORD=x\n")
    assert config(pipeline, folder / "all.toml") != as_it_stands


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_environment_of_the_example_is_taken(pipeline, folder):
    (folder / ".env").write_text(everything(DOTENV))
    assert config(pipeline, EXAMPLES / f"{pipeline}.toml").model_fields_set


def test_pipelines_side_by_side_are_taken_too(folder):
    (folder / "all.toml").write_text(everything(EXAMPLES / "pipelines.toml"))
    for path in (EXAMPLES / "pipelines.toml", folder / "all.toml"):
        jobs = Plan.from_file(path).jobs
        assert [job.config.pipeline for job in jobs] == ["csv_to_kafka", "kafka_to_parquet"]
        assert {job.restarts.restart for job in jobs} == {"on-failure"}
    assert jobs[0].restarts.max_restarts == 10


def test_every_name_in_the_environment_of_the_example_sets_something(folder):
    (folder / ".env").write_text(everything(DOTENV))
    names = set(dotenv_values(folder / ".env"))
    assert len(names) > 40
    fields = [item for settings in PipelineSettings.registry.values() for item in settings.model_fields.items()]
    assert names <= {variable.name for name, field in fields for variable in variables(name, field)}
    assert {name for name in names if name.startswith(PREFIX)}


def test_no_example_holds_a_secret():
    secret = re.compile(r"^(?:# )?\w*(?:password|secret|token)\w* = ", re.MULTILINE | re.IGNORECASE)
    assert secret.search('password = "x"')
    assert not [path.name for path in EXAMPLES.glob("*.toml") if secret.search(path.read_text())]
