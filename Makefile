# `make` alone lists the targets. Needed beforehand: Python 3.11, Java 17 or later, a C++ compiler.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

ARGS ?=
SCALE ?= small
PROCESSES ?= 2
VENV := . .venv/bin/activate &&

# Spark starts its Python workers with the Python of .venv, and no other Spark on this machine gets in between.
export PYSPARK_PYTHON := $(CURDIR)/.venv/bin/python
unexport SPARK_HOME PYSPARK_DRIVER_PYTHON PYTHONPATH PYTHONHOME

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  Arguments:  make run ARGS="--set forecast.horizon=14 --conf my.yml"    make test ARGS="-k inventory"'
	@echo '              make bench-NAME SCALE=small                                make setup PYTHON=/path/to/python3.11'

.PHONY: setup setup-dev
setup: ## Prepare .venv: pinned packages, Horovod, Delta jars (the other targets do it themselves)
	@scripts/setup.sh

setup-dev: # The same, with what tests, notebooks and benchmarks need
	@scripts/setup.sh dev

.PHONY: run
run: setup ## Run the whole chain, from raw sales to forecasts and stock decisions
	@$(VENV) forecasting run $(ARGS)

.PHONY: test test-slow unit
pytest := python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder
test: setup-dev ## Run the tests
	@$(VENV) $(pytest) $(ARGS)

test-slow: setup-dev ## Run further cases of what other tests show
	@$(VENV) $(pytest) -m slow $(ARGS)

unit: setup-dev ## Run the unit tests
	@$(VENV) $(pytest) tests/unit $(ARGS)

.PHONY: lint format
lint: setup-dev ## Check the code's style
	@$(VENV) ruff check . && ruff format --check .

format: setup-dev ## Mend what the style check can mend by itself
	@$(VENV) ruff check --fix . && ruff format .

.PHONY: notebook
notebook: setup-dev ## Execute the notebooks where they lie (they read the tables of the last run)
	@$(VENV) jupyter execute --inplace notebooks/*.ipynb

bench-%: setup-dev ## Run benchmarks/NAME.py, e.g. bench-throughput SCALE=medium
	@$(VENV) python -m benchmarks.$* --scale $(SCALE) $(ARGS)

.PHONY: lock
# Versions that still fit setup.py stay as they are; ARGS=--upgrade takes the newest, ARGS="--upgrade-package NAME" one.
# The second file holds every pin of the first, and what tests, notebooks and benchmarks need.
compile := CUSTOM_COMPILE_COMMAND="make lock" pip-compile --extra spark,train,baselines,tracking,build $(ARGS) setup.py
lock: setup-dev ## Write the requirements*.lock files anew from the ranges in setup.py
	@$(VENV) $(compile) --output-file requirements.lock
	@$(VENV) $(compile) --extra dev,bench --constraint requirements.lock --output-file requirements-dev.lock

.PHONY: package
package: setup ## Build the wheel, and dist/forecasting.zip for spark-submit --py-files
	@rm -rf build dist
	@$(VENV) python -m pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir dist .
	@cp dist/demand_forecasting-*.whl dist/forecasting.zip  # a wheel is a zip
	@rm -rf build && ls dist

.PHONY: clean
clean: ## Remove .venv and everything built here; tables and the shared cache stay
	@rm -rf .venv build dist *.egg-info setup.log .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
