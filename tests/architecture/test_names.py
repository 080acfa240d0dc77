"""One name in every place: a pipeline's room, module, command and tests have the same word."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
import typer
from pydantic import BaseModel
from tests.architecture.tree import ENGINE, PACKAGE, files

from pipeline_core import _core
from pipeline_core.cli import application
from pipeline_core.settings import PipelineSettings

# Rooms that look at what pipelines leave behind, and are none.
TOOLS = {"dlq"}

PIPELINES = sorted({path.parent.name for path in files("src/pipelines", ending="/config.rs")} - TOOLS)

# The same doors in every room.
DOORS = {"config.rs", "mod.rs", "transform.rs"}

ASYNC = {"run": False, "arun": True}


def commands(group: object) -> dict[str, object]:
    return dict(getattr(group, "commands", {}))


COMMANDS = commands(typer.main.get_command(application()))


def test_there_are_pipelines():
    assert {"csv_to_kafka", "kafka_to_parquet"} <= set(PIPELINES)
    rooms = {path.name for path in (ENGINE / "pipelines").iterdir() if path.is_dir()}
    assert rooms - TOOLS == set(PIPELINES)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_its_room_has_the_doors_of_all_rooms(pipeline):
    assert {path.name for path in (ENGINE / "pipelines" / pipeline).iterdir()} >= DOORS
    assert re.search(rf"^pub mod {pipeline};", (ENGINE / "pipelines" / "mod.rs").read_text(), re.MULTILINE)
    assert f'"{pipeline}"' in (ENGINE / "pipelines" / pipeline / "mod.rs").read_text(), "the name in its report"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_it_has_a_module_with_settings_and_two_ways_to_run(pipeline):
    assert (PACKAGE / f"{pipeline}.py").is_file()
    module = importlib.import_module(f"pipeline_core.{pipeline}")
    assert issubclass(module.Config, BaseModel)
    assert module.Config.pipeline == pipeline
    assert PipelineSettings.registry[pipeline] is module.Config
    assert {name: inspect.iscoroutinefunction(getattr(module, name)) for name in ASYNC} == ASYNC
    assert callable(getattr(_core, pipeline))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_it_has_a_command_and_a_check(pipeline):
    command = pipeline.replace("_", "-")
    assert command in COMMANDS
    assert command in commands(COMMANDS["check"])


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_there_are_tests_and_a_benchmark_of_its_name(pipeline):
    tests = [path.read_text() for path in files("tests/python", ending=".py")]
    assert len(tests) > 15
    assert any(re.search(rf"^(?:async )?def test_\w*{pipeline}", text, re.MULTILINE) for text in tests)
    assert files(f"tests/bench/{pipeline}", ending="ours.py")


def test_no_pipeline_is_known_in_one_place_only():
    routes = re.compile(r"\w+_to_\w+")
    of_core = {name.removeprefix("init_") for name in dir(_core) if routes.fullmatch(name)}
    assert of_core <= set(PIPELINES)
    assert {path.stem for path in files("python", ending=".py") if routes.fullmatch(path.stem)} <= set(PIPELINES)
    assert {name for name in COMMANDS if routes.fullmatch(name.replace("-", "_"))} <= {
        name.replace("_", "-") for name in PIPELINES
    }
