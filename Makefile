# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Tests are many and small: a process a core, a thread a process. A file's tests share what is made once for them.
PARALLEL := --numprocesses logical --maxprocesses 8 --dist loadfile

# Two processes, then the slow tests and the commands that tests start, need what Python compiles: let it keep that.
test test-slow: export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-slow lint format bench bench-gpu docs clean

demo: $(VENV)/.installed
	$(BIN)/timetrial demo

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

test-slow: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "slow and not gpu and not network"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/estimators.py
	$(BIN)/python benchmarks/generate.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/products.py
	$(BIN)/python benchmarks/step_parts.py
	$(BIN)/python benchmarks/step_time.py
	$(BIN)/python benchmarks/grading.py

# On a machine with a CUDA device: its tests, its kernels, and the paper's grid with random weights (docs/gpu.md).
bench-gpu: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate_cli.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "timetrial needs Python 3.11 or later; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing timetrial and what it needs into $(VENV) (a few minutes the first time)"
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@
