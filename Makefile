# make demo and make test each stand alone on a fresh clone; nothing needs root.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
ifndef RUN
RUN := runs/bahdanau/demo-$(shell date +%Y%m%d-%H%M%S)
endif

.PHONY: setup demo test quick check bench

setup: .venv/installed

.venv/installed: pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11: try make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -m venv .venv || \
		{ echo "error: $(PYTHON) cannot make a virtual environment: install Debian's python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/python -m nmt.train +experiment=bahdanau trainer.max_epochs=5 run=$(RUN)
	$(BIN)/python -m nmt.evaluate checkpoint=$(RUN)

# All tests of a file run in one process, as they share fixtures that take seconds to make.
TESTS = $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: setup
	$(TESTS)

quick: setup
	$(TESTS) -m "not slow and not process and not browser"

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --project pyproject.toml

bench: setup
	$(BIN)/python scripts/bench_training.py --size small --repeats 2
	$(BIN)/python scripts/bench_search.py --small
