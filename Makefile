# Two commands on a fresh machine, each doing all its own set-up: make demo, make test.
# What they need: Python 3.11+ with venv, git and make. Options: PYTHON=python3.12, TORCH_BACKEND=cpu, ARGS="...".
# bench also takes SCRIPTS: "speed", "zoo", "budgets", "formats", "fit_resnet56", or several.

SHELL := /bin/bash
BIN := .venv/bin
# Tests run in as many processes as there are cores, up to four; tests of one file stay in one process and share its fixtures.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile
ARGS ?=
SCRIPTS ?= demo_digits speed
export PYTHON TORCH_BACKEND

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow app lab docs bench bench-gpu screenshots lint format constraints clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' \
		| while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup:  ## build .venv, or find in under two seconds that it stands (TORCH_BACKEND=cpu: torch without CUDA)
	@.ci/setup

demo: setup  ## the main job: train, compress, compare on real digits; writes a report (about 4 minutes on two cores)
	@$(BIN)/nes-lab demo $(ARGS)

test: setup  ## fast and browser tests, and GPU tests where there is one (under 8 minutes on two cores)
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: setup  ## the slow tests (a wheel in a clean environment, long trainings)
	$(PYTEST) -m slow $(ARGS)

app: setup  ## the app, on http://127.0.0.1:8501 only
	$(BIN)/streamlit run app/main.py $(ARGS)

lab: setup  ## JupyterLab in notebooks/, at the list of notebooks
	cd notebooks && JUPYTER_CONFIG_PATH=$(CURDIR)/notebooks/settings ../$(BIN)/jupyter lab index.ipynb $(ARGS)

docs: setup  ## build the site into build/site: guides, notebooks with their outputs, reference (ARGS=--no-outputs: notebooks are not run)
	$(BIN)/python -m docs.site.build $(ARGS)

bench: setup  ## measure again what docs/speed.md and the README claim (about 20 minutes; SCRIPTS=speed for one of them)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[bench]'
	@set -e; for script in $(SCRIPTS); do echo "== benchmarks/$$script.py"; $(BIN)/python -m benchmarks.$$script $(ARGS); done

bench-gpu: setup  ## the same on a GPU, in under 9 minutes; without a .venv: python3 -m benchmarks.gpu (needs torch and numpy)
	$(BIN)/python -m benchmarks.gpu $(ARGS)

screenshots: setup  ## every page of the app, light and dark, wide and narrow, into build/screenshots (needs Chromium; ARGS="start run")
	$(BIN)/python -m benchmarks.screenshots $(ARGS)

lint: setup  ## ruff (rules and format), pyright, import directions, dependencies: what pre-commit and CI run
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

format: setup  ## let ruff fix and format everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: setup  ## pin again from pyproject.toml, keeping the pins that still fit (ARGS=--upgrade for the newest)
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-emit-index-url --no-annotate --no-header --quiet -o constraints.txt $(ARGS)

clean:  ## remove .venv, caches and build output; never data/ or a run
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . \( -path ./.git -o -path ./data \) -prune -o -type d \
		\( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +
