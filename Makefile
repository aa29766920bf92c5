# Two commands: `make run` serves on port 8000, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
SOURCES := app schema scim_filter set_delivery storage tests benchmarks docs wsgi.py
.DEFAULT_GOAL := help

.PHONY: help run test test-full docs reference packages

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

run: $(VENV)/.run ## serve on HOST:PORT (0.0.0.0:8000) with the store in ./data
	@exec $(VENV)/bin/scim serve

test: packages $(VENV)/.test ## install what the tests need, then lint and run all tests
	$(VENV)/bin/flake8 $(SOURCES)
	$(VENV)/bin/isort --check-only --quiet $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	@# Two at a time: tests wait for servers more than they compute.
	$(VENV)/bin/pytest -n 2 --dist worksteal

test-full: export SCIM_TEST_FULL = 1
test-full: test ## the same, and helm is made from its Go module to test the chart

docs: $(VENV)/.docs ## build the site of the documentation into build/docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "open build/docs/index.html"

reference: $(VENV)/.docs ## write the pages of docs/reference that are made from the code
	@$(VENV)/bin/python -m docs.generate

$(VENV)/bin/pip:
	@echo "making a virtual environment in $(VENV)"
	@# Debian keeps what `venv` needs in a package of its own.
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || \
	  { apt-get update -q && apt-get install -qy python3-venv; } >/dev/null && $(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.cfg pyproject.toml | $(VENV)/bin/pip
	@echo "installing into $(VENV), which takes a minute or two the first time"
	@$(VENV)/bin/pip install --quiet --editable '.[postgresql,mysql,mongodb,irods]'
	@touch $@

$(VENV)/.docs: setup.cfg pyproject.toml | $(VENV)/bin/pip
	@$(VENV)/bin/pip install --quiet --editable '.[docs]'
	@touch $@

packages:
	@PYTHON=$(PYTHON) sh tests/packages.sh

$(VENV)/.test: setup.cfg pyproject.toml | packages $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	@# In an environment of its own: it has a command `scim` as well.
	$(PYTHON) -m venv $(VENV)/scim2-cli
	$(VENV)/scim2-cli/bin/pip install --quiet 'scim2-cli>=0.6'
	@touch $@
