# Two commands: `make run` serves on port 8000, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
UV := .venv-uv/bin/uv
OLDEST := .venv-oldest
SOURCES := app deploy/grafana schema scim_filter set_delivery storage telemetry examples tests benchmarks docs wsgi.py
.DEFAULT_GOAL := help

.PHONY: help run test test-full test-oldest docs reference lock packages

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-12s %s\n", $$1, $$2 }'

run: $(VENV)/.run ## serve on HOST:PORT (0.0.0.0:8000) with the store in ./data
	@exec $(VENV)/bin/scim serve

test: packages $(VENV)/.test ## install what the tests need, then lint and run all tests
	$(VENV)/bin/flake8 $(SOURCES)
	$(VENV)/bin/isort --check-only --quiet $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	@# Four at a time on two cores: tests wait for servers more than they compute.
	$(VENV)/bin/pytest -n 4 --dist worksteal

test-full: export SCIM_TEST_FULL = 1
test-full: test ## the same, and the tests that are slow or fetch large tools, such as helm

docs: $(VENV)/.docs ## build the site of the documentation into build/docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "open build/docs/index.html"

reference: $(VENV)/.docs ## write the pages of docs/reference that are made from the code
	@$(VENV)/bin/python -m docs.generate

test-oldest: packages $(UV) ## run the tests on SQLite with the oldest packages that setup.cfg allows
	$(PYTHON) -m venv --clear $(OLDEST)
	$(UV) pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --editable '.[test]'
	$(OLDEST)/bin/pytest --backend sqlite

lock: $(UV) ## write requirements/*.txt anew: the newest packages that setup.cfg allows, with hashes
	sh requirements/lock.sh $(UV)

$(UV):
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/pip install --quiet uv

$(VENV)/bin/pip:
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit("$(PYTHON) is %d.%d: set PYTHON to Python 3.11 or later" % sys.version_info[:2] \
	  if sys.version_info < (3, 11) else 0)'
	@# Debian has the modules that `venv` needs in a package of its own.
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  { apt-get update -q && apt-get install -qy python3-venv; } >/dev/null && $(PYTHON) -m venv $(VENV); }

$(VENV)/.run: requirements/run.txt setup.cfg pyproject.toml | $(VENV)/bin/pip
	@echo "installing into $(VENV), which takes a minute or two the first time"
	@$(VENV)/bin/pip install --quiet --require-hashes --requirement requirements/run.txt
	@$(VENV)/bin/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.docs: requirements/docs.txt setup.cfg pyproject.toml | $(VENV)/bin/pip
	@$(VENV)/bin/pip install --quiet --require-hashes --requirement requirements/docs.txt
	@$(VENV)/bin/pip install --quiet --no-deps --editable .
	@touch $@

packages: ## install the Debian packages that the tests need and that are missing
	@PYTHON=$(PYTHON) sh tests/packages.sh

$(VENV)/.test: requirements/test.txt setup.cfg pyproject.toml | packages $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --require-hashes --requirement requirements/test.txt
	$(VENV)/bin/pip install --quiet --no-deps --editable .
	@# In an environment of its own: it has a command `scim` as well.
	$(PYTHON) -m venv $(VENV)/scim2-cli
	$(VENV)/scim2-cli/bin/pip install --quiet 'scim2-cli>=0.6'
	@touch $@
