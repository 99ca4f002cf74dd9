#!/bin/sh
# Builds every target and runs each for SECONDS; fails when one finds something. The same seed every time: a
# change is judged, not luck.
set -eu
seconds=${1:?usage: fuzz/smoke.sh SECONDS [TARGET...]}
shift
cd "$(dirname "$0")"
cargo fuzz build --sanitizer none
./seed.sh
for target in ${*:-$(cargo fuzz list)}; do
    echo "== $target"
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -max_len=65536 -timeout=10 \
        -rss_limit_mb=2048 -seed=1 -dict=tokens.dict -print_final_stats=1 -verbosity=0
done
