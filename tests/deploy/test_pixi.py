"""The tasks of pixi are lines that work without it, and its table is what its published schema allows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from tests.architecture.test_readme import flags, resolved
from tests.architecture.tree import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIXI = PROJECT["tool"]["pixi"]
FEATURES = PIXI["feature"]
TASKS = PIXI["tasks"] | {name: line for feature in FEATURES.values() for name, line in feature.get("tasks", {}).items()}

# What the users of the originals type after `pixi run`.
TYPED = {
    "demo",
    "generate-batch-tasks",
    "generate-single-task",
    "generate-tasks",
    "pool-worker",
    "services",
    "test",
    "worker",
}


def test_the_table_is_what_the_published_schema_allows(check, tmp_path):
    done = check("validate_pyproject", "pyproject.toml")
    assert done.returncode == 0, done.stderr
    text = (ROOT / "pyproject.toml").read_text()
    wrong = tmp_path / "pyproject.toml"
    wrong.write_text(re.sub(r"^channels = .*$", "chanels = []", text, flags=re.MULTILINE))
    done = check("validate_pyproject", wrong)
    assert done.returncode == 1
    assert "tool.pixi.workspace" in done.stdout + done.stderr


def test_the_tasks_of_the_originals_are_there():
    assert set(TASKS) >= TYPED


def test_every_feature_of_an_environment_is_an_extra_or_has_a_table():
    extras = set(PROJECT["project"]["optional-dependencies"])
    named = {feature for features in PIXI["environments"].values() for feature in features}
    assert len(named) > 3
    assert named <= extras | set(FEATURES)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_task_is_a_line_that_works_without_pixi(task):
    program, *words = shlex.split(TASKS[task])
    if program == "make":
        done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert program == "pipeline-core"
    command, rest = resolved(words)
    assert not getattr(command, "commands", {}) or getattr(command, "invoke_without_command", False)
    assert not {word for word in rest if word.startswith("--")} - flags(command)
