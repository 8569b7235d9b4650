# Needs Python 3.11 or newer, make, and access to a package index. Everything else is installed into .venv.
PYTHON ?= python3
NEWEST := 3.3.2
OLDER := 3.1.8 3.0.6
# make test-versions: other versions of Airflow, and of Python (with the newest Airflow).
VERSIONS := 3.2.2 py3.12 py3.13
BIN := .venv/bin
# Two processes mostly wait for their Airflow (tests/conftest.py), so three suit two cores.
SIDE_BY_SIDE := -n 3 --dist loadscope --no-loadscope-reorder
# These tests measure, so they run alone: with make test-scale.
NOT_BESIDE_OTHERS := $(addprefix tests/scale/test_,one_address.py one_key.py treasury_load.py limits_over_time.py)
# Python $(1) of pyenv, else the one on the PATH; nothing if there is none.
python = $(firstword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/$(1).*/bin/python3 \
	$(addsuffix /python$(1),$(subst :, ,$(PATH)))))
MISSING = $(strip $(foreach version,$(filter py%,$(VERSIONS)),$(if $(call python,$(version:py%=%)),,$(version))))
PYTHONS = $(filter py%,$(filter-out $(MISSING),$(VERSIONS)))
# ONE_PYTHON=1 chooses the newest Python of them.
PRESENT = $(filter-out py%,$(VERSIONS)) $(if $(ONE_PYTHON),$(lastword $(PYTHONS)),$(PYTHONS))
OLDEST = $(lastword $(OLDER))
# What runs on older versions. make test-compat COMPAT=tests runs everything.
COMPAT = -m "not slow" --hypothesis-profile quick tests/browser tests/contract tests/unit \
	$(addprefix tests/e2e/test_,airflow.py kill.py treasury.py)

.PHONY: help demo ui lint check test test-unit test-e2e test-browser test-kill test-scale test-compat \
	test-versions test-lowest coverage fuzz \
	test-peers mutate simulate explore bench docs constraints clean

help:
	@echo "make demo         watch Airflow invest and withdraw on a sandbox exchange"
	@echo "make ui           keep Airflow and the sandbox running, to click around (PORT=8080)"
	@echo "make check        lint, types, fast tests and a small simulation: about a minute"
	@echo "make lint         lint, formatting and types only"
	@echo "make test         lint, types and all tests on Airflow $(NEWEST)"
	@echo "make test-compat  most tests on Airflow $(OLDER); COMPAT=tests for all"
	@echo "make test-versions  unit and contract tests on Airflow and Python $(VERSIONS), as far as they are installed"
	@echo "make test-lowest  fast tests with the lowest versions that pyproject.toml allows, on Airflow $(OLDEST)"
	@echo "make test-kill    kill KILLS=50 task processes and RESTARTS=20 triggerers"
	@echo "make test-scale   MOVES=200 moves at once on Celery, PostgreSQL and Redis, while all of them are killed (SEED=1);"
	@echo "                  and the Treasury page on PostgreSQL, with 40 viewers beside Airflow's own pages"
	@echo "make fuzz         new random examples, 1000 for each property (make test has the same examples in every run)"
	@echo "make test-peers   other clients of the exchange against the sandbox (NEWEST_PEERS=1 pins their newest versions first)"
	@echo "make coverage     coverage of unit tests, contract tests and simulation; fails below the limit in pyproject.toml"
	@echo "make mutate       change the modules that keep money from moving twice; fails if the fast tests do not notice;"
	@echo "                  ONLY=nonce_lock,evidence for some modules, SAMPLE=100 for so many changes of them"
	@echo "make simulate     SEEDS=100000 simulated worlds with failures, or SEED=n with its trace;"
	@echo "                  PLANS=1 for plans, ROTATION=1 while the API key is replaced, or both; FALLBACK=1 for"
	@echo "                  tasks that go on to another move after an error; STOPS=1 for people who stop all moves;"
	@echo "                  LIMITS=1 for limits over time (also with ROTATION);"
	@echo "                  HOSTILE=1 for an exchange, stores and people"
	@echo "                  that are not as expected (also with PLANS, ROTATION, ONE_KEY, LAG, PEOPLE; SKEW=ms; TALLY=1)"
	@echo "make explore      every order of steps in small worlds with failures: a few minutes; WORLD=name for one"
	@echo "make bench        all benchmarks, as a table and JSON; ONLY=calls,planning for some, README=1 to publish them"
	@echo "make docs         the documentation as a site in site/ (NEWEST_DOCS=1 pins the newest versions of its tools first)"
	@echo "make constraints  resolve the newest versions that fit each Airflow"
	@echo "make clean        remove everything that these commands have made"

.venv/ready: pyproject.toml constraints/airflow-$(NEWEST).txt scripts/venv.sh
	@PYTHON=$(PYTHON) scripts/venv.sh .venv $(NEWEST)

.venv-%/ready: pyproject.toml constraints/airflow-%.txt scripts/venv.sh
	@PYTHON=$(PYTHON) scripts/venv.sh .venv-$* $*

.venv-py%/ready: pyproject.toml constraints/airflow-$(NEWEST).txt scripts/venv.sh
	@PYTHON=$(or $(call python,$*),python$*) scripts/venv.sh .venv-py$* $(NEWEST)

