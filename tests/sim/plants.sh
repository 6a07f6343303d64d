#!/bin/bash
# Proof that the simulator can see: builds it once for each planted fault and counts the seeds until it is found.
#
#   tests/sim/plants.sh [BUILD [LIMIT]]     build/plants, 20000
#
# Each fault is one condition in the shipped code, PLANTED(NAME) of proto/plant.h, false in a normal build. Fails when one is not
# found within LIMIT seeds, or when the build without any finds something.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${1:-build/plants}
LIMIT=${2:-20000}
FAULTS="ACK_COUNT TELL_EARLY STALE_ACK LEAVE_OUT EARLY_SNAPSHOT REUSE_ID NO_LEASE DELETE_EARLY DROP_PRECOMMIT ABORT_COMMITTING"
bad=0

make -s -j2 B="$B/none" "$B/none/tests/sim/sim" || exit 1
planted=$(grep -l 'PLANTED(' daemon/core/*.c client/*.c tests/sim/*.c | sed 's/\.c$/.o/')

printf '%-18s %8s  %s\n' fault seed 'found as'
for fault in none $FAULTS; do
    d=$B/$fault
    if [ "$fault" != none ]; then # what does not know of the fault is built once
        mkdir -p "$d" && cp -a "$B/none/." "$d/" || exit 1
        (cd "$d" && rm -f $planted tests/sim/sim)
        make -s -j2 B="$d" CPPFLAGS="-DTIDE_PLANT_$fault" "$d/tests/sim/sim" || exit 1
    fi
    out=$("$d/tests/sim/sim" --first 1 --seeds "$LIMIT" --jobs 1 2>/dev/null)
    found=$(printf '%s\n' "$out" | sed -n 's/^sim: seed \([0-9]*\): BROKEN: \(.*\)/\1  \2/p' | head -1)
    if [ "$fault" = none ]; then
        [ -z "$found" ] && printf '%-18s %8s  %s\n' "$fault" - "nothing in $LIMIT seeds, as it should be" && continue
        printf '%-18s %8s  %s\n' "$fault" "${found%%  *}" "${found#*  }"
        bad=1
    elif [ -n "$found" ]; then
        printf '%-18s %8s  %s\n' "$fault" "${found%%  *}" "${found#*  }"
    else
        printf '%-18s %8s  %s\n' "$fault" - "NOT FOUND in $LIMIT seeds"
        bad=1
    fi
    [ "$fault" = none ] || rm -rf "$d"
done
[ $bad = 0 ] && echo 'plants: OK' || echo 'plants: FAILED'
exit $bad
