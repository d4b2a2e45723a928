# One command each; CI calls the same targets. Nothing here needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROGRAMS := .cache/bin
PYTEST := $(BIN)/python -m pytest -n logical --dist loadfile --durations 40
EXPORTERS := .cache/exporters
AIRFLOW := .cache/airflow
STORE := .cache/bench
PYTHONS := 3.12 3.13 # beside the one that runs: its types, and its syntax where it is installed
.DEFAULT_GOAL := help
# tests/faults and tests/dags have targets of their own
.PHONY: help demo test test-airflow test-faults test-faults-quick test-exporters quick check fmt bench bench-quick clean

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/runtime ## Two simulated days through a real Prometheus, in ./demo
	$(BIN)/python -m pipeline demo --folder demo

test: $(VENV)/dev $(PROGRAMS) ## What the tests prove, on real servers; faults apart
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(PYTEST) --ignore tests/faults --ignore tests/dags

quick: $(VENV)/dev $(PROGRAMS) ## The tests that need no day of samples
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(PYTEST) --ignore tests/e2e --ignore tests/faults --ignore tests/dags

test-faults: $(VENV)/dev $(PROGRAMS) ## Death before each effect, full disks, broken lines, poison: tests/faults/results.md
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York CARBON_ETL_FAULTS_PAGE=tests/faults/results.md \
		$(BIN)/python -m pytest -n logical --dist loadgroup tests/faults

test-faults-quick: $(VENV)/dev $(PROGRAMS) ## One in eight of those deaths, and all the rest
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York CARBON_ETL_FAULT_SHARDS=1 \
		$(BIN)/python -m pytest -n logical --dist loadgroup tests/faults

test-airflow: $(VENV)/dev $(PROGRAMS) $(AIRFLOW)/installed ## The DAGs of deploy/airflow, run by an Airflow of its own
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" CARBON_ETL_AIRFLOW=$(AIRFLOW) $(BIN)/python -m pytest tests/dags

test-exporters: $(VENV)/dev $(PROGRAMS) ## The real Kepler and Scaphandre, built and driven with known joules
	$(BIN)/python -m tests.exporters.programs $(EXPORTERS)
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" CARBON_ETL_EXPORTERS=$(EXPORTERS) $(BIN)/python -m pytest -rfExX tests/exporters
	$(BIN)/python -m tests.exporters.inputs --note

export COMPILE := import pathlib, sys; [compile(f.read_bytes(), str(f), "exec") for d in sys.argv[1:] for f in pathlib.Path(d).rglob("*.py")]
check: $(VENV)/dev ## Lint, format, types, layers, locks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for v in $(PYTHONS); do $(BIN)/mypy --python-version $$v || exit 1; done
	for v in $(PYTHONS); do ! python$$v -c '' 2>/dev/null || python$$v -W error -c "$$COMPILE" pipeline tests benchmarks dashboards || exit 1; done
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.security.audit

fmt: $(VENV)/dev ## Format, and regenerate what is generated
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m dashboards.build

bench: $(VENV)/dev $(PROGRAMS) ## The pages of benchmarks/: accuracy, traps, and everything at size (an hour or more)
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.accuracy
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.traps
	mkdir -p $(STORE)
	for page in extraction end_to_end memory fleet; do \
		PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.$$page --data $(STORE) || exit; done
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.remote_write
	$(BIN)/python -m benchmarks.warehouse

bench-quick: $(VENV)/dev $(PROGRAMS) ## Those at size at small sizes, printed only
	mkdir -p $(STORE)
	for page in extraction end_to_end memory fleet; do \
		PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.$$page --quick --data $(STORE) || exit; done
	for page in remote_write warehouse; do \
		PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m benchmarks.$$page --quick || exit; done

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

$(AIRFLOW)/installed: deploy/airflow/requirements.lock
	$(PYTHON) -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

$(PROGRAMS): $(VENV)/dev
	$(BIN)/python -m tests.programs $@
	touch $@
