# Every target makes what it needs in .venv; nothing is installed twice and nothing outside this folder is touched.
#
#   make study        the CBS 2024 study on simulated registers: one table, in study-output/
#   make test         format, lint, types, tests, docs, notebooks, a short study
#   make help         the others

PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
STUDY_OUT ?= study-output
CHECK_OUT := check-output

BIN := $(VENV)/bin
PIP := -m pip install --quiet --disable-pip-version-check

# Two threads for the linear algebra: more only get in each other's way on small machines.
export OMP_NUM_THREADS ?= 2
export OPENBLAS_NUM_THREADS ?= 2
export PYTHONHASHSEED ?= 0

.PHONY: help study test format-check lint types pytest docs notebooks short-study test-oldest test-spark validate truth bench clean
.DEFAULT_GOAL := help

help:
	@echo "make study        published figures against estimates on simulated registers (study-output/)"
	@echo "make test         everything a change must pass"
	@echo "make docs         documentation in docs/_build/html"
	@echo "make bench        time and memory against the usual ways (benchmarks/README.md)"
	@echo "make truth        compute the stored truth of the simulation again (long)"
	@echo "make validate     bias and coverage of each estimator over many simulated registers (long)"
	@echo "make test-oldest  the tests on the oldest supported versions, in $(OLDEST)"
	@echo "make test-spark   the tests that need Java and pyspark"
	@echo "make clean        remove environments, caches and everything written"

# --- set-up ------------------------------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.study-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --editable .
	@touch $@

$(VENV)/.test-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --editable '.[test,lint,docs]'
	@touch $@ $(VENV)/.study-installed

$(VENV)/.bench-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --editable '.[bench]'
	@touch $@

# --- the main job ------------------------------------------------------------------------------------------------

study: $(VENV)/.study-installed
	$(BIN)/missie-impact study --out $(STUDY_OUT)

# --- checks ------------------------------------------------------------------------------------------------------

# In this order and not in parallel: cheap ones first, and the tests last so that their count closes the output.
test: $(VENV)/.test-installed
	@$(MAKE) --no-print-directory format-check lint types docs notebooks short-study
	@$(MAKE) --no-print-directory pytest

format-check: $(VENV)/.test-installed
	$(BIN)/ruff format --check .

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .

types: $(VENV)/.test-installed
	$(BIN)/mypy

pytest: $(VENV)/.test-installed
	$(BIN)/python -m pytest -q

docs: $(VENV)/.test-installed
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html

# Each notebook runs from a clean kernel, on one small register that is made once.
$(VENV)/.notebooks-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --editable '.[notebooks]'
	@touch $@

notebooks: $(VENV)/.test-installed $(VENV)/.notebooks-installed
	$(BIN)/python notebooks/run.py

short-study: $(VENV)/.test-installed
	rm -rf $(CHECK_OUT)
	$(BIN)/missie-impact study --firms 40000 --out $(CHECK_OUT)

# The lower bounds of pyproject.toml, one version each.
$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python $(PIP) 'numpy==1.26.4' 'scipy==1.11.4' 'pandas==2.2.3' 'statsmodels==0.14.4' \
	    'linearmodels==6.1' 'duckdb==1.3.*' 'narwhals==2.0.*' 'matplotlib==3.8.*' 'tqdm==4.66.*'
	$(OLDEST)/bin/python $(PIP) --editable . pytest hypothesis 'polars==1.*' 'pyarrow==19.*' 'openpyxl==3.1.*' 'python-docx==1.1.*' nbformat
	@touch $@

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -q

# Needs Java (apt.txt); pyspark is large and most users bring their own, so it is not part of `make test`.
test-spark: $(VENV)/.test-installed
	$(BIN)/python $(PIP) --editable '.[spark]'
	$(BIN)/python -m pytest -q -m spark

# --- long jobs ---------------------------------------------------------------------------------------------------

truth: $(VENV)/.study-installed
	$(BIN)/missie-impact truth

validate: $(VENV)/.test-installed
	for part in coverage increase_coverage trial_coverage frailty_recovery frailty_on_registers codings_on_registers; do \
		$(BIN)/python -m missie_impact.validity.$$part --out validation-output || exit 1; done

bench: $(VENV)/.bench-installed
	$(BIN)/python benchmarks/panel_vs_dense.py
	$(BIN)/python benchmarks/hazard_cells.py
	$(BIN)/python benchmarks/cells45.py
	$(BIN)/python benchmarks/frailty.py
	$(BIN)/python benchmarks/matching.py
	$(BIN)/python benchmarks/doubly_robust.py
	$(BIN)/python benchmarks/indicator.py

clean:
	rm -rf $(VENV) $(OLDEST) $(STUDY_OUT) $(CHECK_OUT) validation-output benchmark-output docs/_build docs/generated
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
