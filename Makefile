PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup demo test check format bench corpus sample ui clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "make: Python 3.11, 3.12 or 3.13 is needed, %s is %d.%d; set PYTHON=…" % ("$(PYTHON)", *v))'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --progress-bar on -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --progress-bar on -c constraints.txt -e .[dev]
	@touch $@

setup: $(VENV)/.installed-dev

demo: $(VENV)/.installed
	@$(BIN)/atelier demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/benchmarks -s --override-ini=python_files='bench_*.py'

corpus: $(VENV)/.installed
	$(BIN)/python -m data.corpus

sample: $(VENV)/.installed
	$(BIN)/python -m data.sample_cut

ui: $(VENV)/.installed
	$(BIN)/mlflow ui --backend-store-uri sqlite:///var/mlflow.db --port 5000

clean:
	rm -rf var
