# make demo, make test: each sets up .venv on first use. Nothing else is needed but Python 3.11+, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint types audit wheel-test check bench clean

demo: $(READY)
	$(BIN)/stackpress demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Known vulnerabilities in the pinned versions; another service: make audit AUDIT='-s osv'
audit: $(READY)
	$(BIN)/python .ci/audit.py $(AUDIT)

# The suite against the built wheel, from a copy of tests/, so that nothing is found that the wheel does not hold.
wheel-test: $(READY)
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel . > build/wheel/build.log || (cat build/wheel/build.log; exit 1)
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/pip install --quiet --constraint constraints.txt torch
	build/wheel/venv/bin/pip install --quiet --constraint constraints.txt "$$(ls build/wheel/*.whl)[test]"
	cp -r tests pyproject.toml build/wheel/
	cd build/wheel && venv/bin/python -m pytest -n 2 --dist worksteal -m "not slow"

check: lint types test wheel-test

# Benchmarks against peers, which are installed for them alone.
bench: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "stackpress needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
