# Every command sets up what it needs: `make book` and `make test` work on a fresh clone.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# The matrices here are small: more threads would only wait for each other.
export OMP_NUM_THREADS ?= 1
# Wider instructions round sums in another order, and training makes other digits of that.
ifeq ($(shell uname -m),x86_64)
export ATEN_CPU_CAPABILITY ?= avx2
export ONEDNN_MAX_CPU_ISA ?= AVX2
endif
export PYTHONPATH :=
NBVAL := --nbval --nbval-current-env --nbval-sanitize-with tests/sanitize.cfg --nbval-cell-timeout 300

.PHONY: help setup book serve test check notebooks bench lab links address lock clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:
	@$(PYTHON) tools/setup.py

book: setup  ## build the site from the stored outputs into _build/html
	@$(BIN)/python tools/book.py build

serve: book  ## build the site and open it on a free local port
	@$(BIN)/python tools/book.py serve

test: check  ## run every test: notebooks, figures, package, site
	@RNNBOOK_PROGRESS=0 $(BIN)/python -m pytest $(NBVAL) -n 2 --dist loadfile -q tests chapters

check: setup  ## look at the code without running it (ruff, mypy)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Some files are not formatted: run $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy --no-error-summary

notebooks: setup  ## run the chapters and store their outputs (one: CHAPTER=principles/recurrence)
	@$(BIN)/python tools/notebooks.py $(CHAPTER)

bench: setup  ## measure every speed again, say which moved (to record: ARGS=--write)
	@$(BIN)/python -m experiments.bench $(ARGS)

lab: setup  ## open the chapters in JupyterLab
	@$(BIN)/jupyter lab chapters

links: setup  ## try every external link (needs internet)
	@$(BIN)/jupyter-book build . --builder linkcheck

address: setup  ## write the repository's address from pyproject.toml to where it is needed
	@$(BIN)/python tools/address.py

lock: setup  ## renew requirements.lock from pyproject.toml
	@sh tools/lock.sh --upgrade

clean:  ## delete what was built; keep .venv
	@rm -rf _build node_modules .pytest_cache .mypy_cache .ruff_cache .ipynb_checkpoints
	@echo "Deleted the built site and caches. The environment is kept; delete .venv to be rid of it too."
