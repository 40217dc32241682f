#!/usr/bin/env bash
# Runs every fuzz target (exitnode/core/fuzz) under libFuzzer for SECONDS_EACH seconds, or the one named by TARGET.
# Needs a nightly Rust toolchain and a C++ compiler; cargo-fuzz is not needed. What it finds stays in
# exitnode/core/target/fuzz/<target>/crash-*: put it among the seeds, which every `cargo test` replays.
set -euo pipefail
cd "$(dirname "$0")/../exitnode/core"

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: no nightly Rust toolchain (rustup toolchain install nightly). The same targets run on stable," >&2
    echo "      without coverage: cd exitnode/core && cargo test -p hawse-fuzz --release" >&2
    exit 1
fi
command -v c++ >/dev/null || { echo "fuzz: no C++ compiler, which libFuzzer is built with (Debian: g++)" >&2; exit 1; }

# What cargo-fuzz sets, without a sanitizer: the code is safe Rust, so panics are what is looked for.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks" \
    cargo +nightly --locked build -q --release -p hawse-fuzz --features libfuzzer --bin libfuzzer \
    --target x86_64-unknown-linux-gnu --target-dir target/fuzz/build

fuzzer=target/fuzz/build/x86_64-unknown-linux-gnu/release/libfuzzer
for seeds in fuzz/seeds/*/; do
    name=$(basename "$seeds")
    [[ -z "${TARGET:-}" || "$TARGET" == "$name" ]] || continue
    mkdir -p "target/fuzz/$name/corpus"
    HAWSE_FUZZ_TARGET=$name "$fuzzer" -max_total_time="${SECONDS_EACH:-30}" -max_len=8192 -timeout=5 -rss_limit_mb=1024 \
        -artifact_prefix="target/fuzz/$name/" "target/fuzz/$name/corpus" "$seeds" 2>"target/fuzz/$name/log" \
        || { tail -n 40 "target/fuzz/$name/log" >&2; echo "fuzz: $name FAILED" >&2; exit 1; }
    echo "fuzz: $name: $(grep -oE 'Done [0-9]+ runs in [0-9]+ second' "target/fuzz/$name/log")s, no finding"
done