.venv-lowest/ready: pyproject.toml $(wildcard constraints/airflow-$(OLDEST).in) scripts/venv.sh scripts/lowest.py
	@PYTHON=$(PYTHON) scripts/venv.sh --lowest .venv-lowest $(OLDEST)

demo: .venv/ready
	@$(BIN)/python scripts/demo.py

ui: .venv/ready
	@$(BIN)/python scripts/ui.py $(if $(PORT),--port $(PORT))

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/python -m pytest -q -n 2 -m "not slow" --hypothesis-profile quick tests/unit
	$(BIN)/python -m tests.simulation --seeds 500
	$(BIN)/python -m tests.simulation --seeds 100 --plans
	$(BIN)/python -m tests.simulation --seeds 500 --hostile

test: lint
	@scripts/browser.sh
	@scripts/services.sh
	@scripts/hledger.sh
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -rs tests $(NOT_BESIDE_OTHERS:%=--ignore %)

test-unit: .venv/ready
	$(BIN)/python -m pytest tests/unit tests/contract

test-e2e: .venv/ready
	$(BIN)/python -m pytest tests/e2e

test-browser: .venv/ready
	@scripts/browser.sh
	$(BIN)/python -m pytest tests/browser

test-kill: .venv/ready
	WHITEBIT_KILLS=$(or $(KILLS),50) WHITEBIT_RESTARTS=$(or $(RESTARTS),20) \
		$(BIN)/python -m pytest tests/e2e/test_kill.py tests/e2e/test_events.py tests/e2e/test_treasury.py

test-scale: .venv/ready
	@scripts/services.sh
	WHITEBIT_MOVES=$(or $(MOVES),200) WHITEBIT_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -rs tests/scale

test-compat: $(OLDER:%=.venv-%/ready)
	@scripts/browser.sh
	@scripts/hledger.sh
	@set -e; for version in $(OLDER); do \
		echo "== Airflow $$version"; \
		.venv-$$version/bin/python -m pytest $(SIDE_BY_SIDE) $(COMPAT); \
	done

test-versions: $(PRESENT:%=.venv-%/ready)
	@set -e; for version in $(PRESENT); do \
		echo "== $$version"; \
		.venv-$$version/bin/python -m pytest -q -n 2 -rs tests/unit tests/contract; \
	done
	@echo "Tested: $(PRESENT)$(if $(MISSING),; not installed: $(MISSING))"
	@$(if $(WHITEBIT_NO_SKIPS),$(if $(filter py%,$(PRESENT)),,$(if $(call python,3.1[2-9]),\
		echo "No other Python was tested (and WHITEBIT_NO_SKIPS is set): $(call python,3.1[2-9]) is there"; exit 1)))

test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest -q -n 2 -rs -m "not slow" --hypothesis-profile quick tests/unit

fuzz: .venv/ready
	$(BIN)/python -m pytest -q -n 2 -m hypothesis --hypothesis-profile fuzz tests/unit tests/contract

test-peers: .venv/ready
	@$(BIN)/python scripts/peers.py $(if $(NEWEST_PEERS),--resolve)
	$(BIN)/python -m pytest tests/contract/test_peers.py

coverage: .venv/ready
	$(BIN)/python -m pytest -q -n 2 --cov --cov-report term tests/unit tests/contract tests/simulation

mutate: .venv/ready
	$(BIN)/python scripts/mutate.py $(if $(ONLY),--only $(ONLY)) $(if $(TESTS),--tests $(TESTS)) \
		$(if $(SAMPLE),--sample $(SAMPLE))

simulate: .venv/ready
	@$(BIN)/python -m tests.simulation $(if $(PLANS),--plans) $(if $(ROTATION),--rotation) $(if $(FALLBACK),--fallback) \
		$(if $(STOPS),--stops) \
		$(if $(HOSTILE),--hostile) $(if $(LAG),--lag) $(if $(ONE_KEY),--one-key) $(if $(PEOPLE),--people) \
		$(if $(LIMITS),--limits) $(if $(SKEW),--skew $(SKEW)) $(if $(TALLY),--tally) \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100000))

explore: .venv/ready
	@$(BIN)/python -m tests.exploration $(if $(WORLD),--world "$(WORLD)")

bench: .venv/ready
	@$(BIN)/python scripts/bench/run.py $(ONLY) $(if $(README),--readme)

# The tools have an environment of their own: nothing of theirs is needed to use or test the package.
DOCS_TOOLS := mkdocs-material mkdocstrings-python ruff
DOCS_PIP := .venv-docs/bin/python -m pip --disable-pip-version-check

.venv-docs/ready: scripts/pins/docs.txt
	@echo "Making .venv-docs"
	@$(PYTHON) -m venv --clear .venv-docs
	@$(DOCS_PIP) install --quiet $(if $(NEWEST_DOCS),$(DOCS_TOOLS),-r $<)
	@$(if $(NEWEST_DOCS),$(DOCS_PIP) freeze >$<)
	@touch $@

docs: $(if $(NEWEST_DOCS),docs-newest) .venv-docs/ready
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.PHONY: docs-newest
docs-newest:
	@rm -f .venv-docs/ready

constraints:
	@for version in $(sort $(NEWEST) $(OLDER) $(filter-out py%,$(VERSIONS))); do PYTHON=$(PYTHON) scripts/venv.sh --resolve $$version; done

clean:
	rm -rf .venv .venv-* .airflow .bench .peers site mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
