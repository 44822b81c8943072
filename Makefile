# `make demo` and `make test` each work as the first command on a bare machine with Python 3.11 or newer.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# The first of these that is Python 3.11 or newer makes .venv.
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PYTEST_ARGS ?=

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/runtime  ## watch 4200 people being mailed over 23 warm-up days, in about a minute
	$(BIN)/rampa demo

setup: .venv/runtime  ## .venv with the command `rampa`
	@echo "ready: $(BIN)/rampa --help"

test: .venv/dev packages kafka  ## everything that tests need, then the tests
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: .venv/dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for f in $$(git ls-files '*conftest.py'); do MYPYPATH=tests $(BIN)/mypy --exclude '^$$' $$f || exit 1; done

compiled: .venv/dev  ## build/compiled: the same tree, what is done for each message compiled to C
	@bash .ci/packages compiler
	@echo "compiling (about a minute)"
	@rm -rf build/compiled && mkdir -p build
	@WITH_MYPYC=1 $(BIN)/python setup.py -q build --build-lib build/compiled --build-temp build/temp >build/compiled.log 2>&1 \
	  || { tail -n 30 build/compiled.log >&2; exit 1; }

test-compiled: compiled packages kafka  ## the sender's tests and some campaigns on that tree
	PYTHONPATH=$(CURDIR)/build/compiled PYTHONSAFEPATH=1 EXPECT_COMPILED=1 $(BIN)/pytest -n 2 --dist loadfile $(COMPILED_TESTS) $(PYTEST_ARGS)

COMPILED_TESTS := tests/test_compiled.py tests/sender tests/sender_smtp tests/sender_message tests/sender_ses tests/flow/test_one_campaign.py \
  tests/flow/test_takeover.py tests/flow/test_chaos.py tests/flow/test_meetup.py

chaos: .venv/dev packages kafka  ## long runs with processes killed and suspended at random
	$(BIN)/pytest -m chaos -o timeout=5400 $(PYTEST_ARGS)

bench: compiled packages kafka  ## measure; results go to bench/results/
	for b in startup messages planning gate simulator_speed planning_kafka send journal whole_pipeline; do $(BIN)/python bench/$$b.py || exit 1; done

kafka: .venv/runtime  ## fetch Apache Kafka's jars into .kafka
	@$(BIN)/python -m streams.brokers.local fetch || { test -z "$$CI" && echo "!! without Apache Kafka its tests are skipped" >&2; }

packages:  ## as root on Debian: Java, Maven, Postfix's test tools, kcat
	@bash .ci/packages

lock: .venv/runtime  ## pin the newest dependencies
	$(BIN)/uv pip compile -q -U $(LOCK) requirements/build.in -o requirements/build.txt
	$(BIN)/uv pip compile -q -U $(LOCK) pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile -q -U $(LOCK) pyproject.toml --extra dev -c requirements/runtime.txt -o requirements/dev.txt

LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
PIP = $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes

.venv/python:
	@test -n "$(PYTHON)" || { echo "rampa needs Python 3.11 or newer: none of $(PYTHONS) is" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || bash .ci/packages venv
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/runtime: requirements/runtime.txt requirements/build.txt pyproject.toml | .venv/python
	@echo "installing what rampa needs (about a minute the first time)"
	@$(PIP) -r requirements/build.txt -r requirements/runtime.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements/dev.txt | .venv/runtime
	@echo "installing what its tests need"
	@$(PIP) -r requirements/dev.txt
	@touch $@

clean:  ## remove .venv, caches and .kafka
	rm -rf .venv .kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

.PHONY: help demo setup test test-compiled compiled lint chaos bench kafka packages lock clean
