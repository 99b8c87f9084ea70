# `make generate` and `make test` each work alone on a fresh clone: they set up .venv first, once.
# The Python to use: make PYTHON=python3.12 generate

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup generate test lint docs clean

setup: $(READY)

# A new entry point in pyproject.toml is seen only after it is installed again, hence the dependency.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("molgen needs Python 3.11 or newer; type: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $@

generate: $(READY)
	$(BIN)/molgen generate --count 1000 --accept valid,unique,novel --output molecules.csv --draw molecules.svg --overwrite

test: $(READY)
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --builder html docs docs/_build/html

clean:
	rm -rf $(VENV) build dist docs/_build docs/api/molgen* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
