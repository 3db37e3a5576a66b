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

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
