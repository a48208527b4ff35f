# Everything here works from a fresh clone: Python 3.11+, make and a compiler are all it asks for.

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
CHECKED = synckairos tests $(wildcard loadtests)

.DEFAULT_GOAL := help
.PHONY: help install run test tools check fmt env lock

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

install: $(STAMP) ## the environment alone, in .venv; does nothing where nothing changed

$(STAMP): requirements.lock pyproject.toml
	@base=$$(command -v python3.11 || command -v python3) || { echo "Python 3.11 or newer is needed"; exit 1; }; \
	"$$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $$base is older"; exit 1; }; \
	test -x $(PYTHON) || "$$base" -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install ## synckairos dev: embedded stores, server and worker; ARGS="--port 0 --data DIR" is passed on
	@exec $(PYTHON) -m synckairos dev $(ARGS)

test: install tools ## every test there is, on real stores; ARGS is passed to pytest
	$(PYTHON) -m pytest $(ARGS)

# Pages are tested in a Chromium, clocks with libfaketime. CHROMIUM and LIBFAKETIME name others than Debian's.
tools:
	@.ci/tools

check: install ## lint, format, types, layers
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict $(CHECKED)
	$(VENV)/bin/lint-imports

fmt: install ## format and fix what can be fixed
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

env: install ## render .env.example and docs/reference/settings.md from the settings
	$(PYTHON) -c "from synckairos.config import render_example; print(render_example(), end='')" > .env.example
	$(PYTHON) -c "from synckairos.config import render_settings_page; print(render_settings_page(), end='')" \
		> docs/reference/settings.md

lock: install ## resolve requirements.lock anew from pyproject.toml
	$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	$(PYTHON) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.lock
