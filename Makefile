# Everything a person does here. `make` alone explains.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
EVERYTHING := -c constraints.txt -e '.[wandb,cluster,export,docs,dev]'
# uv takes a quarter of the processor time: the one that is there, or one for .venv; CI takes pip, the same versions
UV := $(if $(CI),,$(shell command -v uv 2>/dev/null || echo $(BIN)/uv))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-cluster lint format docs bench clean test-faults fuzz

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(DONE)  ## make .venv with everything that this project needs

$(DONE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "secateur needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@[ "$(UV)" != $(BIN)/uv ] || $(PIP) uv || true
	@# the wheels of torch for this machine, which has no GPU or has one; then those of the registry; then pip
	@$(if $(UV),for wheels in --torch-backend=auto ""; do \
		$(UV) pip install --quiet $$wheels --python $(BIN)/python $(EVERYTHING) 2>/dev/null && exit; done;) \
		echo "installing with pip"; $(PIP) $(EVERYTHING)
	@touch $@

demo: setup  ## train, prune, slim and measure a detector of drawn faces: some minutes, no data needed
	$(BIN)/python train.py model=eresfd pruning=fpgm pruning.scope=coupled rate=0.3 phases=demo resume=never

test: setup  ## the tests that CI runs
	$(BIN)/python -m pytest -m "not slow and not cluster and not gpu"

test-all: setup  ## the slow ones too
	$(BIN)/python -m pytest -m "not cluster"

test-cluster: setup  ## sweeps on a real Slurm, started on this machine (Debian, root)
	tests/cluster/run.sh $(BIN)/python

SECONDS ?= 60
FIRST ?= 0
fuzz: setup  ## damaged files for every parser, for SECONDS=600, from seed FIRST=0; a table at the end
	$(BIN)/python -m tests.fuzz $(SECONDS) 0 "" $(FIRST)

KILLS ?= 30
test-faults: setup  ## kills, full disks and damaged files on real runs; a table at the end (root, minutes)
	$(BIN)/python -m tests.faults $(KILLS)

AUDIT ?= 1
lint: setup  ## ruff, mypy, the rule about layers, known holes in packages (AUDIT=0 asks no registry)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@[ "$(AUDIT)" = 0 ] || $(BIN)/python -m tests.audit

format: setup  ## put the code into its house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## the pages of docs/ as a site in outputs/site; a broken link stops it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: setup  ## ratios against naive references, in one run; all tables of benchmarks/README.md
	$(BIN)/python -m benchmarks

clean:  ## remove the environment and caches, not the runs
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
