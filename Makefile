# `make help` lists what there is. All of it works from a fresh clone, and everything that it installs
# goes into this folder: .venv, node_modules and .state.
#
#   ARGS      what is passed on, as in: make test ARGS='tests/unit -x'
#   PYTHON    the Python to make .venv with; by default the newest on PATH, 3.11 or later
#   WORKERS   processes that run the tests; by default two for each processor, at most eight: they mostly wait
#   SEED, ROUNDS, LINE    of make chaos: a seed to replay, how many rounds, and the line of the server: 1, 2 or both
#   OPENCODE_BIN    an OpenCode server to use; by default the one that package.json pins, installed on demand
#   VERSIONS  releases for compat, as in: make compat VERSIONS='1.18.3 1.18.33'; by default a spread
#   ROUNDS, SEED    how often soak kills, and what it draws: make soak ROUNDS=40 SEED=7

VENV := .venv
BIN := $(VENV)/bin
STATE := .state
EXTRAS := django,sqlalchemy,fastapi,cli
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

PINNED := node_modules/.bin/opencode
SERVER := $(if $(OPENCODE_BIN),,$(PINNED))
export OPENCODE_BIN ?= $(CURDIR)/$(PINNED)

# Each of the many processes that the tests start would compile the library again.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(STATE)/bytecode

WORKERS := $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? 2 * cores : 8)))
PYTEST = $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

CHAT := PYTHONPATH=examples/chat $(BIN)/python -m

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: demo chat docs test help lint texts test-all test-times simulate soak chaos bench compat screenshots audit system

##@ For users

demo: $(STATE)/demo $(SERVER)  ## a chat in the browser, on the real server; prints its address. ARGS=--check tries it without a browser
	@$(CHAT) demo --state $(STATE)/chat $(ARGS)

chat: $(STATE)/package $(SERVER)  ## the same agent in the terminal, with a scripted model
	@$(BIN)/opencode-sessions chat --offline $(ARGS)

docs: $(STATE)/docs  ## build the site into .state/site; a broken link or a missing page is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

test: $(STATE)/dev $(SERVER) system  ## run the tests that take minutes, on the real server; ARGS replaces the arguments of pytest
	@$(if $(ARGS),$(BIN)/pytest $(ARGS),$(PYTEST) -m 'not full')

help:  ## list these
	@sed -n 's/^##@ \(.*\)/\1:/p; s/^\([a-z-]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 15

##@ For contributors

lint: $(STATE)/dev  ## check style, formatting, types, the order of the layers, and plain English
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/plain_english.py

texts: $(STATE)/dev  ## bring the catalogues of texts up to date with the source; ARGS=fr adds a language
	@$(BIN)/python tools/texts.py $(ARGS)

test-all: $(STATE)/dev $(SERVER) system  ## run all tests: every database, the whole simulator, processes that are killed
	@$(PYTEST) $(ARGS)

test-times: $(STATE)/dev $(SERVER) system  ## run the tests and show where the time went; ARGS='-m full' for the others
	@$(PYTEST) --times=$(STATE)/times.json $(or $(ARGS),-m 'not full')

simulate: $(STATE)/dev  ## try every order of the steps of sessions, turns, jobs and files (takes minutes, and gigabytes)
	@SIM=full $(BIN)/pytest tests/unit/test_simulator.py tests/unit/test_simulator_turns.py tests/unit/test_simulator_jobs.py tests/unit/test_simulator_files.py $(ARGS)

soak: $(STATE)/dev $(SERVER)  ## kill processes in ROUNDS=200, and show where they died; SEED=… draws the same rounds again
	@SOAK_ROUNDS=$(or $(ROUNDS),200) SOAK_SEED=$(SEED) $(BIN)/pytest tests/acceptance/test_processes.py $(ARGS)

chaos: $(STATE)/dev $(SERVER)  ## run turns while everything dies; SEED and ROUNDS choose what and how long, LINE=2 the server; ARGS=--machines runs it on several
	@PYTHONPATH=tests:tests/fixtures $(BIN)/python -m chaos $(if $(LINE),--line $(LINE)) $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

bench: $(STATE)/dev $(SERVER)  ## measure what things cost
	@PYTHONPATH=.:tests/fixtures $(BIN)/python -m bench $(ARGS)

compat: $(STATE)/dev  ## run the tests on older and newer releases of the server
	@$(BIN)/python tools/compat.py $(ARGS) $(VERSIONS)

screenshots: $(STATE)/demo $(SERVER)  ## take pictures of the demo, into docs/images
	@$(PIP) --group screenshots
	@$(CHAT) demo.screenshots $(ARGS)

audit: $(STATE)/dev  ## look for known vulnerabilities of the installed packages, on osv.dev
	@$(PIP) --group audit
	@$(BIN)/pip-audit --vulnerability-service osv --skip-editable --progress-spinner off

# -- what they need. As root with apt, the programs that tests run besides:

system:
	@tools/install-system

# A file is made again when what it is made from has changed, or when it is gone.

# Dependency groups came with pip 25.1; a new .venv has the pip that its Python came with.
$(VENV)/pyvenv.cfg:
	@echo "making $(VENV)"
	@python=$$(PYTHON='$(PYTHON)' tools/find-python) && "$$python" -m venv --clear $(VENV)
	@$(PIP) --upgrade 'pip>=25.1'

$(STATE)/package: $(VENV)/pyvenv.cfg pyproject.toml
	@echo "installing the library into $(VENV)"
	@$(PIP) -e '.[$(EXTRAS)]'
	@mkdir -p $(STATE) && touch $@

$(STATE)/demo: $(VENV)/pyvenv.cfg pyproject.toml
	@echo "installing the library and what its chat needs into $(VENV)"
	@$(PIP) -e '.[$(EXTRAS)]' --group demo
	@mkdir -p $(STATE) && touch $(STATE)/package $@

$(STATE)/dev: $(VENV)/pyvenv.cfg pyproject.toml
	@echo "installing the library and what its tests need into $(VENV)"
	@$(PIP) -e '.[$(EXTRAS)]' --group dev
	@mkdir -p $(STATE) && touch $(STATE)/package $@

$(STATE)/docs: $(STATE)/dev
	@echo "installing what builds the site into $(VENV)"
	@$(PIP) --group docs
	@touch $@

$(PINNED): package.json package-lock.json .npmrc tools/install-server tools/with-node | $(VENV)/pyvenv.cfg
	@echo "installing the OpenCode server into node_modules"
	@mkdir -p $(STATE)
	@tools/install-server $(BIN)/python
	@touch $@
