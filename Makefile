# `make demo` and `make test` need Python and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# Each has databases of its own; 0 runs the tests in the process itself, for a debugger.
TEST_PROCESSES ?= 2
CHAOS_ARGS ?=
FAIRNESS_ARGS ?=
UPGRADE_ARGS ?=

.PHONY: demo studio test test-example fuzz chaos fairness upgrade services lint types layers docs tox dist screenshots check clean

$(BIN)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	touch $@

demo: $(BIN)/.installed  ## the main job on SQLite and a broker that needs no server; SERVE=1 keeps it running
	$(BIN)/python example_project/manage.py demo $(if $(SERVE),--serve)

# In a terminal that was led to a local Gemini API, the key is "emulator": that is not Google's.
studio: $(BIN)/.installed  ## the example site, with a local Gemini API unless GEMINI_API_KEY is set
	$(BIN)/python example_project/manage.py studio
	$(BIN)/python example_project/manage.py runserver --with-worker $(if $(filter-out emulator,$(GEMINI_API_KEY)),,--with-emulator)

test: $(BIN)/.installed  ## the whole suite; REQUIRE_SERVICES=1 turns skips for want of a server into failures
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses=$(TEST_PROCESSES) --dist=worksteal $(PYTEST_ARGS)
	$(if $(PYTEST_ARGS),,$(MAKE) test-example)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=$(COVERAGE_MIN)

test-example: $(BIN)/.installed  ## the tests of the example site, which have its settings
	$(BIN)/coverage run -m pytest example_project --ds=example_project.config.settings \
		--numprocesses=$(TEST_PROCESSES) --dist=worksteal

COVERAGE_MIN ?= 95

FUZZ_TARGETS := headers signatures secrets tokens claims key_set envelope
FUZZ_SECONDS ?= 60

fuzz: $(BIN)/.installed  ## look for input that a parser does not stand; FUZZ_SECONDS for each of seven
	$(BIN)/python -m pip install --quiet --group fuzz
	for target in $(FUZZ_TARGETS); do \
		$(BIN)/python -m fuzz $$target --seconds $(FUZZ_SECONDS) --scratch build/fuzz || exit 1; \
	done

chaos: $(BIN)/.installed  ## break everything while events come in; CHAOS_ARGS="--events 2000 --seed 7"
	$(BIN)/python -m chaos $(CHAOS_ARGS)

upgrade: $(BIN)/.installed  ## upgrade under load; UPGRADE_ARGS="--from REV --rows 1000000"
	$(BIN)/python -m chaos.upgrade $(UPGRADE_ARGS)

fairness: $(BIN)/.installed  ## how long others wait for one tenant's burst, without and with a limit
	$(BIN)/python -m chaos.fairness $(FAIRNESS_ARGS)

services:  ## install and start PostgreSQL, MariaDB, Redis, RabbitMQ and Chromium on Debian, where missing
	sh scripts/services.sh

lint: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec example_project/compose.yaml
	$(BIN)/zizmor --offline --quiet --min-severity medium .github/workflows

types: $(BIN)/.installed
	$(BIN)/mypy

layers: $(BIN)/.installed
	$(BIN)/lint-imports

docs: $(BIN)/.installed
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q -b html docs docs/_build/html

tox: $(BIN)/.installed
	$(BIN)/tox run-parallel --parallel 2 --parallel-no-spinner --skip-missing-interpreters=true

dist: $(BIN)/.installed  ## the wheel and the source distribution, the same bytes each time
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*

screenshots: $(BIN)/.installed  ## the pictures of the documentation; needs Chromium, see services
	sh scripts/screenshots.sh

check: lint types layers docs test  ## everything but the tox matrix

clean:
	rm -rf $(VENV) .tox .demo build dist docs/_build .coverage .coverage.*
