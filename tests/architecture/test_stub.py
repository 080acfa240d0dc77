"""`_core.pyi` says what the built module is."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

from tests.architecture.tree import PACKAGE

import pipeline_core
from pipeline_core import _core

STUB = PACKAGE / "_core.pyi"
ALLOWED = Path(__file__).with_name("stubtest_allow.txt")
TREE = ast.parse(STUB.read_text())
FUNCTIONS = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}


def parameters(function: ast.FunctionDef) -> list[tuple[str, object]]:
    """Names and defaults; whether there is no default is a value, too."""
    names = [argument.arg for argument in function.args.args]
    defaults = [ast.literal_eval(default) for default in function.args.defaults]
    missing = [inspect.Parameter.empty] * (len(names) - len(defaults))
    return list(zip(names, missing + defaults, strict=True))


def of_runtime(function: object) -> list[tuple[str, object]]:
    return [(name, parameter.default) for name, parameter in inspect.signature(function).parameters.items()]


def test_the_stub_is_shipped_as_it_stands_here():
    assert (Path(pipeline_core.__file__).parent / "_core.pyi").read_text() == STUB.read_text()


def test_stubtest_finds_nothing(tmp_path):
    assert STUB.is_file()
    assert ALLOWED.is_file()
    command = ["mypy.stubtest", "pipeline_core._core", "--allowlist", ALLOWED, "--ignore-unused-allowlist"]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["Success: no issues found in 1 module"], done.stdout + done.stderr
    assert done.returncode == 0


def test_both_have_the_same_names():
    told = {*FUNCTIONS, *CLASSES, *(node.target.id for node in TREE.body if isinstance(node, ast.AnnAssign))}
    assert len(told) > 8
    there = {name for name in dir(_core) if not name.startswith(("__", "bench_"))} | {"__version__"}
    assert there == told


def test_functions_have_the_same_signatures():
    assert len(FUNCTIONS) > 4
    for name, function in FUNCTIONS.items():
        assert of_runtime(getattr(_core, name)) == parameters(function), name


def test_classes_have_the_same_methods():
    assert len(CLASSES) > 3
    for name, node in CLASSES.items():
        told = {part.name for part in node.body if isinstance(part, ast.FunctionDef)} - {"__init__", "__new__"}
        there = set(vars(getattr(_core, name)))
        assert told <= there, name
        assert {part for part in there if not part.startswith("_")} <= told, name


def test_everything_in_the_stub_says_what_it_is():
    public = [*FUNCTIONS.values(), *CLASSES.values()]
    public += [part for node in CLASSES.values() for part in node.body if isinstance(part, ast.FunctionDef)]
    assert len(public) > 40
    assert not [node.name for node in public if not node.name.startswith("__") and not ast.get_docstring(node)]
