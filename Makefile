# `make demo` and `make test` do all their own set-up: they need python3 with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OLDEST := .venv-oldest
UV := $(BIN)/uv
PIP := pip install --quiet --disable-pip-version-check

# Bytecode is kept, whatever the environment says: else each of hundreds of processes compiles featx anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-long test-faults test-oldest lint format docs lock bench mutants clean

demo: $(READY)
	$(BIN)/featx demo

# Types are checked beside the tests: alone, mypy would leave a core idle for half a minute.
test: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy & types=$$!; $(BIN)/pytest -m "not slow" -n 2 --dist worksteal; tests=$$?; \
	  wait $$types && exit $$tests

test-long: $(READY)
	$(BIN)/pytest -m slow -n 2 --dist worksteal

# Any number of runs killed at random moments, and commands of which each call that concerns a disk
# fails with so many errors, or is the last. In test-long: 20 to 40 kills, and a sample of the calls.
test-faults: $(READY)
	FEATX_KILLS=$(or $(KILLS),40) FEATX_ERRORS=$(or $(ERRORS),1) $(BIN)/pytest tests/faults -m slow

# The oldest versions, in an environment of their own. They warn of each other's changes.
test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/pytest -m "not slow" -W default::DeprecationWarning -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The pages in site/, of which none fetches anything from the internet. Warnings are errors.
docs: $(READY)
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_formats.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Name versions only, with markers for each platform; no index. The second file has the oldest
# versions that pyproject.toml promises.
EXTRAS := cluster cpu h5ad heic lance pandas parquet plot remote
COMPILE = $(UV) pip compile --quiet --universal --upgrade --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links $(EXTRAS:%=--extra %) --group dev pyproject.toml
lock: $(READY)
	$(COMPILE) --group docs -o requirements.lock
	$(COMPILE) --resolution lowest-direct -o requirements-oldest.lock

bench: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/cost.py
	$(BIN)/python benchmarks/durability.py

# Small faults in the code, of which the tests should notice nine in ten.
mutants: $(READY)
	$(BIN)/python benchmarks/mutants.py -n $(or $(N),200) --seed $(or $(SEED),0)

clean:
	rm -rf $(VENV) $(OLDEST) site .mypy_cache .pytest_cache .ruff_cache

# uv takes a quarter of pip's time, but does not read pip's configuration: where an index is known to
# pip alone, pip goes on. Compiled once here: importing torch from sources takes 14 s, from bytecode 4.
define INSTALL
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python -m $(PIP) uv
	$(1)/bin/uv pip install --quiet --compile-bytecode --python $(1)/bin/python -r $(2) || \
	  $(1)/bin/python -m $(PIP) -r $(2)
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --no-deps --editable . || \
	  $(1)/bin/python -m $(PIP) --no-deps --editable .
	touch $(1)/.ready
endef

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "featx needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(call INSTALL,$(VENV),requirements.lock)

$(OLDEST)/.ready: requirements-oldest.lock pyproject.toml
	$(call INSTALL,$(OLDEST),requirements-oldest.lock)
