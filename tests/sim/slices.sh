#!/bin/bash
# Many seeds, in slices, with low priority: one line for each, with the commit that it is of.
#
#   tests/sim/slices.sh BUILD SEEDS [FIRST [SLICE]]      build/x 1000000 1 50000
#   ALL=1 tests/sim/slices.sh BUILD SEEDS                goes on after a seed that fails
set -u
cd "$(dirname "$0")/../.." || exit 1
[ $# -ge 2 ] || { echo "usage: tests/sim/slices.sh BUILD SEEDS [FIRST [SLICE]]" >&2; exit 2; }
sim=$1/tests/sim/sim left=$2 first=${3:-1} slice=${4:-50000} failed=0
make -s B="$1" "$sim" >/dev/null || exit 1
commit=$(git rev-parse --short HEAD)
while [ "$left" -gt 0 ]; do
    n=$((left < slice ? left : slice))
    out=$(nice -n 19 "$sim" --first "$first" --seeds "$n" --jobs "$(nproc)" ${ALL:+--all})
    rc=$?
    echo "$commit $(printf '%s\n' "$out" | tail -1)"
    [ $rc = 0 ] || { printf '%s\n' "$out" | grep -A1 BROKEN; failed=1; }
    [ $failed = 0 ] || [ -n "${ALL:-}" ] || exit 1
    first=$((first + n)) left=$((left - n))
done
exit $failed
