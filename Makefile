# Everything below works on a fresh clone with nothing but Python (3.10 to 3.13), make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt

# A file stays with one worker, so that what its tests share is made once.
PYTEST := $(BIN)/python -m pytest --dist loadfile --durations 10
# What failed, once more and alone: a server may miss its time on a busy machine.
FAILED := --last-failed --last-failed-no-failures none
AGAIN := $(BIN)/python -m pytest $(FAILED)

# An environment of its own, with what is compared; truto-python-sdk needs Python 3.12.
BENCH := .venv-bench
# Another, with what makes the site; Sphinx needs Python 3.11.
DOCS := .venv-docs
# Another, with what reaches an S3 server and a PostgreSQL, and both of them.
SERVICES := .venv-services
PYTEST_SERVICES := $(SERVICES)/bin/python -m pytest tests/bulk/services tests/test_inbound_webhooks.py \
  tests/test_vault.py tests/operators/test_openlineage.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-services ui screenshots docs lint format test-constraints constraints bench clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/run.stamp ## update an account: a DAG on a real Airflow against the emulator
	@$(BIN)/python scripts/demo.py

ui: $(VENV)/run.stamp ## Airflow in the browser beside the emulator; Ctrl-C stops both
	@$(BIN)/python scripts/ui.py

test: $(VENV)/dev.stamp ## the test suite but for what takes long, in five minutes on two cores
	@$(PYTEST) -n 3 -m "not slow" || { [ $$? = 1 ] && $(AGAIN) -m "not slow"; }

test-all: $(VENV)/dev.stamp ## kills, real schedulers, servers, a browser, other Pythons, more random cases as well
	@$(PYTHON) scripts/test_constraints.py pythons
	@$(MAKE) --no-print-directory test-services
	@$(PYTEST) -n 2 --hypothesis-profile thorough || { [ $$? = 1 ] && $(AGAIN) --hypothesis-profile thorough; }

test-services: $(SERVICES)/services.stamp ## a real S3 server and PostgreSQL under bulks, a receiver of webhooks, Vault, OpenLineage
	@$(PYTEST_SERVICES) || { [ $$? = 1 ] && $(PYTEST_SERVICES) $(FAILED); }

screenshots: $(VENV)/dev.stamp ## the pictures of the pages, docs/images, taken by the tests in the browser
	@TRUTO_SCREENSHOTS=1 $(BIN)/python -m pytest tests/ui

docs: $(DOCS)/docs.stamp ## the site, in docs/_build/html: built, every link checked, readable without a network
	@rm -rf docs/_build/html
	@$(DOCS)/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@SITE=docs/_build/html $(DOCS)/bin/python -m pytest -q --noconftest tests/test_site.py
	@echo "Written: docs/_build/html/index.html"

lint: $(VENV)/dev.stamp ## lint, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/dev.stamp ## format, and fix what can be fixed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

test-constraints: ## install and test under the pins of AIRFLOW="2.11.2 3.0.6 3.1.8 3.2.1 3.3.1", and the lowest ones
	@$(PYTHON) scripts/test_constraints.py $(AIRFLOW)

constraints: $(VENV)/dev.stamp ## renew the pins of constraints.txt
	@$(BIN)/python scripts/renew_constraints.py

bench: $(BENCH)/bench.stamp ## measure the speed against others; SAVE=1 writes docs/benchmarks.md, MILLION=1 takes long
	@MILLION=$(MILLION) $(BENCH)/bin/python -m benchmarks $(if $(SAVE),--save)

clean: ## remove the environments and the site
	rm -rf .venv .venv-* docs/_build

$(VENV)/run.stamp: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (about a minute, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) pip
	@$(PIP) --no-compile apache-airflow -e ".[emulator]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@$(PIP) --no-compile --group test --group lint
	@touch $@

$(SERVICES)/services.stamp: pyproject.toml constraints.txt
	@echo "Installing into $(SERVICES) (about a minute, once) ..."
	@$(PYTHON) -m venv $(SERVICES)
	@$(SERVICES)/bin/pip install -q --disable-pip-version-check -c constraints.txt pip
	@$(SERVICES)/bin/pip install -q --disable-pip-version-check -c constraints.txt --no-compile \
	  apache-airflow -e ".[emulator]" --group test --group services
	@touch $@

$(DOCS)/docs.stamp: pyproject.toml constraints.txt
	@echo "Installing into $(DOCS) (about a minute, once) ..."
	@"$$($(PYTHON) scripts/pythons.py 3.12 3.13 3.11)" -m venv $(DOCS)
	@$(DOCS)/bin/pip install -q --disable-pip-version-check -c constraints.txt pip
	@$(DOCS)/bin/pip install -q --disable-pip-version-check -c constraints.txt --no-compile \
	  apache-airflow -e ".[emulator]" --group docs
	@touch $@

$(BENCH)/bench.stamp: pyproject.toml constraints.txt
	@echo "Installing into $(BENCH) (about a minute, once) ..."
	@"$$($(PYTHON) scripts/pythons.py 3.12 3.13)" -m venv $(BENCH)
	@$(BENCH)/bin/pip install -q --disable-pip-version-check -c constraints.txt pip
	@$(BENCH)/bin/pip install -q --disable-pip-version-check -c constraints.txt apache-airflow -e . --group bench
	@touch $@
