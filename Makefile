# Every goal makes the environment it needs in .venv, once, and works on a fresh clone.
#   PYTHON=python3.12      the interpreter to build the environment with (3.11 or newer)
#   PIP_ARGS="..."         more words for pip, such as an index with the CPU build of torch
#   PYTEST_ARGS="..."      more words for pytest, such as -k surrogates
#   BENCH_ARGS="..."       more words for the benchmarks

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PY := $(VENV)/bin/python

DEMO := runs/demo
DEMO_ARGS := --data digits --model lenet5 --bits w1a2 --surrogates clipped_relu,relu,identity \
	--activations instead_of_relus --seeds 3

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all lint format docs bench clean distclean

help: ## say what the goals are
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/train.stamp ## compare three surrogates on digits and write a report
	@mkdir -p $(DEMO)
	$(PY) -m coarsegrad compare $(DEMO_ARGS) --out $(DEMO)
	@test -f $(DEMO)/report.html || { echo "make demo: $(DEMO)/report.html was not written" >&2; exit 1; }
	@echo "report: $(CURDIR)/$(DEMO)/report.html"

test: $(VENV)/test.stamp ## the tests that need nothing but Python
	$(PY) -m pytest -n $(WORKERS) $(PYTEST_ARGS)

test-all: $(VENV)/test.stamp ## every test; what is missing (chromium, data, a C++ compiler) is a failure
	COARSEGRAD_REQUIRE=1 $(PY) -m pytest -n $(WORKERS) -m "" $(PYTEST_ARGS)

lint: $(VENV)/test.stamp $(VENV)/dev.stamp ## ruff and pyright
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright --pythonpath $(PY)

format: $(VENV)/dev.stamp ## let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(VENV)/docs.stamp ## build the documentation into site/
	$(PY) -m mkdocs build --strict

bench: $(VENV)/test.stamp $(VENV)/peers.stamp ## measure against peers
	$(PY) benchmarks/train_overhead.py $(BENCH_ARGS)

clean: ## remove caches and built files; .venv and runs/ stay
	rm -rf build dist site .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too; the next goal installs again
	rm -rf $(VENV)

# The environment. A stamp is written last, so an install that was cut short is done again. .venv is made
# anew where its interpreter is gone, or where the folder was copied or moved: its paths would lead elsewhere.

MADE_HERE := $(shell test -x $(PY) && test "$$(cat $(VENV)/made.stamp 2>/dev/null)" = "$(CURDIR)" && echo yes)
ifneq ($(MADE_HERE),yes)
.PHONY: $(VENV)/made.stamp
endif

$(VENV)/made.stamp:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1), and coarsegrad needs 3.11 or newer. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: $(PYTHON) could not make an environment. Install its venv module (Debian: apt install python3-venv)." >&2; exit 1; }
	@echo "$(CURDIR)" > $@

$(VENV)/%.stamp: $(VENV)/made.stamp pyproject.toml constraints.txt
	$(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e ".[$*]"
	@touch $@
