# Two commands on a fresh machine: make run, make test. Python 3.13 is all they need.
SHELL := /bin/sh
.PHONY: setup run test proof check bench
PYTHON := .venv/bin/python

setup:  ## environment, packages, Azurite, kernels: what is missing or out of date
	@.ci/setup

run: setup  ## all of it, with simulated pumps and a live table
	@$(PYTHON) -m local_emulator run

test: setup  ## all tests; no test is a failure too
	@.ci/test

MINUTES := 12
SEEDS := 1..100000
proof: setup  ## the long proofs, for MINUTES or as many SEEDS
	@$(PYTHON) -m tests.proof --minutes $(MINUTES) --seeds $(SEEDS)

check: setup  ## lint, types, import rules
	@.ci/check

bench: setup  ## every benchmark, one after the other
	@.ci/bench
