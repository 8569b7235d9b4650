# Needs Python 3.11 or newer, make, and the package registries. Everything else goes into .venv.
PYTHON ?= python3
NEWEST := 3.3.2
OLDER := 3.1.8 3.0.6
BIN := .venv/bin
# The tests that wait for a running Airflow, and beside them all others: what takes long before what does not.
SIDE_BY_SIDE := -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: help demo ui test lint test-unit test-e2e test-browser test-kill test-scale test-compat simulate bench constraints clean

help:
	@echo "make demo         watch Airflow invest and withdraw on a sandbox exchange"
	@echo "make ui           leave Airflow and the sandbox running, to click around (PORT=8080)"
	@echo "make test         lint, types, all tests on Airflow $(NEWEST)"
	@echo "make test-compat  the tests on Airflow $(OLDER)"
	@echo "make test-kill    KILLS=50 kills of real task processes, RESTARTS=20 of the triggerer"
	@echo "make test-scale   MOVES=200 moves at once on Celery, PostgreSQL and Redis, all of them killed meanwhile (SEED=1)"
	@echo "make simulate     SEEDS=100000 worlds in which everything goes wrong, or SEED=n with its trace;"
	@echo "                  PLANS=1 for plans, ROTATION=1 while the API key is exchanged, or both"
	@echo "make bench        all figures as a table and JSON; ONLY=calls,planning for some, README=1 to publish them"
	@echo "make clean        remove everything that the above have made"

.venv/ready: pyproject.toml constraints/airflow-$(NEWEST).txt scripts/venv.sh
	@PYTHON=$(PYTHON) scripts/venv.sh .venv $(NEWEST)

.venv-%/ready: pyproject.toml constraints/airflow-%.txt scripts/venv.sh
	@PYTHON=$(PYTHON) scripts/venv.sh .venv-$* $*

demo: .venv/ready
	@$(BIN)/python scripts/demo.py

ui: .venv/ready
	@$(BIN)/python scripts/ui.py $(if $(PORT),--port $(PORT))

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	@scripts/browser.sh
	@scripts/services.sh
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -rs tests --ignore tests/scale/test_one_address.py

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
	@set -e; for version in $(OLDER); do \
		echo "== Airflow $$version"; \
		.venv-$$version/bin/python -m pytest $(SIDE_BY_SIDE) tests/browser tests/e2e tests/contract tests/unit; \
	done

simulate: .venv/ready
	@$(BIN)/python -m tests.simulation $(if $(PLANS),--plans) $(if $(ROTATION),--rotation) \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),100000))

bench: .venv/ready
	@$(BIN)/python scripts/bench/run.py $(ONLY) $(if $(README),--readme)

constraints:
	@for version in $(NEWEST) $(OLDER); do PYTHON=$(PYTHON) scripts/venv.sh --resolve $$version; done

clean:
	rm -rf .venv .venv-* .airflow .bench .peers .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
