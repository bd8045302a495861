# The commands people type. Everything installs into .venv; nothing outside this folder changes.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# the first of these that runs: the pins are for them (the classifiers of pyproject.toml)
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14; do $$name -c "" 2>/dev/null && echo $$name && exit; done; echo python3)
PARAMS ?= params/reference.yml
# as many as the CPUs given to this job, which need not be all of the machine's
WORKERS ?= $(shell $(PYTHON) src/t2lib/cpus.py)
BENCH ?= fit
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The pins need no dependencies beside them, and old pips fail without --no-deps (scripts/lock.py says
# why). torch alone brings dependencies: the GPU libraries that its build names, where it has any.
# environment.yml and binder/postBuild use the same words; tests/test_repo.py compares them.
LOCKED := --no-deps --require-hashes -r requirements.lock
TORCH := -r requirements-torch.lock
PROJECT := --no-deps --no-build-isolation -e .
STRIP := $(BIN)/nbstripout --keep-id --extra-keys "metadata.papermill cell.metadata.papermill metadata.language_info.version"
# one stamp per lock, project file and folder: a virtual environment does not survive a move
STAMP := .venv/.setup-$(shell (cat requirements*.lock pyproject.toml; pwd) | cksum | cut -d ' ' -f 1)

HARNESS := .venv-harness
HARNESS_STAMP := $(HARNESS)/.setup-$(shell (cat requirements*.lock tests/harness/requirements.lock pyproject.toml; pwd) | cksum | cut -d ' ' -f 1)

.PHONY: help setup test harness lint strip notebook book pdf check bench reproduce lock clean

help:  ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## install the pinned environment and t2lib into .venv

$(STAMP):
	@$(PYTHON) scripts/check_machine.py --pins
	@echo "Installing $$(grep -c == requirements.lock) pinned packages and torch into .venv: some minutes, once for each change of the pins."
	$(PYTHON) -m venv .venv
	$(PIP) $(LOCKED)
	$(PIP) $(TORCH)
	$(PIP) $(PROJECT)
	@$(BIN)/python -m pip check || { echo "The packages in .venv do not fit together. Remove .venv and run make setup again." >&2; exit 1; }
	@rm -f .venv/.setup-* && touch $@

test: setup lint  ## lint, then run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST)

harness: $(HARNESS_STAMP)  ## compare scores with lm-evaluation-harness, in an environment of its own
	OMP_NUM_THREADS=1 $(HARNESS)/bin/python -m pytest -s tests/harness

$(HARNESS_STAMP):
	$(PYTHON) -m venv $(HARNESS)
	$(HARNESS)/bin/python -m pip install --quiet $(LOCKED)
	$(HARNESS)/bin/python -m pip install --quiet $(TORCH)
	$(HARNESS)/bin/python -m pip install --quiet --no-deps --require-hashes -r tests/harness/requirements.lock
	$(HARNESS)/bin/python -m pip install --quiet $(PROJECT)
	@rm -f $(HARNESS)/.setup-* && touch $@

lint: setup  ## ruff, mypy, spelling, and that no notebook holds outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell book notebooks src *.md
	$(BIN)/python scripts/check_words.py src/t2lib
	$(BIN)/mypy
	find notebooks -name '*.ipynb' -exec $(STRIP) --verify {} +

strip: setup  ## remove outputs from the notebooks, as git wants them
	find notebooks -name '*.ipynb' -exec $(STRIP) {} +

notebook: setup  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

book: setup  ## run what changed and build the book into _build/html (PARAMS=params/smoke.yml for a quick one)
	$(BIN)/doit -n $(WORKERS) book params=$(PARAMS)

pdf: book  ## print the whole book into _build/t2lib.pdf (needs Chromium)
	$(BIN)/python scripts/pdf.py

check: book  ## look at the built pages: links, pictures, weight, and accessibility in a browser
	$(BIN)/python scripts/check_pages.py _build/html
	$(BIN)/python scripts/check_a11y.py _build/html

bench: setup  ## time the fit against the paper's protocol (BENCH=coverage: another of benchmarks/)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$(BENCH).py

reproduce: setup  ## make every shipped fit and figure again from data/; fail on a difference (ONLY=data, fits or figures)
	$(BIN)/python scripts/reproduce.py $(if $(ONLY),--only $(ONLY))

lock:  ## resolve pyproject.toml's ranges into the lock files (UPGRADE=1: newest; RESOLUTION=lowest-direct: oldest)
	@$(PYTHON) scripts/check_machine.py
	$(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	_build/lock/bin/python scripts/lock.py $(if $(UPGRADE),--upgrade) $(if $(RESOLUTION),--resolution $(RESOLUTION))

clean:  ## remove what was built; the environment stays
	rm -rf _build results dist .doit.db* .pytest_cache .mypy_cache .ruff_cache .hypothesis
