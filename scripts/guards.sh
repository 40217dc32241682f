#!/usr/bin/env bash
# Rules of the tree that no linter knows. Needs git and nothing else; the first line of `make check` and of the hooks.
set -euo pipefail
fail() { echo "guard: $1" >&2; exit 1; }

# With an operator/__init__.py, or a test collected there, the standard library's module `operator` is shadowed.
[ ! -e operator/__init__.py ] || fail "operator/__init__.py shadows the standard library's operator: remove it"
[ -z "$(find operator -name conftest.py -o -name 'test_*.py')" ] || fail "tests belong into tests/, never below operator/"

# Lock files are the same for every index.
locks=$(git ls-files 'requirements/*.lock' '*package-lock.json' '*go.sum')
if [ -n "$locks" ] && grep -nE 'https?://' $locks; then fail "a lock file carries an address (requirements: run make lock)"; fi

# No file over 500 lines, generated ones and locks aside: split it by subject.
git ls-files '*.py' '*.rs' '*.go' | grep -vE '_pb2|proto/src/gen/' | while read -r file; do
  [ -e "$file" ] || continue
  lines=$(wc -l <"$file")
  [ "$lines" -le 500 ] || fail "$file has $lines lines: split it"
done
