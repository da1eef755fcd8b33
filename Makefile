# `make demo` and `make test` do all their own set-up: they need python3 with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OLDEST := .venv-oldest
UV := $(BIN)/uv
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test test-long test-faults test-oldest lint format docs lock bench mutants clean

demo: $(READY)
	$(BIN)/featx demo

test: lint
	$(BIN)/pytest -m "not slow" -n 2 --dist worksteal

test-long: $(READY)
	$(BIN)/pytest -m slow

# Any number of extractions killed at random moments; 40 of them are part of test-long.
test-faults: $(READY)
	FEATX_KILLS=$(or $(KILLS),40) $(BIN)/pytest tests/faults -m slow

# The oldest versions that pyproject.toml promises, resolved by uv into an environment of their own.
test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/pytest -m "not slow" -n 2 --dist worksteal

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
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Names versions only, with markers for each platform; no index.
lock: $(READY)
	$(UV) pip compile --quiet --universal --upgrade --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --all-extras --group dev --group docs pyproject.toml -o requirements.lock

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
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "featx needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install uv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock || \
	  $(PIP) install -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable . || \
	  $(PIP) install --no-deps --editable .
	touch $(READY)

$(OLDEST)/.ready: pyproject.toml $(READY)
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(UV) pip install --quiet --compile-bytecode --python $(OLDEST)/bin/python \
	  --resolution lowest-direct --all-extras --group dev -r pyproject.toml
	$(UV) pip install --quiet --python $(OLDEST)/bin/python --no-deps --editable .
	touch $@
