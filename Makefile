# One command each; CI calls the same targets. Nothing here needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROGRAMS := .cache/bin
EXPORTERS := .cache/exporters
.DEFAULT_GOAL := help
.PHONY: help demo test test-exporters quick check fmt bench clean

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/runtime ## Two simulated days through a real Prometheus, in ./demo
	$(BIN)/python -m pipeline demo --folder demo

test: $(VENV)/dev $(PROGRAMS) ## Everything the tests prove, on real servers
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(BIN)/python -m pytest

quick: $(VENV)/dev $(PROGRAMS) ## The tests that need no day of samples
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(BIN)/python -m pytest --ignore tests/e2e

test-exporters: $(VENV)/dev $(PROGRAMS) ## The real Kepler and Scaphandre, built and driven with known joules
	$(BIN)/python -m tests.exporters.programs $(EXPORTERS)
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" CARBON_ETL_EXPORTERS=$(EXPORTERS) $(BIN)/python -m pytest -rfExX tests/exporters
	$(BIN)/python -m tests.exporters.inputs --note

check: $(VENV)/dev ## Lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fmt: $(VENV)/dev ## Format, and regenerate what is generated
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m dashboards.build_overview

bench: $(VENV)/dev $(PROGRAMS) ## The tables of benchmarks/: accuracy, traps, extraction
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.accuracy
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.traps
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.extraction

clean: ## Remove what these targets made
	rm -rf $(VENV) .cache demo

$(VENV)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "carbon-etl needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/runtime: $(VENV)/pip requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

$(VENV)/dev: $(VENV)/pip requirements-dev.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@ $(VENV)/runtime

$(PROGRAMS): $(VENV)/dev
	$(BIN)/python -m tests.programs $@
	touch $@
