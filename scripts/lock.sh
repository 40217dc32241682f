#!/usr/bin/env bash
# Writes requirements/<set>.lock: every version with its hashes, for all platforms and Python >= 3.11.
# Not uv.lock, because that file records the address of the index and of every file: with another index configured
# `uv sync --locked` refuses it and `--frozen` ignores the configured index. This form works with any index, and with pip.
set -euo pipefail
uv=${UV:-.venv/bin/uv}
common=(pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header -p 3.11)
case $1 in
  build) args=(requirements/build.in) ;;
  dev) args=(--all-extras --group dev requirements/build.in pyproject.toml) ;;
  agent) args=(pyproject.toml) ;;
  operator | exitnode) args=(--extra "$1" pyproject.toml) ;;
esac
"$uv" "${common[@]}" "${args[@]}" -o "requirements/$1.lock"
! grep -nE 'https?://' "requirements/$1.lock"
