# One command each; CI calls the same targets. Nothing here needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROGRAMS := .cache/bin
WORKERS := $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN)) # tests wait for servers half of their time
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 40
APART := --ignore tests/faults --ignore tests/dags --ignore tests/workers
EXPORTERS := .cache/exporters
AIRFLOW := .cache/airflow
STORE := .cache/bench
CURRENT := .cache/current
FUZZ := .cache/fuzz
PROMETHEUS := v0.309.1
CURRENT_TESTS := tests/test_published_again.py tests/test_publication.py tests/sinks/test_corrections.py tests/e2e/test_run.py
PYTHONS := 3.12 3.13 # beside the one that runs: its types, and its syntax where it is installed
.DEFAULT_GOAL := help
# What is APART has targets of its own
.PHONY: help demo test test-wide test-s3 test-airflow test-workers test-faults test-faults-quick test-current fuzz test-exporters quick check types layers locks fmt bench bench-quick dashboards-preview clean

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/runtime ## Two simulated days through a real Prometheus, in ./demo
	$(BIN)/python -m pipeline demo --folder demo

test: $(VENV)/dev $(PROGRAMS) ## What the tests prove, on real servers
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(PYTEST) $(APART)

quick: $(VENV)/dev $(PROGRAMS) ## The tests that need no day of samples
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(PYTEST) --ignore tests/e2e $(APART)

test-wide: $(VENV)/dev $(PROGRAMS) ## Costly properties on ten times as many examples
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York CARBON_ETL_EXAMPLES=10 $(PYTEST) --timeout 3000 \
		$$(grep -rl 'examples(' tests --include='test_*.py')

test-faults: $(VENV)/dev $(PROGRAMS) ## Death before each effect, full disks, broken lines, poison: tests/faults/results.md
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York CARBON_ETL_FAULTS_PAGE=tests/faults/results.md \
		$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 1800 tests/faults
	$(BIN)/python -m tests.passed faults --note

test-faults-quick: $(VENV)/dev $(PROGRAMS) ## One in eight of what is alike among those, and all the rest
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York CARBON_ETL_FAULTS_EVERY=8 \
		$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 1800 tests/faults

test-s3: $(VENV)/dev $(PROGRAMS) ## A warehouse in an object store, SIGKILL after each effect and whole commands included
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York CARBON_ETL_S3=1 $(PYTEST) tests/delta

test-workers: $(VENV)/dev $(PROGRAMS) ## Days done by processes and by Dask, killed and stopped ones included
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(PYTEST) tests/workers
	$(BIN)/python -m tests.passed workers --note

test-airflow: $(VENV)/dev $(PROGRAMS) $(AIRFLOW)/installed ## The DAGs of deploy/airflow, run by an Airflow of its own
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" CARBON_ETL_AIRFLOW=$(AIRFLOW) $(BIN)/python -m pytest --timeout 1500 tests/dags
	$(BIN)/python -m tests.passed dags --note

fuzz: $(VENV)/dev $(FUZZ)/installed ## Ten minutes for each decoder of other people's bytes (hours): tests/faults/fuzzed.md
	TZ=America/New_York $(BIN)/python -m tests.faults.fuzz --minutes 10 --note
	TZ=America/New_York PYTHONPATH=$(FUZZ) $(BIN)/python -m tests.faults.guided --minutes 10 --note
	$(BIN)/python -m tests.faults.reached

test-current: $(VENV)/dev $(CURRENT)/prometheus ## Publishing and correcting on Prometheus 3.9, built with Go first
	PATH="$(CURDIR)/$(CURRENT):$(CURDIR)/$(PROGRAMS):$$PATH" TZ=America/New_York $(PYTEST) $(CURRENT_TESTS)

test-exporters: $(VENV)/dev $(PROGRAMS) ## The real Kepler and Scaphandre, built and driven with known joules
	$(BIN)/python -m tests.exporters.programs $(EXPORTERS)
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" CARBON_ETL_EXPORTERS=$(EXPORTERS) $(BIN)/python -m pytest -rfExX tests/exporters
	$(BIN)/python -m tests.passed exporters --note

dashboards-preview: $(VENV)/dev $(PROGRAMS) ## Every panel of every dashboard, run on a real store and drawn: docs/preview
	PATH="$(CURDIR)/$(PROGRAMS):$$PATH" $(BIN)/python -m dashboards.preview

check: $(VENV)/dev ## Lint, format, types, layers, locks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --jobs 3 --keep-going locks types $(PYTHONS:%=types-%) layers

types: # and those of other versions beside it: where nothing is cached, each takes 40 s of one core; locks wait for a network
	$(BIN)/mypy

export COMPILE := import pathlib, sys; [compile(f.read_bytes(), str(f), "exec") for d in sys.argv[1:] for f in pathlib.Path(d).rglob("*.py")]
types-%:
	$(BIN)/mypy --python-version $*
	! python$* -c '' 2>/dev/null || python$* -W error -c "$$COMPILE" pipeline tests benchmarks dashboards deploy

layers:
	$(BIN)/lint-imports --no-logo

locks:
	$(BIN)/python -m tests.security.audit

fmt: $(VENV)/dev ## Format, and regenerate what is generated
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m dashboards.build
	$(BIN)/python -m deploy.build

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

$(VENV)/runtime: $(VENV)/pip requirements.lock requirements-build.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock -r requirements-build.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/dev: $(VENV)/pip requirements-dev.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@ $(VENV)/runtime

$(AIRFLOW)/installed: deploy/airflow/requirements.lock
	$(PYTHON) -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

$(FUZZ)/installed: requirements-fuzz.lock | $(VENV)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps \
		--upgrade --target $(FUZZ) -r $< || { echo 'Where atheris has no wheel: python -m tests.faults.fuzz goes without it'; exit 1; }
	touch $@

$(CURRENT)/prometheus: # without service discovery, a third of its packages
	mkdir -p $(CURRENT)
	cp -r "$$(go mod download -json github.com/prometheus/prometheus@$(PROMETHEUS) | sed -n 's/.*"Dir": "\(.*\)",/\1/p')" $(CURRENT)/source
	chmod -R u+w $(CURRENT)/source
	echo 'package plugins' >$(CURRENT)/source/plugins/plugins.go
	cd $(CURRENT)/source && go build -o .. ./cmd/prometheus ./cmd/promtool
	rm -r $(CURRENT)/source

$(PROGRAMS): $(VENV)/dev
	$(BIN)/python -m tests.programs $@
	touch $@
