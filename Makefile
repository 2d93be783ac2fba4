# Two commands do everything on a fresh machine: `make run` (the page) and `make test` (the whole suite).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: run demo test faults security load check format clean
.DEFAULT_GOAL := run

run: $(VENV)/application  ## start the page
	$(BIN)/python app.py

demo: $(VENV)/application  ## look, prepare, train, publish, generate: without a browser, on this machine's own files
	$(BIN)/python -m pipeline demo

test: $(VENV)/development  ## everything, browser included
	$(BIN)/python tests/chromium.py
	$(BIN)/python -m pytest --durations=25

faults: $(VENV)/development  ## training killed, stopped, starved of disk and given damaged checkpoints, hundreds of times
	$(BIN)/python -m pytest -m "" tests/faults

load: $(VENV)/application  ## what visitors see beside flooders, a hundred idle tabs and a hundred watched runs
	$(BIN)/python -m benchmarks.load

security: $(VENV)/development  ## a public page attacked as strangers would, thousands of times; one line of figures per attack
	$(BIN)/python tests/chromium.py
	$(BIN)/python -m pytest -q -m "" tests/security

check: $(VENV)/development  ## the quick gate: format, lint, types, tests that start nothing heavy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow and not browser"

format: $(VENV)/development
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## the virtual environment and caches; never the home folder
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps are files inside the environment, so that a changed requirements file installs again.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/application: requirements.txt constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/development: tests/requirements.txt requirements-ray.txt $(VENV)/application
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt -c constraints.txt
	touch $@
