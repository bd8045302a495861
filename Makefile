# The commands people type. Everything installs into .venv; nothing outside this folder changes.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || echo python3)
PARAMS ?= params/reference.yml
WORKERS ?= 2
BENCH ?= fit
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STRIP := $(BIN)/nbstripout --keep-id --extra-keys "metadata.papermill cell.metadata.papermill metadata.language_info.version"
# one stamp per lock, project file and folder: a virtual environment does not survive a move
STAMP := .venv/.setup-$(shell (cat requirements*.lock pyproject.toml; pwd) | cksum | cut -d ' ' -f 1)

.PHONY: help setup test lint strip notebook book pdf check bench reproduce lock clean

help:  ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP)  ## install the pinned environment and t2lib into .venv

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "t2lib needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) -r requirements-torch.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@rm -f .venv/.setup-* && touch $@

test: setup lint  ## lint, then run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST)

lint: setup  ## ruff, mypy, spelling, and that no notebook holds outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell book notebooks src *.md
	$(BIN)/mypy
	find notebooks -name '*.ipynb' -exec $(STRIP) --verify {} +

strip: setup  ## remove outputs from the notebooks, as git wants them
	find notebooks -name '*.ipynb' -exec $(STRIP) {} +

notebook: setup  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

book: setup  ## run what changed and build the book into _build/html (PARAMS=params/smoke.yml for a quick one)
	$(BIN)/doit -n $(WORKERS) book params=$(PARAMS)

pdf: book  ## print the whole book into _build/t2lib.pdf (needs Chromium and its driver)
	$(BIN)/python scripts/pdf.py

check: book  ## look at the built pages: links, pictures, weight, and accessibility in a browser
	$(BIN)/python scripts/check_pages.py _build/html
	$(BIN)/python scripts/check_a11y.py _build/html

bench: setup  ## time the fit against the paper's protocol (BENCH=coverage: another of benchmarks/)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$(BENCH).py

reproduce: setup  ## make every shipped fit and figure again from data/; fail on a difference (ONLY=data, fits or figures)
	$(BIN)/python scripts/reproduce.py $(if $(ONLY),--only $(ONLY))

lock: setup  ## resolve pyproject.toml's ranges into the lock files (UPGRADE=1: take the newest versions)
	$(PIP) uv
	$(BIN)/python scripts/lock.py $(if $(UPGRADE),--upgrade)
	$(BIN)/python scripts/light.py

clean:  ## remove what was built; the environment stays
	rm -rf _build results dist .doit.db* .pytest_cache .mypy_cache .ruff_cache .hypothesis
