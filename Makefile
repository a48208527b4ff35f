# All targets work in a fresh clone. They need Python 3.11 or newer, make and a C compiler.

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
CHECKED = synckairos tests $(wildcard loadtests)

.DEFAULT_GOAL := help
.PHONY: help install run test tools check fmt env lock

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

install: $(STAMP) ## create or update the Python environment in .venv

$(STAMP): requirements.lock pyproject.toml
	@base=$$(command -v python3.11 || command -v python3) || { echo "Python 3.11 or newer is needed"; exit 1; }; \
	"$$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $$base is older"; exit 1; }; \
	test -x $(PYTHON) || "$$base" -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: install ## run `synckairos dev`: embedded stores, server and worker; ARGS="--port 0 --data DIR" sets options
	@exec $(PYTHON) -m synckairos dev $(ARGS)

test: install tools ## run all tests on real stores; ARGS is passed to pytest
	$(PYTHON) -m pytest $(ARGS)

# Some tests need further programs. CHROMIUM, LIBFAKETIME and REDIS_SERVER set other paths of three of these programs.
tools:
	@.ci/tools

check: install ## check lint rules, format, types and import contracts
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy --strict $(CHECKED)
	$(VENV)/bin/lint-imports

fmt: install ## format the code and apply automatic fixes
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

env: install ## render .env.example and docs/reference/settings.md from the settings
	$(PYTHON) -c "from synckairos.config import render_example; print(render_example(), end='')" > .env.example
	$(PYTHON) -c "from synckairos.config import render_settings_page; print(render_settings_page(), end='')" \
		> docs/reference/settings.md

lock: install ## update requirements.lock from pyproject.toml
	$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	$(PYTHON) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.lock
