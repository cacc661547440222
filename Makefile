# Every target makes its own virtual environment and needs no activated one.
PYTHON ?= python3
VENV ?= .venv
# options for pip, such as PIP_FLAGS="--index-url URL"
PIP_FLAGS ?=
# what `make run` runs
ARGS ?= task=memorypro model=gru
# size of the figures' runs: quick (minutes) or paper (hours)
PROFILE ?= quick
# places in which `make test-mutants` changes the numeric core, one at a time
MUTANTS ?= 60
FIGURES := fig1 fig2 fig3 fig4 fig5 fig6 fig7 fig8 fig9 fig10

BIN := $(VENV)/bin
# on all cores
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet $(PIP_FLAGS)
# tools that lock, audit and check CITATION.cff, and the oldest versions, in environments of their own
TOOLS := build/tools
LOWEST := build/lowest
# older libraries warn of newer ones, and pandas 2 of what pandas 3 does
OLDER := -W ignore::DeprecationWarning -W ignore::FutureWarning
LOCK := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock"

.DEFAULT_GOAL := help
# figures share runs: one after the other, each makes what it needs and the next finds it
.NOTPARALLEL:
.PHONY: help run test test-slow test-all test-browser test-wheel test-lowest test-mutants test-faults test-slurm lint type lock locked audit bench coverage docs figures $(FIGURES) gallery clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z$$(-]+[A-Z)]*:.*## / { sub(/\$$\(FIGURES\)/, "fig1 ..."); printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## install, then run the main job (other arguments: make run ARGS="model=rnn")
	$(BIN)/kpflow run $(ARGS)

test: $(VENV)/.installed-test ## install, then run the tests but for the slow ones (about 7 minutes)
	$(PYTEST) -m "not slow and not slurm and not faults and not browser"

test-slow: $(VENV)/.installed-test ## the slow ones: statistics over many seeds, sweeps and grids of many runs
	$(PYTEST) -m slow

test-all: test test-slow docs ## both, the documentation, and test-browser where there is a Chromium or it can be installed
	@if sh tests/install_chromium.sh; then $(MAKE) test-browser; else echo "pages are not tried in a browser"; fi

test-browser: $(VENV)/.installed-browser ## pages in Debian's Chromium, without a window (installs it, as root)
	sh tests/install_chromium.sh
	$(BIN)/python -m pytest -m browser

test-wheel: $(VENV)/.installed-test ## of the slow ones, those of the wheel alone, where no checkout is
	$(PYTEST) -m slow tests/packaging

test-lowest: $(LOWEST)/.installed ## the tests with the oldest versions that pyproject.toml allows (fetches torch 2.5.1, about 3 GB)
	$(LOWEST)/bin/python -m pytest --numprocesses auto --dist worksteal $(OLDER) -m "not slow and not slurm and not faults and not browser"

test-mutants: $(VENV)/.installed-mutants ## change the numeric core in MUTANTS places: do tests notice? (about 30 minutes)
	$(BIN)/python tests/mutants.py --count $(MUTANTS)

test-faults: $(VENV)/.installed-faults ## faults at every file call, damage, bad input by the thousand; writes docs/reliability.md (about 40 minutes)
	rm -rf build/faults
	OMP_NUM_THREADS=1 $(PYTEST) -m faults
	$(BIN)/python tests/faults/write_report.py

test-slurm: $(VENV)/.installed-test ## sweeps on a real Slurm, Debian's, of this machine alone (about 3 minutes; installs it, as root)
	sh tests/slurm/install.sh
	$(BIN)/python -m pytest -m slurm tests/slurm

lint: $(VENV)/.installed-dev ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.installed-dev ## check types
	$(BIN)/mypy kpflow_cli tasks figures examples

lock: $(TOOLS)/.installed ## write locks/ anew from pyproject.toml and constraints.txt: versions with the hashes of their files
	@mkdir -p locks
	echo torch | $(LOCK) --constraint constraints.txt --output-file locks/torch.txt -
# what makes the pages wants 3.11.5
	$(subst version 3.11,version 3.11.5,$(LOCK)) --constraint constraints.txt --extra test --extra docs --extra browser --output-file locks/test.txt \
		--no-emit-package torch $$(sed -n "s/^\([a-z0-9-]*\)==.*'linux'.*/--no-emit-package \1/p" locks/torch.txt) pyproject.toml
	$(LOCK) --resolution lowest-direct --extra test --output-file locks/lowest.txt pyproject.toml

locked: $(BIN)/python ## install what the tests, the documentation and the browser tests need, each file but torch's held against its hash; HASHED_TORCH=1: torch too, as the index has it
	$(PIP) --require-hashes --no-deps --requirement locks/test.txt
	$(PIP) $(if $(HASHED_TORCH),--require-hashes --no-deps --requirement locks/torch.txt,--constraint constraints.txt torch)
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $(VENV)/.installed $(VENV)/.installed-optim $(VENV)/.installed-docs $(VENV)/.installed-browser $(VENV)/.installed-test

audit: $(TOOLS)/.installed ## check CITATION.cff, look up known vulnerabilities of all that is locked; fails where one is known or cannot be looked up
	$(TOOLS)/bin/cffconvert --validate
	$(TOOLS)/bin/pip-audit --strict --vulnerability-service pypi --disable-pip --no-deps --progress-spinner off \
		--requirement locks/test.txt --requirement locks/torch.txt

bench: $(VENV)/.installed ## NTK_S products and statistics against torch.func, side by side (about 10 minutes)
	$(BIN)/kpflow bench

coverage: $(VENV)/.installed ## how often 95 % intervals hold the exact value, by quantity and probes: coverage.csv (about 5 minutes)
	$(BIN)/python -m kpflow_cli.benchmarks.coverage

docs: $(VENV)/.installed-docs ## the documentation, in build/docs/html (about 2 minutes)
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going -d build/docs/doctrees docs build/docs/html

figures: $(FIGURES) ## all figures, in figures/output, and one table of all claims
	@$(BIN)/kpflow claims

$(FIGURES): $(VENV)/.installed-optim ## one figure (larger networks: make fig3 PROFILE=paper)
	$(BIN)/kpflow figure $(@:fig%=%) profile=$(PROFILE)

gallery: $(VENV)/.installed ## the small pictures in figures/reference, drawn from the numbers that it keeps
	$(BIN)/kpflow figure --from figures/reference output_dir=figures/reference formats=png dpi=110 palette=true

clean: ## remove the virtual environment and caches; runs stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "kpflow needs Python 3.11 or later; choose one with make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# torch first and alone, at its pinned version: it is by far the largest
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing kpflow into $(VENV) (the first time takes minutes)"
	$(PIP) --constraint constraints.txt torch
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-optim: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[optim]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[docs]"
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[test]"
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[browser]"
	@touch $@

$(VENV)/.installed-faults: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[faults]"
	@touch $@

$(VENV)/.installed-mutants: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[mutants]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable ".[dev]"
	@touch $@

$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet $(PIP_FLAGS) "uv>=0.9" "pip-audit>=2.9" "cffconvert>=2"
	@touch $@

$(LOWEST)/.installed: locks/lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install --quiet $(PIP_FLAGS) --require-hashes --no-deps --requirement $<
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
