#!/bin/bash
# fuzz.sh SECONDS [TARGET...]: each fuzz target for so long, from its corpus. What it finds new
# stays in build/fuzz/corpus; an input that fails is left in build/fuzz and named. KEEP=1 adds to the
# corpus in tests/fuzz, of what was found, the inputs of at most 4 KiB that reach more.
set -euo pipefail
seconds=$1
shift
unset MAKEFLAGS MFLAGS MAKELEVEL B
build=build/fuzz
make --no-print-directory -j"$(nproc)" fuzzers B=$build CC=clang SAN=address,undefined,fuzzer-no-link \
    FUZZER=-fsanitize=fuzzer REPLAY=
failed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    mkdir -p $build/corpus/"$name" tests/fuzz/"$name".corpus
    echo "fuzz: $name for $seconds s"
    args=()
    [ ! -e tests/fuzz/"$name".dict ] || args+=(-dict=tests/fuzz/"$name".dict)
    if ! $build/tests/fuzz/"$name" -max_total_time="$seconds" -timeout=60 -print_final_stats=1 -rss_limit_mb=2048 \
        -artifact_prefix=$build/"$name"- "${args[@]}" $build/corpus/"$name" tests/fuzz/"$name".corpus >$build/"$name".log 2>&1; then
        tail -n 40 $build/"$name".log
        failed=1
    fi
    grep -hE '^stat::number_of_executed_units|^artifact_prefix' $build/"$name".log || true
    grep -h ' cov: ' $build/"$name".log | tail -n 1 || true
    [ -z "${KEEP:-}" ] || $build/tests/fuzz/"$name" -merge=1 -use_counters=0 -max_len=4096 tests/fuzz/"$name".corpus \
        $build/corpus/"$name" >$build/"$name".merge.log 2>&1
done
exit $failed
