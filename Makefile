# make demo: everything once, on this machine · make up: stays · make test · make check · make bench · make env: for compose
# PYTHON=python3.12  TORCH_INDEX=https://…  PORT=8000  DATA=/data/hbn  CPU_WORKERS=1

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
PORT ?= 8000
DATA ?= data
CPU_WORKERS ?= 1
BIN := .venv/bin
STAMP := .venv/made
UNIT ?= tests/unit
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder # each process its own Redis; most tests wait

.PHONY: venv demo up test check bench env clean
.DEFAULT_GOAL := demo

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt eegq/make_venv.py
	@test -n "$(PYTHON)" || { echo "eegq needs Python 3.11, 3.12 or 3.13 on PATH (or PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) eegq/make_venv.py
	@touch $@

demo: $(STAMP)
	@exec $(BIN)/eegq demo

up: $(STAMP)
	@exec $(BIN)/eegq up --port $(PORT) --data $(DATA) --cpu-workers $(CPU_WORKERS)

test: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(if $(UNIT),$(PYTEST) -q $(UNIT))

bench: $(STAMP)
	@for f in benchmarks/*.py; do echo "== $$f"; $(BIN)/python $$f || exit 1; done

env:
	@$(PYTHON) -m deploy.env

clean:
	rm -rf .venv .eegq
