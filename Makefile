# make train: from a clean machine (Python 3.11+ and make) to reinforcement fine-tuning that raises accuracy.
# make test: the fast suite; make slow: the slow one; neither has torch. make parity: comparisons with torch.
# make aot: what compiles for a TPU by libtpu, without one. make lint, make clean. make docs: the site, into site/.
# make soak: a run killed, starved and damaged thirty times, in minutes. make coverage, make mutate, make audit: see
# CONTRIBUTING.md. make lock: requirements.lock anew.
#
#   PYTHON       the interpreter that creates the environments (default python3)
#   VENV         where the environment lives (default .venv); PARITY_VENV the one with torch (default .venv-parity);
#                TPU_VENV the one with libtpu (default .venv-tpu)
#   ARGS         more flags for the training command: make train ARGS="--config.train.steps=20"
#   PYTEST_ARGS  more flags for pytest
#   WORKERS      processes of the fast suite, 2 by default; each takes about a core and 3 GB
#   TORCH_INDEX  package index to take torch from, where the default one serves a CUDA build

PYTHON ?= python3
VENV ?= .venv
PARITY_VENV ?= .venv-parity
TPU_VENV ?= .venv-tpu
CONFIG ?= configs/grpo_counting.py
ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= 2
TORCH_INDEX ?=

# PIP_QUIET=1 in the environment hides what pip does.
PIP_INSTALL = -m pip install --progress-bar off -c requirements.lock
REQUIREMENTS = setup.py pyproject.toml requirements.lock

.PHONY: train test slow parity soak coverage mutate audit aot lint docs lock clean

train: $(VENV)/.installed
	$(VENV)/bin/python launch/train.py --config=$(CONFIG) $(ARGS)

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

slow: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -m "slow and not parity" $(PYTEST_ARGS)

parity: $(PARITY_VENV)/.installed-parity
	$(PARITY_VENV)/bin/python -m pytest -m parity $(PYTEST_ARGS)

# RRFT_SOAK_FAULTS=30 and RRFT_SOAK_SEED, which is printed, in the environment choose how many faults and which.
soak: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -m soak -s tests/soak $(PYTEST_ARGS)

# Lines and branches that the fast suite runs; COVER="tests/losses tests/data" and PYTEST_ARGS choose others.
coverage: $(VENV)/.installed-test
	$(VENV)/bin/python $(PIP_INSTALL) coverage
	mkdir -p build/coverage && rm -f build/coverage/data*
	$(VENV)/bin/python -m coverage run -m pytest $(COVER) $(PYTEST_ARGS)
	$(VENV)/bin/python -m coverage combine && $(VENV)/bin/python -m coverage report

# Changes that the tests of a file do not notice: make mutate FILES="rrft_jax/losses/gae.py=tests/losses/test_estimators.py"
mutate: $(VENV)/.installed-test
	$(VENV)/bin/python $(PIP_INSTALL) cosmic-ray
	$(VENV)/bin/python scripts/mutate.py $(FILES)

# Known faults of the locked packages, where the index that knows them can be asked.
audit: $(VENV)/.installed-test
	$(VENV)/bin/python $(PIP_INSTALL) pip-audit
	$(VENV)/bin/python -m pip_audit --strict -r requirements.lock --no-deps --disable-pip # strict: a package that is not known there is no clean one

aot: $(TPU_VENV)/.installed-tpu
	JAX_PLATFORMS=cpu $(TPU_VENV)/bin/python -m pytest -m slow -k tpu tests/planning/test_compile.py $(PYTEST_ARGS)

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ty check --python $(VENV)

# Warnings are errors; the theme's note about its own future is none of ours.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

# A stamp per environment: rebuilt when the requirements change, or when an interrupted install left none.
%/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed and $(PYTHON) is older: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $*
	@touch $@

$(VENV)/.installed: $(VENV)/.python $(REQUIREMENTS)
	@echo 'installing into $(VENV): about 100 packages, 1 to 5 minutes the first time'
	$(VENV)/bin/python $(PIP_INSTALL) -e '.[report]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.python $(REQUIREMENTS)
	@echo 'installing the test tools into $(VENV): 1 to 5 minutes the first time'
	$(VENV)/bin/python $(PIP_INSTALL) -e '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(VENV)/.python $(REQUIREMENTS)
	$(VENV)/bin/python $(PIP_INSTALL) -e '.[docs]'
	@touch $@

$(TPU_VENV)/.installed-tpu: $(TPU_VENV)/.python $(REQUIREMENTS)
	$(TPU_VENV)/bin/python $(PIP_INSTALL) -e '.[test,tpu]'
	@touch $@

# torch comes first and alone, so that TORCH_INDEX decides its build and the rest comes from the default index.
$(PARITY_VENV)/.installed-parity: $(PARITY_VENV)/.python $(REQUIREMENTS)
	$(PARITY_VENV)/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(PARITY_VENV)/bin/python $(PIP_INSTALL) -e '.[test,parity]'
	@touch $@

# The newest versions that setup.py allows, in a fresh environment, become the lock. The header is kept.
lock:
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; $(PYTHON) -m venv $$dir/venv; \
	  $$dir/venv/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0; \
	  $$dir/venv/bin/python -m pip install --quiet -e '.[test,parity,bench,docs]'; \
	  grep '^#' requirements.lock > $$dir/lock; \
	  $$dir/venv/bin/python -m pip freeze --all --exclude-editable | \
	    grep -viE '^(torch|triton|nvidia[a-z0-9_-]*|cuda-[a-z-]*|pip|rrft_jax)([=@ ]|$$)' | sort -f >> $$dir/lock; \
	  cp $$dir/lock requirements.lock

clean:
	rm -rf $(VENV) $(PARITY_VENV) $(TPU_VENV) build dist site rrft_jax.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
