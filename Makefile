# The only entry points. `make book` and `make test` suffice on a fresh clone.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# Where torch comes from, when not the default index: make book TORCH_INDEX=address
TORCH_INDEX ?=
# Notebooks for `make notebooks`; all of them, in the order of the table of contents, when empty.
NB ?=
# Another machine for `make elsewhere`: default-1, default-2, avx2-1 or avx2-2; all four when empty.
VARIANT ?=
# What else `make bench` is told: ARGS='--quick --only additive'.
ARGS ?=
READY := .venv/.ready
PYTEST := $(PY) -m pytest
# Writes down what a group takes; `make test` shows it in the end, and fails over budget.
TIMED := $(PY) book/_tools/times.py run
# Cells run in their order, a notebook in one process; two notebooks at a time.
NBVAL := $(PY) -m pytest -o addopts=-ra --nbval --nbval-cell-timeout=600 --timeout=900 -p no:randomly -n 2 --dist loadfile

.PHONY: help book epub test nightly unit nbval elsewhere chromium check notebooks pins lab bench bench-gpu fuzz clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.pins: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "the pinned environment needs Python 3.11 or newer")'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@echo "Installing the pinned environment into .venv, once ..."
	@$(PIP) install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) "$$(grep -m1 '^torch==' requirements.txt)"
	@$(PIP) install -q -r requirements.txt
	@touch $@

$(READY): .venv/.pins pyproject.toml
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

book: $(READY)  ## build the site into _build/html
	@$(TIMED) book $(PY) book/_tools/build.py html

epub: $(READY)  ## build the book as one EPUB file
	@$(PY) book/_tools/build.py epub

test: book chromium  ## everything: unit tests, doctests, notebooks, the book, the site, the browser; and the budget
	@failed=0; \
	$(TIMED) unit $(PYTEST) -n 2 -m "not browser and not nightly" || failed=1; \
	$(TIMED) browser $(PYTEST) -n 2 -m "browser and not nightly" || failed=1; \
	$(TIMED) notebooks $(NBVAL) book || failed=1; \
	$(PY) book/_tools/times.py report || failed=1; \
	exit $$failed

nightly: book epub chromium  ## what takes too long for each change: JupyterLab, peers' tests, real data, the EPUB, other machines
	@failed=0; \
	$(PYTEST) -n 2 -m nightly || failed=1; \
	$(PY) tests/fuzz.py || failed=1; \
	$(PY) book/_tools/elsewhere.py || failed=1; \
	exit $$failed

unit: $(READY)  ## the library's tests and doctests only
	@$(PYTEST) -n 2 -m "not browser and not site and not slow and not nightly"

nbval: $(READY)  ## the notebook check only: do the stored outputs still come out (NB=path for one)
	@$(NBVAL) $(or $(NB),book)

elsewhere: $(READY)  ## the notebooks as on other machines: do the claims come out (VARIANT=default-1 for one)
	@$(PY) book/_tools/elsewhere.py $(VARIANT)

chromium: $(READY)
	@$(PY) book/_tools/chromium.py

check: $(READY)  ## style and types
	@$(TIMED) check $(SHELL) -euc " \
	$(PY) -m ruff check . ; $(PY) -m ruff format --check . ; \
	$(PY) -m ruff check --config book/notebooks.toml book ; $(PY) -m ruff format --check --config book/notebooks.toml book ; \
	.venv/bin/oxlint -c .oxlintrc.json --deny-warnings ; .venv/bin/oxfmt -c .oxfmtrc.json --check '**/*.js' ; \
	if grep -rnE '^.{121}' --include='*.css' attnlib book; then echo 'CSS: at most 120 characters a line'; exit 1; fi ; \
	$(PY) -m mypy"

notebooks: $(READY) chromium  ## format the notebooks, execute them in place and normalise them (NB=path for one)
	@$(PY) book/_tools/notebooks.py $(NB)

pins: $(READY)  ## write requirements.txt from the environment as it is
	@$(PY) book/_tools/requirements.py

lab: $(READY)  ## open the book in JupyterLab
	@$(PY) -m jupyterlab --notebook-dir=.

fuzz: $(READY)  ## compare the library with an oracle on 20,000 random cases
	@$(PY) tests/fuzz.py

# What `make bench` compares with stands in a folder of its own, before the environment; without it a line says so.
.venv-bench/.ready: tests/bench/peers.txt $(READY)
	@rm -rf .venv-bench
	@$(PIP) install -q --no-deps --target .venv-bench -r tests/bench/peers.txt && touch $@ \
	|| echo "The packages to compare with could not be installed; what is missing is left out."

bench: .venv-bench/.ready  ## measure each mechanism against its peers, for the page on performance (ARGS='--quick')
	@PYTHONPATH=.venv-bench $(PY) -m tests.bench $(ARGS)

bench-gpu: .venv-bench/.ready  ## the same on a GPU
	@PYTHONPATH=.venv-bench $(PY) -m tests.bench --device cuda $(ARGS)

clean:  ## remove what was built; the environment stays
	rm -rf _build attnlib.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find attnlib book tests -name __pycache__ -o -name .ipynb_checkpoints | xargs -d '\n' -r rm -rf
