"""What pip has installed: its metadata, its types, and an import that costs next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import distribution

import pytest
from tests.architecture.tree import PACKAGE
from tests.deploy.test_pixi import PROJECT

import pipeline_core

INSTALLED = distribution("pipeline-core")
IMPORT_SECONDS = 0.06

# Time of the processor, for other tests use it as well.
TIMED = "import time; began = time.process_time(); import pipeline_core; print(time.process_time() - began)"


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def for_checkers() -> dict[str, str]:
    """The names that a type checker finds in the package, each with the module that it is of."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {
        alias.name: str(node.module).removeprefix("pipeline_core").removeprefix(".") or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_extras_and_pythons_are_those_of_the_project():
    metadata, project = INSTALLED.metadata, PROJECT["project"]
    assert set(metadata.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    assert metadata["Requires-Python"] == project["requires-python"] == ">=3.10"
    pythons = {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)}
    assert pythons <= set(metadata.get_all("Classifier"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"].startswith("text/markdown")


def test_one_wheel_is_for_all_pythons():
    tags = [line for line in INSTALLED.read_text("WHEEL").splitlines() if line.startswith("Tag: ")]
    assert tags
    assert all(tag.startswith("Tag: cp310-abi3-") for tag in tags)
    assert [path for path in INSTALLED.files if path.name == "_core.abi3.so"]


def test_it_brings_its_types_and_its_command():
    assert {"py.typed", "_core.pyi"} <= {path.name for path in INSTALLED.files}
    [command] = [entry for entry in INSTALLED.entry_points if entry.group == "console_scripts"]
    assert (command.name, command.value) == ("pipeline-core", "pipeline_core.cli:main")


def test_it_is_imported_in_less_than_60_ms():
    assert min(float(python(TIMED)) for _ in range(9)) < IMPORT_SECONDS


def test_importing_it_imports_nothing_of_others():
    program = (
        "import sys; before = set(sys.modules); import pipeline_core\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules.keys() - before}))"
    )
    loaded = set(python(program).split())
    assert "pipeline_core" in loaded
    assert not loaded - sys.stdlib_module_names - {"pipeline_core"}


def test_checkers_and_the_interpreter_find_the_same_names():
    told = for_checkers()
    assert len(told) > 20
    assert {*told, "Stop", "__version__"} == set(pipeline_core.__all__) == set(dir(pipeline_core))
    for name, module in told.items():
        value = getattr(pipeline_core, name)
        assert getattr(value, "__module__", value.__name__) == f"pipeline_core.{module}"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'csv_to_kafk'"):
        _ = pipeline_core.csv_to_kafk


@pytest.mark.parametrize("name", ["read_batches", "validate", "verify"])
def test_a_function_hides_the_module_of_its_name_whichever_is_imported_first(name):
    program = f"import pipeline_core.{name} as first; from pipeline_core import {name}; print(callable({name}))"
    assert python(program) == python(program.replace("as first", "")) == "True\n"


def test_the_first_settings_know_those_of_all_pipelines(tmp_path):
    (tmp_path / "both.toml").write_text('[mongo_to_kafka]\nmode = "stream"\n[kafka_to_parquet]\nto = "lake"\n')
    program = (
        "from pipeline_core.kafka_to_parquet import Config\n"
        f"print(Config(config_file={str(tmp_path / 'both.toml')!r}).to)"
    )
    assert python(program) == "lake\n"
