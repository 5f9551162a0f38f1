# Every command of a developer. `make` alone lists them; CI runs the same ones (.ci/run).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The environment, and one stamp per set of packages in it: an unchanged set costs nothing.
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
CORE := .venv/.andon-core
TEST := .venv/.andon-test
CHECK := .venv/.andon-check

# Further arguments, for pytest, bench or lock: make test ARGS="tests/cli -k doctor"
ARGS ?=

.PHONY: help install run test check format docs lock bench bench-peers clean

help: ## List these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(CORE) ## Make the environment .venv and install Andon into it

run: $(CORE) ## Start Andon with a detector and sample boards on http://127.0.0.1:8080
	@$(BIN)/andon demo --if-empty
	@exec $(BIN)/andon serve

# Compiled tests are kept even where the shell says otherwise: each worker would compile them all.
test: $(TEST) ## Install what tests need and run the suite
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(CHECK) ## Format, lint, strict types, import direction, docs in step with code
	@$(BIN)/ruff format --check --output-format concise .
	@$(BIN)/ruff check --output-format concise .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config pyproject.toml
	@$(BIN)/python -m scripts.reference --check

format: $(CHECK) ## Format the code and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(CORE) ## Write docs/configuration.md and docs/cli.md anew from the code
	@$(BIN)/python -m scripts.reference

lock: .venv/bin/python ## Resolve requirements.lock anew from pyproject.toml
	@$(PIP) install uv
	@scripts/lock.sh $(ARGS)

bench: $(TEST) ## Measure speed, start, memory and size; prints a table and writes JSON
	@$(BIN)/python -m bench $(ARGS)

bench-peers: $(TEST) ## The same model through LitServe and MLServer, each in its own environment
	@sh bench/peers/prepare.sh bench/.peers
	@$(BIN)/python -m bench --peers bench/.peers $(ARGS)

clean: ## Remove the environment and everything else the commands here made
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@rm -f src/andon/web/dashboard/static/vega.js
	@find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@scripts/make_venv.sh

# requirements.lock pins every package; `-c` leaves the choice of sets to pyproject.toml.
$(CORE): pyproject.toml requirements.lock hatch_build.py
	@scripts/make_venv.sh
	@echo "Installing Andon into .venv (a minute or two the first time)."
	@$(PIP) install --constraint requirements.lock --editable .
	@touch $@

$(TEST): $(CORE)
	@echo "Installing what the tests need."
	@$(PIP) install --constraint requirements.lock --editable '.[mlflow,train]' --group test
	@touch $@

# With the extras: mypy reads the types of their libraries.
$(CHECK): $(CORE)
	@echo "Installing what the checks need."
	@$(PIP) install --constraint requirements.lock --editable '.[mlflow,train]' --group check
	@touch $@
