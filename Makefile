# The only entry points. `make book` and `make test` suffice on a fresh clone.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# Where torch comes from, when not the default index: make book TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# Notebooks for `make notebooks`; all of them, in the order of the table of contents, when empty.
NB ?=
READY := .venv/.ready

export PYTHONWARNINGS ?= default
export PYDEVD_DISABLE_FILE_VALIDATION := 1

.PHONY: help book epub test unit nbval site check notebooks lab bench clean chromium

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.pins: requirements.txt
	@test -x $(PY) || $(PYTHON) -m venv .venv
	$(PIP) install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) "$$(grep -m1 '^torch==' requirements.txt)"
	$(PIP) install -q -r requirements.txt
	@touch $@

$(READY): .venv/.pins pyproject.toml
	$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

book: $(READY)  ## build the site into _build/html
	@$(PY) book/_tools/build.py html

epub: $(READY)  ## build the book as one EPUB file
	@$(PY) book/_tools/build.py epub

unit: $(READY)  ## unit tests and doctests only
	@$(PY) -m pytest -n 2 -m "not site and not browser"

check: $(READY)  ## style and types
	@$(PY) -m ruff check .
	@$(PY) -m mypy

notebooks: $(READY)  ## execute the notebooks in place and normalise them (NB=path for one)
	@$(PY) book/_tools/notebooks.py $(NB)

lab: $(READY)  ## open the book in JupyterLab
	@$(PY) -m jupyterlab --notebook-dir=.

bench: $(READY)  ## measure the library
	@$(PY) tests/bench.py

clean:  ## remove what was built; the environment stays
	rm -rf _build attnlib.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find attnlib book tests -name __pycache__ -o -name .ipynb_checkpoints | xargs -d '\n' -r rm -rf
