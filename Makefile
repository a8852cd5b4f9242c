# Needs git, make and Python 3.11, 3.12 or 3.13. `make help` lists what there is.
PYTHON ?= python3
PROFILE ?= quick
N ?= 5
VENV := .venv
RUN := $(VENV)/bin/python
# No telemetry of the tools that we start; flows/tool_settings.py sets the same for programs started by hand.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup run doctor test test-thorough test-all faults mutants reproduce-check gpu-check bench lint format profile ui deploy runs report judge-check seeds dataset lock clean distclean

help:            ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/installed  ## make .venv with the locked versions; every other command does it by itself
	@echo "$(VENV) has the locked packages. Next: make run"

run: $(VENV)/installed    ## run the whole pipeline as params.yaml says, and print a summary
	@$(RUN) -m flows.run

doctor: $(VENV)/installed  ## say what is wrong with this machine and this folder, and what fixes it
	@$(RUN) -m flows.doctor

test: $(VENV)/installed-dev   ## run the tests, in five to ten minutes on two cores
	@$(RUN) -m pytest -n auto --dist loadfile

test-thorough: $(VENV)/installed-dev  ## run the tests that take some seconds each: real processes, kills, full disks
	@$(RUN) -m pytest -n auto --dist loadfile -m thorough

test-all: $(VENV)/installed-dev  ## run every test, the slow ones too
	@$(RUN) -m pytest -n auto --dist loadfile -m ""

faults: $(VENV)/installed-dev  ## inject the faults that we know, kill runs in chains, and print a table
	@$(RUN) -m tests.faults

mutants: $(VENV)/installed-dev  ## mutation testing: put small errors into the code, and print how many the tests notice
	@$(RUN) -m tools.mutants

gpu-check: $(VENV)/installed-dev  ## on a machine with a GPU: tests that need one, then speed beside others and beside goals
	@$(RUN) -m benchmarks.gpu_check

bench: $(VENV)/installed  ## measure how time and memory grow with size, for docs/performance.md, in about ten minutes
	@$(RUN) -m benchmarks.scaling

reproduce-check: $(VENV)/installed  ## make the results of the last commit again on this machine, and compare them
	@$(RUN) -m flows.reproduce_check

lint: $(VENV)/installed-dev   ## ruff and mypy
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

format: $(VENV)/installed-dev  ## let ruff lay out the code
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

profile: $(VENV)/installed  ## put a profile's values into params.yaml: make profile PROFILE=gpt2-medium
	@$(RUN) -m flows.profiles $(PROFILE)

ui: $(VENV)/installed     ## MLflow and Prefect in the browser, on this machine alone
	@$(RUN) -m flows.servers

deploy: $(VENV)/installed  ## register the three deployments with the Prefect server of `make ui`
	@echo "loading Prefect ..."
	@$(RUN) -m flows.deploy

runs: $(VENV)/installed   ## list all runs: values, loss, score, state, commit
	@$(RUN) -m flows.runs

report: $(VENV)/installed  ## write artifacts/report.html: one page with all that there is to know of the run
	@$(RUN) -m flows.report

judge-check: $(VENV)/installed  ## say how far the judge of params.yaml can be believed: a judge card
	@$(RUN) -m tools.judge_check

seeds: $(VENV)/installed  ## train the last commit's recipe N times with different seeds: make seeds N=5
	@$(RUN) -m flows.seeds $(N)

dataset:          ## make assets/data/instructions.json from its tables
	@$(PYTHON) -m assets.dataset.build

lock: $(VENV)/installed   ## resolve pyproject.toml into the requirements files (needs uv)
	@$(RUN) -m tools.lock

clean:            ## remove what the pipeline made; the MLflow runs and .venv stay
	@$(PYTHON) tools/at_work.py
	rm -rf artifacts data .cache .dvc/cache .dvc/tmp .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean  ## remove .venv, the MLflow runs and Prefect's database too
	rm -rf $(VENV) .prefect mlflow.db* .mlflow.db* mlruns

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	    f"Python 3.11, 3.12 or 3.13 is needed; {sys.executable} is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 ...")'
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "python3 -m venv failed. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/installed: requirements.lock requirements-cuda.lock | $(VENV)/bin/python
	@echo "Installing the locked packages into $(VENV) (a few minutes, once) ..."
	@$(RUN) tools/install.py -r requirements.lock
	@$(RUN) -m flows.databases
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock requirements-book.lock $(VENV)/installed
	@echo "Installing what the tests need ..."
	@$(RUN) tools/install.py -r requirements-dev.lock
	@$(RUN) tools/install.py -r requirements-book.lock --no-deps --ignore-requires-python
	@touch $@
