# All targets work in a fresh clone. They need Python 3.11 or newer, make and a C compiler.

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
RELEASE_VENV   := build/release
RELEASE_PYTHON := $(RELEASE_VENV)/bin/python
UPGRADE := --upgrade
CHECKED = synckairos tests $(wildcard loadtests)
CHECKED += clients/python
JS_STAMP := clients/js/node_modules/.installed
DEPLOYMENT_STAMP := build/deployment/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test test-js mutants chaos js-types python-client tools check fmt env metrics-page lock release-check sbom

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

install: $(STAMP) ## create or update the Python environment in .venv

$(STAMP): requirements/development.lock pyproject.toml clients/python/pyproject.toml
	@base=$$(command -v python3.11 || command -v python3) || { echo "Python 3.11 or newer is needed"; exit 1; }; \
	"$$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $$base is older"; exit 1; }; \
	test -x $(PYTHON) || "$$base" -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/development.lock
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

run: install ## run `synckairos dev`: embedded stores, server and worker; ARGS="--port 0 --data DIR" sets options
	@exec $(PYTHON) -m synckairos dev $(ARGS)

# All tests run in several processes, each with its own stores. A file of tests runs in one process. Tests with
# processes of their own wait for them most of the time, so there are more processes than cores. The slow files come
# first, in the order of their paths; xdist would begin with the files that have the most tests.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

test: install tools $(JS_STAMP) $(DEPLOYMENT_STAMP) ## run all tests on real stores; ARGS is passed to pytest and leaves out those of clients/js
	$(PYTHON) -m pytest $(or $(ARGS),$(PARALLEL))
	$(if $(ARGS),,$(MAKE) test-js)

test-js: install tools $(JS_STAMP) ## build, check and test the JavaScript client in clients/js
	cd clients/js && npm run --silent build && npm run --silent check && npm test --silent

mutants: install ## run the unit tests of the clock against 300 mutants; ARGS="--seed 2 --sample 50" selects other mutants
	$(PYTHON) -m tests.mutants $(ARGS)

chaos: install ## run clients while processes and stores fail, by each fault and seed, and print a report; ARGS="--only Redis --seeds 1"
	$(PYTHON) -m tests.chaos $(ARGS)

js-types: install tools $(JS_STAMP) ## generate the types of the JavaScript client from the descriptions of the server, and build the pages
	cd clients/js && npm run --silent types

python-client: install ## generate the modules of the Python client: copies of rules of the server, and REST operations
	$(PYTHON) clients/python/scripts/generate.py

$(JS_STAMP): clients/js/package-lock.json
	cd clients/js && npm ci --silent
	@touch $@

# An environment of its own, because only Helm, Traefik and the pictures of the dashboards need its packages (740 MB).
$(DEPLOYMENT_STAMP): requirements/deployment.lock
	test -x build/deployment/bin/python || $$(command -v python3.11 || command -v python3) -m venv build/deployment
	build/deployment/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/deployment.lock
	@touch $@

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
	$(PYTHON) -c "from synckairos.config import render_env_example; print(render_env_example(), end='')" > .env.example
	$(PYTHON) -c "from synckairos.config import render_settings_page; print(render_settings_page(), end='')" \
		> docs/reference/settings.md

metrics-page: install ## render docs/reference/metrics.md from the metrics in the code
	$(PYTHON) -m tests.unit.docs.metrics_page

# Each lock file has the SHA-256 of all files of a release, so that no other file can be installed. The versions in
# image.lock are those in development.lock.
# The distribution synckairos-client is a part of this repository, so the lock files do not have it.
COMPILE = $(RELEASE_PYTHON) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-package synckairos-client --no-emit-find-links --no-annotate --no-header --quiet

lock: ## update the lock files in requirements/ from pyproject.toml; `make lock UPGRADE=` keeps locked versions
	test -x $(RELEASE_PYTHON) || $$(command -v python3.11 || command -v python3) -m venv $(RELEASE_VENV)
	$(RELEASE_PYTHON) -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) $(UPGRADE) pyproject.toml --all-extras -o requirements/development.lock
	sed -E -n 's/^([^ ]+==[^ ]+).*/\1/p' requirements/development.lock > $(RELEASE_VENV)/versions.txt
	$(COMPILE) --constraint $(RELEASE_VENV)/versions.txt pyproject.toml -o requirements/image.lock
	$(COMPILE) --constraint $(RELEASE_VENV)/versions.txt requirements/build.in -o requirements/build.lock
	$(COMPILE) $(UPGRADE) requirements/release.in -o requirements/release.lock
	$(COMPILE) $(UPGRADE) requirements/deployment.in -o requirements/deployment.lock

# Builds into build/release-packages and publishes nothing. The workflow publish.yml publishes.
release-check: install tools $(JS_STAMP) ## check and build all packages as for a release; TAG=js-client-v1.2.0 checks that release
	$(PYTHON) .ci/release_check.py $(TAG)
	test -x $(RELEASE_PYTHON) || $$(command -v python3.11 || command -v python3) -m venv $(RELEASE_VENV)
	$(RELEASE_PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	rm -rf build/release-packages
	for folder in . clients/python; do \
		(cd $$folder && $(CURDIR)/$(RELEASE_PYTHON) -m hatchling build -d $(CURDIR)/build/release-packages) || exit 1; done
	cd clients/js && npm run --silent build && npm run --silent check && npm pack --pack-destination $(CURDIR)/build/release-packages

sbom: ## write dist/sbom.cdx.json (CycloneDX) and docs/operate/licences.md from the packages of the image
	rm -rf $(RELEASE_VENV) build/image && mkdir -p dist
	$$(command -v python3.11 || command -v python3) -m venv $(RELEASE_VENV)
	$$(command -v python3.11 || command -v python3) -m venv build/image
	$(RELEASE_PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/release.lock
	$(RELEASE_PYTHON) -m pip --python build/image/bin/python install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/image.lock
	$(RELEASE_PYTHON) -m pip --python build/image/bin/python uninstall --quiet --yes pip setuptools
	$(RELEASE_PYTHON) -m cyclonedx_py environment build/image/bin/python --pyproject pyproject.toml \
		--output-reproducible -o dist/sbom.cdx.json
	{ cat requirements/licences.head.md; $(RELEASE_VENV)/bin/pip-licenses --python=build/image/bin/python \
		--format=markdown --with-urls --order=name; } > docs/operate/licences.md
