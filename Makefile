PYTHON ?= python3
BIN := .venv/bin

.PHONY: bench bench-all site test test-slow test-all format lint typecheck

bench: .venv/installed
	$(BIN)/python -m benchmarks.run configs/digits.yaml
	$(BIN)/python -m benchmarks.plot results/digits -o results/digits/digits.png
	$(BIN)/python -m benchmarks.report configs/digits.yaml -o results/digits/report.html

bench-all: .venv/installed
	$(BIN)/python -m benchmarks.run configs/digits.yaml --config configs/digits_methods.yaml

site: .venv/installed-docs
	$(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m benchmarks.page results -o site

# a file's tests run in one process, which makes what they share once
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test: .venv/installed-test
	$(PYTEST) -m "not slow"

test-slow: .venv/installed-test
	$(PYTEST) -m slow

test-all: test test-slow

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: .venv/installed-dev
	$(BIN)/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	@echo "Installing; this takes some minutes"
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/installed-%: .venv/bin/python setup.cfg pyproject.toml
	@echo "Installing; this takes some minutes"
	$(BIN)/python -m pip install --quiet -e ".[$*]"
	touch $@
