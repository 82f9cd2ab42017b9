# Điểm Cầu. `make help` explains itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_STAMP := node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help demo serve test check bench system-packages

help: ## Explain the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(NODE_STAMP): package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

demo: $(STAMP) ## Run the reference conference with ten simulated sites; prints a URL for each role
	$(BIN)/diemcau demo $(DEMO)

serve: $(STAMP) ## Run the server with the configured database
	$(BIN)/diemcau migrate
	$(BIN)/diemcau serve $(SERVE)

system-packages:
	@deploy/system-packages

check: $(STAMP) $(NODE_STAMP) ## Linters, types, import rules, translations, drift: seconds
	$(BIN)/black --quiet --check server tests benchmarks deploy
	$(BIN)/isort --quiet --check-only server tests benchmarks deploy
	$(BIN)/flake8 server tests benchmarks deploy
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	node_modules/.bin/tsc --project jsconfig.json
	$(BIN)/pytest -q -p no:cacheprovider -m check tests/check

test: system-packages $(STAMP) $(NODE_STAMP) check ## Everything that must pass, browser tests included
	$(BIN)/pytest -q -m 'not check' $(TESTS)

bench: $(STAMP) ## Every benchmark, one JSON object a line
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done
