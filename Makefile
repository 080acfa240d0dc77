# The commands of the README. Everything a machine needs beyond make, git, gcc, g++, perl, Rust, Python, Java, Maven and Go
# is installed by these rules; what is compiled is kept outside the checkout, so that a clean clone need not compile it again.

PYTHON ?= python3
CACHE ?= $(or $(PIPELINE_CORE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pipeline_core)
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PIPELINE_CORE_CACHE := $(CACHE)
# As maturin sets it: the same for all builds, or pyo3 is compiled twice.
export PYO3_BUILD_EXTENSION_MODULE := 1

# The tests need the fault points; the demo does not.
TEST_FEATURES := python,failpoints
CARGO_TEST := cargo test --locked --release --features failpoints

.PHONY: demo test test-rust test-python lint bench wheel stubs clean
.DELETE_ON_ERROR:

demo: .venv/demo
	.venv/bin/pipeline-core demo --to demo-data

# Everything: lints, the engine's tests, and the Python tests against real services that are started and stopped here.
test: lint test-rust test-python

test-rust:
	$(CARGO_TEST)

test-python: .venv/test
	.venv/bin/python -m tests.services run -- .venv/bin/python -m pytest $(PYTEST_ARGS)

lint: .venv/test
	cargo fmt --check
	cargo clippy --locked --release --features $(TEST_FEATURES) --all-targets -- -D warnings
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright --pythonpath .venv/bin/python

bench: .venv/test
	.venv/bin/python -m tests.bench all --markdown $(BENCH_ARGS)

wheel:
	$(PYTHON) -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf .venv build dist

SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find src python -name '*.rs' -o -name '*.py' -o -name '*.pyi')

.venv/bin/python:
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip

.venv/demo: .venv/bin/python $(SOURCES)
	.venv/bin/python -m pip install --quiet .
	rm -f .venv/test
	touch $@

.venv/test: .venv/bin/python $(SOURCES)
	.venv/bin/python -m pip install --quiet --config-settings build-args="--locked --features $(TEST_FEATURES)" ".[bench,lint,test]"
	rm -f .venv/demo
	touch $@
