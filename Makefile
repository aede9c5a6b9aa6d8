# Everything that a person types here. Each target installs what it needs first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
FUZZ_SECONDS ?= 60
INSTALLED := $(VENV)/.installed

# Beside this checkout where it was handed out with worked examples; left out where it was not.
CASES ?= ../shared/cases/run.py

# One home for the commands, the demo and the UI. Absolute, because Dagster wants it so.
ROSTER_HOME ?= $(CURDIR)/.roster
export ROSTER_HOME
DAGSTER_HOME ?= $(ROSTER_HOME)/dagster

# Dagster's own commands, on the instance that ours use. A home that somebody configured keeps its own file.
DAGSTER = mkdir -p "$(DAGSTER_HOME)" && \
	{ test -e "$(DAGSTER_HOME)/dagster.yaml" || cp dagster.yaml "$(DAGSTER_HOME)/"; } && \
	DAGSTER_HOME="$(DAGSTER_HOME)" $(BIN)/dagster

.DEFAULT_GOAL := help
.PHONY: help venv install demo test check format format-check lint types definitions docs ui \
	pictures options deployed workers night faults kills sixty-nights twins forgetting fuzz bench audit cases lock \
	clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(BIN)/python ## make the virtual environment .venv

install: $(INSTALLED) ## install the locked packages and this one, editable, into .venv

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || \
		{ echo "Python's venv module is incomplete: install your system's python3-venv package" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## sync a sandbox tenant with two providers and show the result
	@$(BIN)/roster-pipeline demo

# One process more than there are cores: many a test waits for a server or a daemon.
test: install ## run the tests
	@$(BIN)/python -m pytest --dist=loadfile --no-loadscope-reorder \
		--numprocesses=$$($(BIN)/python -c 'import os; print(min(os.cpu_count() or 1, 4) + 1)')

check: format-check lint types test definitions ## format, lint, strict types, tests, definitions load

format: install ## rewrite the sources in the one format, and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

format-check: install ## is everything in the one format?
	$(BIN)/ruff format --check .

lint: install ## the linter
	$(BIN)/ruff check .

types: install ## strict types
	$(BIN)/mypy

definitions: install ## do Dagster's definitions load?
	$(DAGSTER) definitions validate --workspace workspace.yaml

docs: install ## write the pages that are generated from the code
	$(BIN)/roster-pipeline codes --markdown > docs/codes.md
	$(BIN)/python -m roster_pipeline_tests.fault_matrix --write

ui: install ## open Dagster's UI on http://127.0.0.1:3000, on the demo's data
	@$(BIN)/roster-pipeline demo --ui --port $(PORT)

pictures: install ## take the pictures of the documentation anew, with Debian's Chromium
	$(BIN)/python -m roster_pipeline_tests.browser docs/images

options: install ## does the proof of every option fail when the option is ignored?
	@$(BIN)/python -m roster_pipeline_tests.ignoring

faults: install ## every fault with every kind of provider, as first and later sync, in SQLite and Postgres
	@$(BIN)/python -m roster_pipeline_tests.fault_matrix

kills: install ## SIGKILL at 200 random instants of syncs on each database, with readers polling
	@$(BIN)/python -m roster_pipeline_tests.kills

sixty-nights: install ## two tenants through sixty generated nights each, against the oracle of the rules
	@$(BIN)/python -m roster_pipeline_tests.sixty_nights --worlds 2

twins: install ## made-up tenants with and without standing on earlier nights, in SQLite and Postgres: the same
	@$(BIN)/python -m roster_pipeline_tests.twins --days 120
	@$(BIN)/python -m roster_pipeline_tests.twins --worlds 6 --first 101 --postgres
	@$(BIN)/python -m roster_pipeline_tests.forgetful

forgetting: install ## erase many people at random, and look for them everywhere
	@$(BIN)/python -m roster_pipeline_tests.forgetting 30

fuzz: install ## a coverage-guided fuzzer on everything that parses what others wrote
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[fuzz]'
	@$(BIN)/python -m roster_pipeline_tests.fuzzing --seconds $(FUZZ_SECONDS)

deployed: install ## boot an empty Debian machine and type docs/operating.md on it (as root)
	@$(BIN)/python -m roster_pipeline_tests.deployed

workers: install ## two Celery workers, one of them killed in the middle of its syncs (as root)
	@$(BIN)/python -m roster_pipeline_tests.workers

night: install ## a real night of 500 tenants: what a sync costs, and how many an hour does
	@$(BIN)/python -m benchmarks.night

# Hours, mostly the million. What is done is kept: interrupted, it goes on where it was.
bench: install ## measure 1k to 1M students beside the floor and other clients, and write docs/performance.md
	@$(BIN)/python -m benchmarks run $(if $(SIZES),--sizes $(SIZES)) $(if $(REPEATS),--repeats $(REPEATS)) \
		$(if $(PARTS),--parts $(PARTS)) $(if $(BEFORE),--before $(BEFORE)) $(if $(RETRY),--retry)
	@$(BIN)/python -m benchmarks report

# pip-audit gets an environment of its own, build/audit. Where no database of vulnerabilities can be reached it
# says so, lists what is pinned, and ends well.
audit: ## has anything that is pinned a known vulnerability?
	@$(PYTHON) .ci/audit.py requirements.lock

cases: install ## run the worked examples from outside, where they are
	@if [ -f "$(CASES)" ]; then \
		$(BIN)/python "$(CASES)" --command "$(BIN)/roster-pipeline" --jobs 2; \
	else echo "No worked examples at $(CASES)."; fi

# In an environment of its own, so that what is tried out in .venv does not slip in. Only names and versions.
lock: ## write requirements.lock anew from pyproject.toml, with the newest versions that it admits
	@rm -rf build/lock
	@$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,celery]'
	@{ echo "# Exact versions of everything that .venv holds, development tools included. Written by \`make lock\`."; \
		build/lock/bin/python -m pip freeze --disable-pip-version-check --exclude-editable \
			| grep -E '^[A-Za-z0-9._-]+==[^ ]+$$'; } > build/requirements.lock
	@mv build/requirements.lock requirements.lock
	@rm -rf build/lock

clean: ## remove the environment, the caches and what was built; the home (.roster) stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
