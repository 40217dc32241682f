# Everything a person, a hook or CI runs. A newcomer needs two: `make demo` and `make test`; each sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
UV := $(BIN)/uv
DEMO := HAWSE_DEMO_CHECK=$(CHECK) HAWSE_DEMO_KIND=$(KIND) PYTHONPATH=scripts:kind $(BIN)/python -m demo
CARGO := cargo --locked
RUST := exitnode/core
export VIRTUAL_ENV := $(CURDIR)/.venv
# As pip does: trust what the machine trusts (a company's proxy, an index of its own).
export UV_SYSTEM_CERTS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Wheels and the developer's loop use one profile of the core; `make core-release` is for measurements.
CORE_SOURCES := $(shell find $(RUST) -name target -prune -o \( -name '*.rs' -o -name Cargo.toml -o -name Cargo.lock \) -print)

.PHONY: help demo try test check fuzz bench bench-scale rust go fix codegen core core-release lock wheel ci prereqs tools clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

prereqs:
	@PYTHON=$(PYTHON) scripts/prereqs.sh

# uv comes from the package index like every other tool, pinned by hash with the build backend.
.venv/.uv: requirements/build.lock | prereqs
	@echo "build: Python environment"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/build.lock
	@touch $@

.venv/.deps: .venv/.uv requirements/dev.lock
	@$(UV) pip sync -q --require-hashes requirements/dev.lock
	@touch $@

# The Rust core and the editable install, with the Go programs beside it when GO=1: one live line each.
.venv/.core: .venv/.deps pyproject.toml $(RUST)/hatch_build.py $(CORE_SOURCES)
	@$(BIN)/python scripts/build.py core
	@touch $@

core: .venv/.core ## build the environment and the data plane

core-release: .venv/.deps ## the same with the release profile: for measurements
	HAWSE_CORE_PROFILE=release $(UV) pip install -q --no-deps --no-build-isolation -e .

tools: .venv/.deps ## build everything that the demo needs, in parallel
	@$(BIN)/python scripts/build.py core go
	@touch .venv/.core

demo: prereqs .venv/.deps ## the main job before your eyes: cluster, chart, exit nodes, tunnel, agent, visitors (CHECK=1 ends by itself)
	@$(DEMO) preflight
	@$(MAKE) --no-print-directory tools
	@$(DEMO)

try: prereqs .venv/.core ## the fastest look: exit node and agent on loopback, no cluster (CHECK=1 ends by itself)
	@$(BIN)/python scripts/try.py $(if $(CHECK),--check)

test: prereqs tools ## every test; pytest's summary comes last
	cd $(RUST) && $(CARGO) test -q --workspace
	$(BIN)/python scripts/build_tools.py --verify
	$(BIN)/pytest -q

# Loader, core (release profile) and peers are built on the way and kept; .venv keeps the developer's core.
bench: prereqs .venv/.core ## the data path beside nginx, frp and rathole: about 12 minutes on a machine left alone (BENCH_ONLY, BENCH_ROUNDS)
	PYTHONPATH=tests $(BIN)/python -m bench

bench-scale: prereqs tools ## the operator with 500 to 5,000 Tunnels (SIZES=500,1000 chooses): docs/benchmarks-scale.md
	$(BIN)/python tests/bench/scale.py $(if $(SIZES),--sizes $(SIZES))

check: prereqs .venv/.core ## guards, formats, linters, types, architecture
	scripts/guards.sh
	$(BIN)/ruff format --check -q
	$(BIN)/ruff check -q
	$(BIN)/lint-imports --no-cache > .venv/lint-imports.txt || { cat .venv/lint-imports.txt; exit 1; }
	$(BIN)/mypy
	MYPYPATH=tests:operator:exitnode:kind:scripts $(BIN)/mypy --strict --explicit-package-bases tests/bench
	MYPYPATH=scripts:kind:operator:exitnode $(BIN)/mypy --strict --explicit-package-bases scripts/*.py scripts/demo kind/*.py examples/app/*.py
	PYTHONPATH=operator $(BIN)/python scripts/codegen.py --check
	$(BIN)/python -m hawse_api.crdgen --check
	$(BIN)/python -m mypy.stubtest --ignore-disjoint-bases hawse_tunnel._core
	cd $(RUST) && cargo fmt --all --check
	cd $(RUST) && $(CARGO) clippy -q --workspace --all-targets -- -D warnings
	test -z "$$(gofmt -l kind/cluster/cmd kind/cluster/internal)"

fix: .venv/.deps ## reformat and apply safe fixes
	$(BIN)/ruff format -q && $(BIN)/ruff check -q --fix && (cd $(RUST) && cargo fmt --all) && gofmt -w kind/cluster/cmd kind/cluster/internal

codegen: .venv/.deps ## renew generated code: Protobuf, error codes, CRDs
	PYTHONPATH=operator $(BIN)/python scripts/codegen.py
	PYTHONPATH=operator $(BIN)/python -m hawse_api.crdgen
	cd $(RUST) && HAWSE_REGEN=1 $(CARGO) test -q -p hawse-proto

lock: .venv/.uv ## renew requirements/*.lock (no index and no file address is written)
	for set in build dev operator exitnode agent; do scripts/lock.sh "$$set"; done

fuzz: ## every parser of foreign bytes in Rust under libFuzzer (SECONDS_EACH=30, TARGET=name); needs nightly Rust
	@scripts/fuzz.sh

# The wheel is made from the sdist, which proves the sdist complete; the shared target folder keeps the compiled crates.
wheel: .venv/.deps ## sdist and wheel into dist/
	CARGO_TARGET_DIR=$(CURDIR)/$(RUST)/target $(UV) build -q --out-dir dist

ci: check test ## what CI runs; pytest last, so that the closing line counts its tests

clean: ## remove everything that can be rebuilt
	rm -rf .venv dist build $(RUST)/target exitnode/hawse_tunnel/_core.*.so
