# Điểm Cầu. `make help` explains itself.
# The distribution's is built with optimisations, without which (pyenv's) all takes a tenth longer; taken where it
# can make an environment and compile for it.
WHOLE := 'import ensurepip, os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")'
PYTHON ?= $(shell /usr/bin/python3.11 -c $(WHOLE) 2>&- && echo /usr/bin/python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_STAMP := node_modules/.installed

# Hundreds of processes come and go in the tests: none is to compile the modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test check check-style check-types check-drift bench system-packages

help: ## Explain the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): setup.cfg setup.py pyproject.toml $(wildcard server/*/*.[ch])
	$(PYTHON) -m venv --clear $(VENV)  # it may be another Python's
	$(BIN)/pip install --quiet --no-compile --upgrade pip  # the one that comes along takes 24 s more to choose
	$(BIN)/pip install -qq --no-compile --editable '.[test]'  # what is imported is compiled then
	@touch $@

$(NODE_STAMP): package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

demo: $(STAMP) ## Run the reference conference with ten simulated sites; prints a URL for each role
	@$(BIN)/diemcau demo $(DEMO)

serve: $(STAMP) ## Run the server with the configured database
	@$(BIN)/diemcau migrate
	@$(BIN)/diemcau serve $(SERVE)

system-packages:
	@deploy/system-packages

check: $(STAMP) $(NODE_STAMP) ## Linters, types, import rules, translations, drift: seconds
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-style check-types check-drift

check-style:
	$(BIN)/black --quiet --check server tests benchmarks deploy
	$(BIN)/isort --quiet --check-only server tests benchmarks deploy
	$(BIN)/flake8 server tests benchmarks deploy

check-types:
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	node_modules/.bin/tsc --project jsconfig.json

check-drift:
	$(BIN)/python deploy/translations.py --check
	$(BIN)/pytest -q -p no:cacheprovider 'tests/db/test_database.py::test_migrations_make_exactly_the_models[sqlite]' \
		tests/wire/test_protocol.py::test_generated_files_are_fresh

test: system-packages $(STAMP) $(NODE_STAMP) check ## Everything that must pass, browser tests included
	npm test --silent
	$(BIN)/pytest -q -n 3 --reruns 2 -m 'not browser and not alone'
	$(BIN)/pytest -q -n 2 --reruns 2 -m 'browser or alone'

bench: $(STAMP) $(NODE_STAMP) ## Every benchmark, one JSON object a line
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done
