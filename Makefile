# fruits_pipeline: `make help` lists what there is. Every target does its own set-up.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
UV ?= uv
export KEDRO_DISABLE_TELEMETRY := 1
# Notebooks start in their own folder; without this they would log as if there were no conf/logging.yml.
export KEDRO_LOGGING_CONFIG := $(CURDIR)/conf/logging.yml
# Kedro calls ipython and jupyter by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test crashes bench profile lint viz notebook sample package lock wheelhouse clean

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

crashes: setup ## Kill 50 runs at random moments, run each again, compare (FRUITS_TEST_KILLS=N for more or fewer)
	FRUITS_TEST_KILLS=$${FRUITS_TEST_KILLS:-50} $(BIN)/python -m pytest tests/integration/test_crashes.py

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

# The times in the wheel are those of the code's last commit: the same code makes the same bytes.
package: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct -- src pyproject.toml)
package: setup ## Write what a cluster needs into dist/: wheel, configuration, project with its notebooks
	rm -rf build dist/fruits_pipeline-*.whl
	@trap 'rm -f src/fruits_pipeline/commit.txt' EXIT; \
	  changed=$$(git status --porcelain -- src pyproject.toml); \
	  echo "$$(git log -1 --format=%H -- src pyproject.toml)$${changed:+-dirty}" > src/fruits_pipeline/commit.txt; \
	  $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python bootstrap/archive.py dist/conf-fruits_pipeline.tar.gz conf
	$(BIN)/python bootstrap/archive.py dist/project.tar.gz conf notebooks pyproject.toml .telemetry
	@ls dist

# Nodes are Linux on x86_64 with glibc 2.28 or later; setuptools builds the one package that has no wheel.
COMPILE = echo setuptools | $(UV) pip compile pyproject.toml - --quiet --no-emit-index-url --no-annotate --python-version 3.11 \
  --custom-compile-command "make lock"
FOR_NODES = --generate-hashes --python-platform x86_64-manylinux_2_28 --constraint requirements.lock

lock: setup ## Resolve requirements.lock and bootstrap/requirements-emr*.txt anew from pyproject.toml (needs uv)
	$(UV) pip compile pyproject.toml --quiet --all-extras --universal --python-version 3.11 --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" --output-file requirements.lock
	$(COMPILE) $(FOR_NODES) --output-file bootstrap/requirements-emr.txt
	$(COMPILE) $(FOR_NODES) --extra notebook --extra emr --output-file bootstrap/requirements-emr-primary.txt

# The primary node's requirements are those of all nodes, and more.
wheelhouse: setup ## Download what a cluster without internet needs into dist/wheelhouse (on Linux x86_64, Python 3.11)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest dist/wheelhouse --require-hashes --no-deps \
	  --no-build-isolation --only-binary=:all: --no-binary=antlr4-python3-runtime -r bootstrap/requirements-emr-primary.txt

clean: ## Remove the results of runs from data/ (the sample stays)
	git clean -fdXq data
