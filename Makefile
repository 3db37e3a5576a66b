# Everything lives in .venv; `make` installs what is missing before it runs anything.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint

setup: .venv/installed

.venv/installed: setup.py requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install -e '.[dev]'
	touch $@

# The whole method on real photographs; DATA=/a/folder takes the user's own.
demo: setup
	$(BIN)/python scripts/demo.py $(if $(DATA),--data '$(DATA)')

# A process a core, each on one thread: small networks gain nothing from more.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
