# fruits_pipeline: `make help` lists what there is. Every target does its own set-up.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
export KEDRO_DISABLE_TELEMETRY := 1
# Notebooks start in their own folder; without this they would log as if there were no conf/logging.yml.
export KEDRO_LOGGING_CONFIG := $(CURDIR)/conf/logging.yml
# Kedro calls ipython and jupyter by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test bench profile lint viz notebook sample lock wheelhouse clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## Make the virtual environment .venv from requirements.lock, with the project in it

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "fruits_pipeline needs Python 3.11, 3.12 or 3.13: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m fruits_pipeline.class_archive
	@touch $@

run: setup ## Run the whole pipeline on the bundled sample; results go to data/
	$(BIN)/kedro run

test: setup ## Run all tests
	$(BIN)/python -m pytest

bench: setup ## Measure beside the notebook, Daft, Ray and MLlib (BENCH="--images 500 --weights F" narrows it)
	$(BIN)/python tests/benchmarks/run.py $(BENCH)

profile: setup ## Flame graph of a Spark worker, into data/08_reporting/ (PROFILE=options)
	$(BIN)/python tests/benchmarks/flame_graph.py $(PROFILE)

lint: setup ## Check style, types and the rules of the house (ruff, mypy, import-linter)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

viz: setup ## Show the pipeline, its figures and tables in the browser
	$(BIN)/kedro viz run

notebook: setup ## Open JupyterLab with the project's catalog
	$(BIN)/kedro jupyter lab notebooks

sample: setup ## Render the bundled sample anew (the same bytes each time)
	$(BIN)/python -m fruits_pipeline.rendering data/01_raw/sample

lock: setup ## Resolve requirements.lock and bootstrap/requirements-emr.txt anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --quiet --all-extras --universal --python-version 3.11 --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" --output-file requirements.lock
	echo setuptools | uv pip compile pyproject.toml - --quiet --generate-hashes --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --constraint requirements.lock --no-emit-index-url --no-annotate \
	  --custom-compile-command "make lock" --output-file bootstrap/requirements-emr.txt

wheelhouse: setup ## Download what a cluster without internet needs into dist/wheelhouse (on Linux x86_64, Python 3.11)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest dist/wheelhouse --require-hashes --no-deps \
	  --no-build-isolation --only-binary=:all: --no-binary=antlr4-python3-runtime -r bootstrap/requirements-emr.txt

clean: ## Remove the results of runs from data/ (the sample stays)
	git clean -fdXq data
