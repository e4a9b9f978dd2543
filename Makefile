# Everything a developer runs. Works from a bare clone with Python >= 3.11 and make: an environment is made on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out
JOBS ?= 2
SECONDS ?= 60
SLOW_SAMPLE ?= 1

# One thread a process: the test workers are the parallelism.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@echo "usage: make TARGET [PYTHON=python3] [VENV=.venv]"
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.installed

.PHONY: install
install: $(VENV)/.installed-dev ## Install the project for development into VENV

.PHONY: demo
demo: $(VENV)/.installed ## Compile the example network and run it on the emulator
	@mkdir -p $(OUT)
	$(BIN)/escc examples/models/resnet8_cifar10.onnx --calibration examples/models/calibration.npz -o $(OUT)/resnet8.bin
	$(BIN)/esc-emu $(OUT)/resnet8.bin --stats

.PHONY: lint
lint: $(VENV)/.installed-dev ## Check formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pyright -p tests --pythonpath $(BIN)/python

.PHONY: lit
lit: $(VENV)/.installed-dev ## Run the IR tests (tests/lit)
	$(BIN)/lit -sv -j $(JOBS) tests/lit

.PHONY: test
test: lint lit ## Run every check and test; of the slow ones one in SLOW_SAMPLE (1), others for every commit
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --slow-sample $(SLOW_SAMPLE)

.PHONY: fuzz
fuzz: $(VENV)/.installed-dev ## Feed mutated files to all commands for SECONDS (60), stop with 1 if one is answered badly
	$(BIN)/python tests/fuzz --seconds $(SECONDS) --out $(OUT)/fuzz

.PHONY: pythons
pythons: $(VENV)/.installed-dev ## Run a part of the tests on every installed Python from 3.11 on
	$(BIN)/nox --no-error-on-missing-interpreters -- core

.PHONY: bench
bench: $(VENV)/.installed-dev ## Time emulator and packed formats, measure the machine: figures of docs/performance.md (a quarter of an hour)
	$(BIN)/python benchmarks/emulation.py
	$(BIN)/python benchmarks/packing.py
	$(BIN)/python benchmarks/machine.py

.PHONY: bench-all
bench-all: bench ## The same, and time compiler and emulator on examples and models of the data folder (an hour)
	$(BIN)/python benchmarks/run.py

.PHONY: curves
curves: $(VENV)/.installed-dev ## Measure accuracy against bytes of the models of the data folder (an hour), draw it
	$(BIN)/python benchmarks/compression/curves.py measure
	$(BIN)/python benchmarks/compression/curves.py plot

.PHONY: docs
docs: $(VENV)/.installed-dev ## Write the generated pages of docs/ again
	$(BIN)/python -m escc.docs docs
	$(BIN)/python -m docs.reference
	$(BIN)/python -m docs.pipeline
	$(BIN)/python -m docs.scheme_tables
	$(BIN)/python -m docs.notebooks

.PHONY: site
site: $(VENV)/.installed-dev ## Build the documentation as a site in OUT/site; a broken link or page stops it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir $(abspath $(OUT))/site

.PHONY: clean
clean: ## Remove the environment and everything generated
	rm -rf $(VENV) $(OUT) build dist .lit-output .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
