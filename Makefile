# Everything lives in .venv; `make` installs what is missing before it runs anything.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo check test test-report lint types docs

setup: .venv/installed

.venv/installed: setup.py requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install -e '.[dev]'
	touch $@

# The whole method on real photographs; DATA=/a/folder takes the user's own.
demo: setup
	$(BIN)/python scripts/demo.py $(if $(DATA),--data '$(DATA)')

# A process a core, each on one thread: small networks gain nothing from more. A worker that dies ends the run instead
# of hanging it.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0

# Before each commit: lint, types, and the tests that take no runs.
check: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0 tests/test_house.py \
		tests/test_registry.py tests/archs tests/losses tests/metrics tests/outside

# The report in a real browser. Chromium is the system's: as root on Debian it is installed where it is missing.
test-report: .venv/report-test
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } \
		|| echo 'Chromium is not here and cannot be installed: the tests that need it are skipped.'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/report

.venv/report-test: .venv/installed
	$(BIN)/pip install -e '.[report-test]'
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/pyright

# The documentation as a site in site/; a broken link or reference is an error.
docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/docs
	$(BIN)/mkdocs build --strict

.venv/docs: .venv/installed
	$(BIN)/pip install -e '.[docs]'
	touch $@
