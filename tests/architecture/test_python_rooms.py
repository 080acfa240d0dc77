"""In the package, imports point one way, and importing it is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from tests.architecture.tree import PACKAGE, files

# From the ground up: a module imports modules of lower lines only, never one of its own line.
LINES = [
    {
        "_core",
        "exceptions",
        "layers",
        "parser_process",
        "sample_catalogue",
        "units",
        "validation",
        "validation.columns",
    },
    {
        "dbc",
        "document_process",
        "embedded",
        "fields",
        "parser_setup",
        "producer_config",
        "progress",
        "report",
        "sample_data",
        "settings_file",
        "termination",
    },
    {
        "dead_letters",
        "mapping",
        "mongo_cursor",
        "settings",
        "traces",
        "validation.rules",
        "validation.supply_chain",
        "validation.verdict",
        "validation.walmart",
        "worker_status",
    },
    {
        "config",
        "data_types",
        "engine",
        "metrics",
        "migration",
        "mongodb",
        "processing_log",
        "validation.page",
        "validation.tally",
    },
    {
        "bucket_to_kafka",
        "cdc_to_postgres",
        "check",
        "csv_to_kafka",
        "flink.cells",
        "flink.settings",
        "kafka_producer",
        "kafka_to_parquet",
        "mongo_to_kafka",
        "mysql_to_mysql",
        "obs_worker",
        "postgres_to_kafka",
        "progress_bar",
        "read_batches",
        "validation.place",
        "validation.shape",
        "verify",
        "walmart_client",
        "walmart_orders",
        "walmart_to_kafka",
        "walmart_to_mysql",
    },
    {"cdc_consumer", "dlq", "plan", "task_generator", "validate", "validation.frames"},
    {"flink.job", "supervisor", "validation.sweep"},
    {"flink"},
    {""},  # what `import pipeline_core` gives
    {"cli.flags", "cli.output"},
    {"cli.bar", "cli.commands", "cli.sample", "cli.show"},
    {
        "cli.cdc",
        "cli.checks",
        "cli.demo",
        "cli.dlq",
        "cli.files",
        "cli.flink",
        "cli.init_db",
        "cli.mongo",
        "cli.mysql",
        "cli.run",
        "cli.transfers",
        "cli.validation",
        "cli.walmart",
    },
    {"cli"},
    {"__main__"},
    {"airflow", "airflow.connections", "airflow.provider"},  # what only Airflow imports
    {"airflow.hooks"},
    {"airflow.runs"},
    {"airflow.triggers"},
    {"airflow.operators", "airflow.sensors"},
    {"flink.graphs"},  # what only PyFlink's Python imports
    {"flink.graphs.table", "flink.graphs.topic"},
    {"flink.graphs.cluster", "flink.graphs.orders"},
    {"flink.graphs.documents"},
]
HEIGHT = {module: height for height, line in enumerate(LINES) for module in line}

# Nobody who only imports the package should wait for these, or need them.
NOT_ON_IMPORT = {
    "airflow",
    "asyncio",
    "can",
    "cantools",
    "cloudpickle",
    "duckdb",
    "obstore",
    "opentelemetry",
    "pandas",
    "pandera",
    "polars",
    "pyarrow",
    "pydantic",
    "pyflink",
    "rich",
    "sqlite3",
    "typer",
    "yaml",
}
TERMINAL = {"rich", "typer"}

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in files("python", ending=".py")
}


def imported(source: str) -> set[str]:
    """Modules of the package that a source imports, by their names below it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in below if name.removeprefix("pipeline_core.") in HEIGHT}
            found |= modules or {node.module or ""}
    ours = {name for name in found if name.split(".", maxsplit=1)[0] == "pipeline_core"}
    return {name.removeprefix("pipeline_core").removeprefix(".") for name in ours}


def test_every_module_has_its_line():
    assert len(MODULES) > 25
    assert set(MODULES) == set(HEIGHT) - {"_core"}


def test_imports_point_one_way():
    seen = 0
    wrong = []
    for module, path in MODULES.items():
        for other in imported(path.read_text()):
            seen += 1
            if HEIGHT[other] >= HEIGHT[module]:
                wrong.append(f"{module} imports {other}")
    assert seen > 60
    assert not wrong


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(("cli", "__main__"))])
def test_only_the_command_line_knows_the_terminal(module):
    names = {alias.name for node in ast.walk(ast.parse(MODULES[module].read_text())) for alias in _names(node)}
    assert not {name.split(".", maxsplit=1)[0] for name in names} & TERMINAL


def test_the_parser_process_needs_the_standard_library_only():
    tree = ast.parse(MODULES["parser_process"].read_text())
    names = {alias.name.split(".", maxsplit=1)[0] for node in ast.walk(tree) for alias in _names(node)}
    assert len(names) > 10
    assert names <= sys.stdlib_module_names


def _names(node: ast.AST) -> list[ast.alias]:
    if isinstance(node, ast.Import):
        return node.names
    return [ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else []


def test_importing_starts_no_thread_and_loads_no_command_line():
    program = (
        "import os, sys, threading, pipeline_core\n"
        "assert threading.active_count() == 1\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
        f"print(*sorted(set({sorted(NOT_ON_IMPORT)}) & set(sys.modules)), 'seen', 'pipeline_core._core' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("seen True\n", "")
