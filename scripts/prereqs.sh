#!/usr/bin/env bash
# Checks what `make` cannot install by itself and names the fix for each thing that is missing. Called by every recipe.
set -uo pipefail
missing=0
say() { printf 'make: %s\n      fix: %s\n' "$1" "$2" >&2; missing=1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }

python=${PYTHON:-}
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  say "Python 3.11 or later is needed" "install python3.11 (Debian: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3"
elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  say "$python has no venv or no pip" "Debian: apt-get install python3-venv"
fi

# An empty HOME hides a toolchain that rustup keeps elsewhere: RUSTUP_HOME names it.
if ! command -v cargo >/dev/null || ! version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || [ -z "$version" ]; then
  say "cargo (Rust 1.85 or later) is needed" "install Rust with rustup (rustup.rs), or set RUSTUP_HOME to an existing installation"
elif ! at_least 1.85.0 "$version"; then
  say "Rust 1.85 or later is needed, found $version" "rustup update stable"
fi

if ! command -v go >/dev/null; then
  say "Go 1.26 or later is needed" "install it from your distribution or go.dev, and put its bin folder on PATH"
else
  version=$(go env GOVERSION 2>/dev/null | sed 's/^go//; s/ .*//')
  at_least 1.26 "$version" || say "Go 1.26 or later is needed, found $version" "install a newer Go and put its bin folder first on PATH"
fi

for tool in cc git curl; do
  command -v $tool >/dev/null || say "$tool is needed" "Debian: apt-get install $([ $tool = cc ] && echo 'gcc libc6-dev' || echo $tool)"
done

# The fleet's name server, for the demo's DNS step and its tests; both say so and go on without it. Root of a Debian
# machine gets it installed, once.
packages=(pdns-server pdns-backend-sqlite3 sqlite3)
if [ "$missing" = 0 ] && ! { [ -x /usr/sbin/pdns_server ] && [ -d /usr/share/pdns-backend-sqlite3 ] && command -v sqlite3 >/dev/null; } \
  && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "prereqs: installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  install=(timeout 240 apt-get install -qq -y --no-install-recommends "${packages[@]}")
  "${install[@]}" >/dev/null 2>&1 || { timeout 120 apt-get update -qq >/dev/null 2>&1; "${install[@]}" >/dev/null 2>&1; } \
    || echo "prereqs: not installed; the DNS step of the demo is left out" >&2
fi
exit $missing
