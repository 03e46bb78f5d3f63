# Everything a contributor types. Both `make run` and `make test` set up what they need; a second call does nothing twice.

PYTHON ?= python3
VENV := .venv
SECONDS ?= 60
BIN := $(VENV)/bin
# These start processes and wait for them, so that several run at a time even where there are few cores.
WAITING_TESTS := tests/deploy tests/fetch tests/fuzz tests/pages tests/process
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps

# What builds images, and what else it shall be told.
BUILDER ?= docker
BUILD_FLAGS ?=
# One tag for `docker run`, and the one that k8s/overlays/dev wants.
IMAGE ?= onnicorn onnicorn:dev

.DEFAULT_GOAL := help
.PHONY: help run install install-dev test check fuzz format lock bench load rehearse readme screenshots rules manifests train image clean

##@ The two commands

run: install ## Serve the models in models/ (settings: ONNICORN_* variables)
	@exec $(BIN)/gunicorn -c gunicorn.conf.py service.asgi:app

test: install-dev ## Run all tests, with branch coverage of service/
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --cov-report= --cov-fail-under 0 $(WAITING_TESTS)
	@$(BIN)/python -m pytest --cov-append $(addprefix --ignore=,$(WAITING_TESTS))

##@ While you change something

check: install-dev ## Lint, types, floors
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q --no-cov tests/unit/test_floors.py

format: install-dev ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

readme: install-dev ## Write the README's tables, docs/cli.md, the floors and the dashboard anew from the code
	@$(BIN)/python -m tools.readme
	@$(BIN)/python -m tools.cli
	@$(BIN)/python -m tools.dashboard
	@$(BIN)/python -m tools.floors

rules: install-dev ## Write the Prometheus Operator's rules anew from deploy/prometheus/rules
	@$(BIN)/python -m tools.rules

screenshots: install-dev ## Take the pictures of the pages in docs/pictures anew; needs chromium
	@$(BIN)/python -m tools.screenshots

fuzz: install-dev ## Try what nobody has sent yet, for SECONDS=60
	@FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest -q --no-cov tests/fuzz

lock: install-dev ## Pin every dependency anew, with hashes, for all platforms
	@$(BIN)/python -m tools.lock

##@ Measure

bench: install-dev ## Measure what the service costs: four minutes, on two cores that are otherwise idle
	@$(BIN)/python -m benchmarks

load: install-dev ## Measure overload and hostile traffic: 25 minutes, on two cores that are otherwise idle
	@$(BIN)/python -m benchmarks --rounds 3 overload hostile

rehearse: install ## Replace two copies behind HAProxy ten times under load: three minutes; needs haproxy, prometheus
	@$(BIN)/python -m rehearsal

##@ Deliver

image: ## Build the image; BUILDER=docker (buildah, podman), IMAGE= its names, BASE_IMAGE= what is below it
	@$(BUILDER) build $(addprefix --tag ,$(IMAGE)) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
		--build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' service/__init__.py) \
		--build-arg REVISION=$$(git describe --always --dirty --abbrev=40 2> /dev/null || echo unknown) \
		--build-arg CREATED=$$(date --utc +%Y-%m-%dT%H:%M:%SZ) $(BUILD_FLAGS) .

manifests: install-dev ## Hold the numbers of an overlay against the settings: OVERLAY=k8s/overlays/prod
	@kubectl kustomize $(or $(OVERLAY),$(error say which: OVERLAY=k8s/overlays/prod)) | $(BIN)/python -m tools.manifests

train: install-dev ## Train and export the bundled model again
	@$(BIN)/python models/digits/train.py

##@ Around it

install: $(VENV)/.runtime ## Make .venv and install what the service needs

install-dev: $(VENV)/.dev ## Add what tests and checks need

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage

help: ## Say what there is
	@awk -F ':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@echo "Installing the service's dependencies into $(VENV) ..." >&2
	@$(PIP) -r requirements.txt
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-index --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "Installing what tests and checks need into $(VENV) ..." >&2
	@$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 run" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
