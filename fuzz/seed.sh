#!/bin/sh
# Fills fuzz/corpus/TARGET/ with the files of tests/data; what a fuzzer found there before is kept.
set -eu
cd "$(dirname "$0")"
cargo run --quiet --example seed
