# Two commands do everything on a fresh machine: `make run` (the page) and `make test` (the whole suite).

# `make run CPU=1` takes the CPU build of torch: a fourth of the size, for a machine without a GPU.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Test processes: tests often wait, so one more than two cores.
WORKERS ?= 3
# What fails beside the others, on a machine that is too loaded for them, is tried once more by itself. What fails twice
# fails; both results are printed, and a test that needs this has a fault to be mended.
TRY_AGAIN := echo "These failed. Each is tried once more by itself:" && $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 5 --verbose
# pip shows each package and how far its download is, when it writes to a terminal.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
TORCH   := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)
# The address that PyTorch's own page shows for pip and CPU. Its Linux wheels carry +cpu in their version.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
CPU_TORCH := $(TORCH)$(if $(filter Linux,$(shell uname -s)),+cpu)
CPU_STAMP := $(if $(CPU),$(VENV)/cpu-torch)

# Ctrl-C is how these two are ended: make reports no error then.
QUIET_END := trap 'exit 0' INT;

# The projects whose examples the starter model is trained on.
STARTER_PROJECTS = autograd,deslib,eli5,hmmlearn,imbalanced-learn,lmfit,mapie,matplotlib,metpy,mpld3,pandas,pandas-datareader,proplot, \
	scikit-image,scikit-learn,scikit-learn-extra,scikit-survival,seaborn,sklearn-crfsuite,skope-rules,skrub,statsmodels, \
	tsfresh,tslearn,xarray,yellowbrick,koalas,dask,modin,geopandas,pyjanitor,category-encoders,feature-engine,mlxtend, \
	pandera,scipy,numpy,featuretools,sktime,dask-ml,plotnine,lifelines,fairlearn,ibis-framework,pymars,polars,arviz,skops, \
	pandas-flavor,siuba,dataprep,xorbits,swifter,sklearn-pandas,ml-tooling,pandarallel,datasets
SPACE = $() $()

.PHONY: run demo test faults security starter load check format clean
.DEFAULT_GOAL := run

run: $(VENV)/application  ## start the page
	@$(QUIET_END) $(BIN)/python app.py

demo: $(VENV)/application  ## look, prepare, train, publish, generate: without a browser, on this machine's own files
	@$(QUIET_END) $(BIN)/python -m pipeline demo

test: $(VENV)/development  ## everything, browser included
	$(BIN)/python tests/chromium.py
	$(BIN)/python tests/pyodide.py
	$(BIN)/python -m pytest -n $(WORKERS) --durations=25 || { test $$? -eq 1 && $(TRY_AGAIN); }

faults: $(VENV)/development  ## training killed, stopped, starved of disk and given damaged checkpoints, and a Hub with every fault, hundreds of times
	$(BIN)/python -m pytest -n $(WORKERS) -m "" tests/faults tests/hub/test_wiped_disk.py tests/hub/test_push_faults.py tests/hub/test_uploader.py \
		tests/hub/test_bucket.py tests/benchmarks/test_cuda.py

starter: $(VENV)/application  ## make the model that comes with the program again, in assets/starter: two hours on two cores
	$(BIN)/python -m pipeline prepare --source "pypi:$(subst $(SPACE),,$(STARTER_PROJECTS))#examples" --corpus starter --vocab-size 4096 \
		--keyword pandas sklearn matplotlib seaborn DataFrame groupby
	$(BIN)/python -m pipeline train --corpus starter --run-id starter --preset tiny --recipe fast --max-steps 12000 \
		--set loss=weighted key_tokens=plt,pd,sk,fit,predict,DataFrame,scatter,groupby,mean dropout=0.1 eval_every_steps=500 checkpoint_every_steps=500
	$(BIN)/python -m pipeline.training.starter $${PIPELINE_HOME:-home}/runs/starter

load: $(VENV)/application  ## what visitors see beside flooders, a hundred idle tabs and a hundred watched runs
	$(BIN)/python -m benchmarks.load

security: $(VENV)/development  ## a public page attacked as strangers would, thousands of times; one line of figures per attack
	$(BIN)/python tests/chromium.py
	$(BIN)/python -m pytest -q -m "" tests/security

check: $(VENV)/development  ## the quick gate: format, lint, types, tests that start nothing heavy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not browser"

format: $(VENV)/development
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## the virtual environment and caches; never the home folder
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps are files inside the environment, so that a changed requirements file installs again.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/application: requirements.txt constraints.txt $(CPU_STAMP) | $(VENV)/bin/python
	@echo "Installing the packages of requirements.txt into $(VENV), once."
	@$(INSTALL) -r requirements.txt
	@touch $@

# Without its dependencies, which come from the usual index with the others.
$(VENV)/cpu-torch: requirements.txt | $(VENV)/bin/python
	@echo "Installing $(CPU_TORCH) from $(TORCH_INDEX)."
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps --retries 2 --timeout 20 --index-url $(TORCH_INDEX) "$(CPU_TORCH)" 2>$(VENV)/cpu-torch.log || \
	  { echo "$(CPU_TORCH) could not be installed from $(TORCH_INDEX) (pip's reason is in $(VENV)/cpu-torch.log); try again when that address can be reached, or run make without CPU=1." >&2; exit 1; }
	@touch $@

$(VENV)/development: tests/requirements.txt requirements-ray.txt requirements-evaluate.txt requirements-export.txt requirements-mcp.txt $(VENV)/application
	@echo "Installing the packages of the tests into $(VENV), once."
	@$(INSTALL) -r tests/requirements.txt
	@touch $@
