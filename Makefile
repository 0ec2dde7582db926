# Everything below makes and uses .venv; nothing but Python 3.11 or newer is needed.

VENV := .venv
BIN := $(VENV)/bin
# Empty: the first of python3, python3.14 … python3.11 that is new enough.
PYTHON ?=
STAMP := $(VENV)/.installed
# Most tests wait for sockets and deadlines, so more processes than cores end sooner; JOBS=0 runs them in this one.
JOBS ?= 4
LOCK ?= deploy/requirements.lock
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile

.PHONY: serve test test-all check docs goldens figures conformance lock clean

serve: $(VENV)/.runs     ## start the gateway on the built-in simulator
	$(BIN)/triglot serve

test: $(STAMP)           ## all tests but the slow ones
	$(PYTEST)

test-all: $(STAMP)       ## the slow ones and the real Truss server too
	$(BIN)/pytest -m ""

check: $(STAMP)          ## what must be green before a commit
	$(BIN)/ruff format --check gateway tests
	$(BIN)/ruff check gateway tests
	$(BIN)/mypy
	$(PYTEST) --cov --cov-report=term:skip-covered

goldens: $(STAMP)        ## write the expected files of the transcripts anew; review them by eye
	$(BIN)/pytest tests/dialects/test_transcripts.py --regenerate

figures: $(STAMP)        ## write anew what an event and a request cost; review them by eye
	$(BIN)/pytest tests/bench/test_work.py --regenerate

conformance: $(VENV)/.conformance    ## play official SDKs on every upstream, and write docs/conformance.md
	$(BIN)/python -m tests.conformance

docs: $(STAMP)           ## write the pages that are printed from the code
	$(BIN)/triglot translation > docs/translation.md
	$(BIN)/python -m tests.faults > docs/faults.md
	$(BIN)/python -m tests.docs.reference
	$(BIN)/python -m tests.docs.pictures
	$(BIN)/python -m tests.release > docs/licences.md

lock: $(VENV)/lock/bin/uv    ## write what an image installs, with hashes; UPGRADE=--upgrade takes newer releases
	$(VENV)/lock/bin/uv pip compile -q --no-config --universal --fork-strategy fewest --python-version 3.11 \
		--generate-hashes $(UPGRADE) --custom-compile-command "make lock" -o $(LOCK) pyproject.toml

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache tests/conformance/node/node_modules

$(VENV)/.runs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/.runs

$(VENV)/.conformance: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[conformance]"
	@touch $@

$(VENV)/lock/bin/uv: | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install -q --disable-pip-version-check "uv>=0.13,<1"

$(BIN)/python:
	@sh scripts/venv.sh $(VENV) $(PYTHON)
