# Two commands matter: `make up` brings everything up and answers a real request; `make test` proves it.
.DEFAULT_GOAL := help
.PHONY: help up down test check format bench soak lock
SHELL := /bin/bash
BIN := .venv/bin

help:           ## what there is
	@grep -E '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

up: .venv/ready ## a whole platform on this machine, an endpoint declared, a real request answered
	@$(BIN)/python -m holdfast_sandbox demo

down: .venv/ready ## stop it and forget it (what was built or installed for it stays)
	@$(BIN)/holdfast sandbox down --purge

test: .venv/ready ## everything: check, unit, services, engine, cluster; the time of each at the end
	@$(BIN)/python tests/run.py

check: .venv/ready ## formatter, linter, types, import contracts
	@$(BIN)/python tests/run.py check

format: .venv/ready ## let the formatter and the linter mend what they can
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: .venv/ready ## the table of ratios, all in one run
	@$(BIN)/python -m bench

soak: .venv/ready ## ten minutes of load with random kills; accepted must equal completed
	@$(BIN)/python -m bench.soak

lock: .venv/ready ## renew the lock files after editing pyproject.toml
	@requirements/compile

.venv/ready: requirements/bootstrap.lock requirements/all.lock pyproject.toml
	@requirements/install
