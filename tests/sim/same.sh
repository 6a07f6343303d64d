#!/bin/bash
# The same seeds give the same histories whatever compiled them: gcc -O2 and clang -O0.
#
#   tests/sim/same.sh [BUILD [SEEDS]]      build/same, 300
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${1:-build/same} seeds=${2:-300}
hash() {
    make -s -j2 B="$B/$1" CC="$1" CFLAGS="$2" "$B/$1/tests/sim/sim" >/dev/null || return 1
    "$B/$1/tests/sim/sim" --first 1 --seeds "$seeds" | sed -n 's/.*hash \([0-9a-f]*\),.*/\1/p'
}
a=$(hash gcc -O2) && b=$(hash clang -O0) || exit 1
[ -n "$a" ] && [ "$a" = "$b" ] && echo "same: OK: $seeds seeds, hash $a" && exit 0
echo "same: FAILED: gcc -O2 has $a, clang -O0 $b"
exit 1
