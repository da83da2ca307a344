# Run make help for a list of targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
# otherwise each of many processes would compile the same modules again
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo verify test fast test-slow coverage bench study study-quick docs lint format lock

help:
	@echo "make setup      an environment in $(VENV), from requirements.lock"
	@echo "make demo       train and evaluate on a simulated market, offline"
	@echo "make verify     compare bars, images and runs on disk with their checksums"
	@echo "make test       format, lint, types, import rules, tests"
	@echo "make fast       the tests alone"
	@echo "make test-slow  all tests, including the long ones"
	@echo "make coverage   report which lines and branches the tests reach"
	@echo "make bench      run the benchmarks; some minutes, 17 GB of disk"
	@echo "make study      run the study of docs/studies/plan.md: make study BARS=folder; 2 hours"
	@echo "make study-quick  try its steps on little data; 20 minutes"
	@echo "make docs       build the documentation into build/docs"
	@echo "make format     format the code"
	@echo "make lock       resolve requirements.lock again"

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "gafcnn needs python >= 3.11, found %d.%d: make setup PYTHON=python3.11" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (several GB, some minutes the first time)"
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/python train.py --multirun experiment=demo window=15m,30m,60m
	$(BIN)/python evaluate.py study=demo

verify: setup
	$(BIN)/python verify.py

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/docs/index.html"

# .pre-commit-config.yaml has the same commands
lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# side by side, because types are checked on one core
test: setup
	$(MAKE) --jobs=2 lint fast

test-slow: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

# one thread per worker; more would wait for each other
fast: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n 2 --dist worksteal

# lines run by compiled code or by killed processes are not counted
coverage: setup
	rm -rf build/coverage && mkdir -p build/coverage
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -m "not slow" -n 2 --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: setup
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/encoding.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/judging.py
	$(BIN)/python benchmarks/live.py

study: setup
	$(BIN)/python -m pip install --quiet --requirement studies/requirements.txt
	$(BIN)/python studies/images.py $(BARS)

study-quick: setup
	$(BIN)/python -m pip install --quiet --requirement studies/requirements.txt
	$(BIN)/python studies/images.py $(BARS) --quick

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# needs uv; keeps the locked versions where they still fit
lock:
	uv pip compile --universal --no-emit-index-url --no-header --all-extras \
		--python-version 3.11 pyproject.toml -o requirements.lock
