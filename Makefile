# Everything a person, a hook or CI runs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
export VIRTUAL_ENV := $(CURDIR)/.venv

.PHONY: help codegen lock
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

codegen: ## generated code: Protobuf, error codes, CRDs
	PATH=$(CURDIR)/$(BIN):$$PATH PYTHONPATH=operator $(BIN)/python scripts/codegen.py
