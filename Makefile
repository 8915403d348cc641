# Everything that a developer does with Hookline. Needs: Python >= 3.11 with venv, and Go for the test control plane.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hookline needs Python 3.11 or later; this is $$($(PYTHON) --version). Install one, or: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "==> installing locked dependencies into $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(READY) ## a real change arrives as a signed, verified request (KEEP=1: leave it running; KUBECONFIG: use that cluster)
	@$(BIN)/python hack/demo $(if $(KEEP),--keep)

# Most tests wait for other processes, so three files at a time keep two cores busy. ARGS=-n0: one after the other.
ABREAST := --numprocesses=3 --dist=loadfile --no-loadscope-reorder
.PHONY: test
test: lint ## everything that must be green: lint, types, contracts, then all tests
	@$(BIN)/python -m pytest $(ABREAST) $(ARGS)

.PHONY: lint
lint: $(READY) ## ruff, strict types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: faults
faults: $(READY) ## all fault tests in full (about an hour)
	@HOOKLINE_FAULTS=full $(BIN)/python -m pytest tests/faults $(ARGS)

.PHONY: bench
bench: $(READY) ## rates, latency and memory, as ratios against the API server in the same run
	@$(BIN)/python tests/bench

.PHONY: crds
crds: $(READY) ## check the CRDs and every sample against a real API server
	@$(BIN)/python -m pytest tests/cluster/test_crd.py tests/cluster/test_crd_replay.py $(ARGS)

.PHONY: chart
chart: $(READY) ## write what is generated in charts/hookline and config, and check both (needs Go, for helm)
	@$(BIN)/python hack/chart.py
	@$(BIN)/python -m pytest tests/chart tests/gitops/test_kustomize.py $(ARGS)

.PHONY: docs
docs: $(READY) ## write the generated pages of docs/ and build the site into .run/docs; dead links are errors
	@$(BIN)/python hack/docs

.PHONY: pictures
pictures: $(READY) ## draw the dashboard into docs/pictures from a real run of some five minutes (needs Prometheus)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-pictures.lock
	@$(BIN)/python hack/pictures $(ARGS)

.PHONY: image
image: $(READY) ## build the container image (BASE=python:3.12-slim@sha256:…; default: from Debian's packages, as root)
	@$(BIN)/python hack/image $(if $(BASE),--base $(BASE)) $(ARGS)

.PHONY: image-test
image-test: $(READY) ## build the image twice, compare, and run the operator in it (as root)
	@HOOKLINE_IMAGE=build $(BIN)/python -m pytest tests/image $(ARGS)

.PHONY: cluster-test
cluster-test: $(READY) ## install the chart on a real node, and run it there (as root; needs Go; long the first time)
	@HOOKLINE_NODE=1 $(BIN)/python -m pytest --verbose tests/node $(ARGS)

UV_LOCK = uv pip compile --quiet --universal --generate-hashes --no-annotate --custom-compile-command 'make lock'
.PHONY: lock
lock: ## write the locks anew from pyproject.toml (needs uv): everything, and of it what the image runs and is built with
	@$(UV_LOCK) --group dev pyproject.toml --output-file requirements.lock
	@$(UV_LOCK) --constraints requirements.lock --extra otel --extra postgres pyproject.toml --output-file requirements-run.lock
	@$(UV_LOCK) --constraints requirements.lock --group pictures --output-file requirements-pictures.lock
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(UV_LOCK) --constraints requirements.lock --output-file requirements-build.lock -

.PHONY: clean
clean: ## remove what make made here (not the cached control plane)
	@rm -rf $(VENV) .run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
