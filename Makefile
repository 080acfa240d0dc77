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
# Most tests wait more than they work: two files at a time.
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile
CARGO_TEST := cargo test --locked --release --features failpoints

.PHONY: demo test test-rust test-python test-flink lint services bench wheel clean
.DELETE_ON_ERROR:

demo: .venv/demo
	.venv/bin/pipeline-core demo --to demo-data

# Everything: lints, the engine's tests, and the Python tests against real services that are started and stopped here.
test: lint test-rust test-python test-flink

test-rust:
	$(CARGO_TEST)

test-python: .venv/test
	.venv/bin/python -m tests.services run -- .venv/bin/python -m pytest $(PYTEST_ARGS)

# A cluster of Flink wants the machine for itself.
test-flink: .venv/test
	.venv/bin/python -m tests.services run -- .venv/bin/python -m pytest tests/flink

lint: .venv/test
	cargo fmt --check
	cargo clippy --locked --release --features $(TEST_FEATURES) --all-targets -- -D warnings
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright --pythonpath .venv/bin/python
	.venv/bin/mypy --strict tests/typing

bench: .venv/test
	.venv/bin/python -m tests.bench all --markdown $(BENCH_ARGS)

# For servers with glibc 2.28 or a later one, whatever this machine has: zig, which pip installs, links it. The configure
# script of librdkafka asks for CC, and its list of symbols names one that is not there, which only zig's linker minds.
wheel: build/wheel/bin/maturin
	PATH="$(CURDIR)/build/wheel/bin:$$PATH" LDFLAGS=-Wl,--undefined-version \
		CC="$(CURDIR)/build/wheel/bin/python -m ziglang cc -target $(shell uname -m)-linux-gnu.2.28" \
		maturin build --release --locked --zig --compatibility manylinux_2_28 --out dist

build/wheel/bin/maturin:
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet "maturin[zig]>=1.9.4,<2"

# Servers that stay, for work on the tests; `. "$$(make --silent services)"` lets the tests find them.
services: .venv/test
	.venv/bin/python -m tests.services start

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
	.venv/bin/python -m pip install --quiet --config-settings build-args="--locked --features $(TEST_FEATURES)" ".[bench,docs,lint,test]"
	rm -f .venv/demo
	touch $@
