#!/bin/bash
# The same seeds give the same histories whatever compiled them.
#
#   tests/sim/same.sh [SEEDS [SIM...]]      300 seeds, gcc -O2 and clang -O0; or of these programs
set -u
cd "$(dirname "$0")/../.." || exit 1
seeds=${1:-300}
[ $# = 0 ] || shift
sims=("$@")
if [ $# = 0 ]; then
    make -s -j2 B=build/same/gcc CC=gcc CFLAGS=-O2 build/same/gcc/tests/sim/sim >/dev/null || exit 1
    make -s -j2 B=build/same/clang CC=clang CFLAGS=-O0 build/same/clang/tests/sim/sim >/dev/null || exit 1
    sims=(build/same/gcc/tests/sim/sim build/same/clang/tests/sim/sim)
fi
[ ${#sims[@]} -ge 2 ] || { echo 'same: FAILED: nothing to compare with'; exit 1; }
same=
for sim in "${sims[@]}"; do
    hash=$("$sim" --first 1 --seeds "$seeds" | sed -n "s/^sim: OK: $seeds seeds .*hash \([0-9a-f]*\),.*/\1/p")
    [ -n "$hash" ] || { echo "same: FAILED: $sim does not get through $seeds seeds"; exit 1; }
    [ "${same:=$hash}" = "$hash" ] || { echo "same: FAILED: $sim has hash $hash, ${sims[0]} $same"; exit 1; }
done
echo "same: OK: $seeds seeds, hash $same, ${#sims[@]} programs"
