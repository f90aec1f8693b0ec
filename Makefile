# What CI runs, people run. On a fresh machine each goal needs Python 3.11 or newer, make and, if there is one, a C compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FAST_SOURCES := $(wildcard src/mcp_ilert/_fast/*.py src/mcp_ilert/_fast/*.pxd) setup.py pyproject.toml
RUN_STAMP := $(VENV)/.run.stamp
DEV_STAMP := $(VENV)/.dev.stamp
.DEFAULT_GOAL := help
.PHONY: help run test lint format lock clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mcp-ilert needs Python 3.11 or newer; '$(PYTHON)' is older: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): $(BIN)/python lock/run.txt $(FAST_SOURCES)
	$(BIN)/python -m pip install --quiet --require-hashes -r lock/run.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) lock/dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r lock/dev.txt
	@touch $@

run: $(RUN_STAMP) ## the bridge beside a sandbox iLert, ready for a curl line
	$(BIN)/mcp-ilert demo

test: $(DEV_STAMP) ## the whole test suite
	$(BIN)/python -m pytest -n auto

lint: $(DEV_STAMP) ## format, types, imports, Cython
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cython-lint src/mcp_ilert/_fast

format: $(DEV_STAMP) ## put the source into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(BIN)/python ## write the lock files anew from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --group build -o lock/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --group dev -c lock/run.txt -o lock/dev.txt

clean: ## remove what was built
	rm -rf build dist $(VENV) src/mcp_ilert/_fast/*.so
