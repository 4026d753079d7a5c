# Each target works in a bare clone: it makes .venv, installs into it, and runs.
#   make up     a simulated school morning, ten times as fast, the same each time; UP_ARGS="…" for other options
#   make test   the tests, two files at a time            TEST_ARGS="tests/rules -k baseline" for some
#   make lint   ruff, mypy, import-linter                 make format  lets ruff format the code
#   make bench  1,000,000 events, plain Faust against our worker  BENCH_ARGS="--events 100000"
# PYTHON=python3.12 chooses the interpreter (3.11 or newer), VENV=DIR another place.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UP_ARGS ?= --data-dir .trucban/demo --fresh --reference examples/thanh-tri --feed day --scenario demo --clock 2026-10-05T07:05@10
TEST_ARGS ?=
TEST_JOBS ?= 2
BENCH_ARGS ?=

.PHONY: up test lint format bench docs install
.DEFAULT_GOAL := test

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11: say make PYTHON=/path/to/a/newer/python" >&2; exit 1; }
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@echo "== installing trucban and its tools (about 900 MB the first time: ClickHouse, PostgreSQL, Arrow)"
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	@touch $@

up: install
	$(BIN)/trucban up $(UP_ARGS)

test: install
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

docs: install
	$(BIN)/python -m trucban.reference docs
