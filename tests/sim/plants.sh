#!/bin/bash
# Proof that the simulator can see: builds it once for each planted fault and counts the seeds until it is found.
#
#   tests/sim/plants.sh [BUILD [LIMIT]]             build/plants, 20000
#   FAULTS="ACK_COUNT STARVE" tests/sim/plants.sh   these alone
#   STARTS="1" tests/sim/plants.sh                  from these seeds on
#   NONE=build tests/sim/plants.sh                  with a build that is there as the one without any
#
# Each fault is one condition in the shipped code, PLANTED(NAME) of proto/plant.h, false in a normal build. Each is hunted from several
# first seeds on: the median says how well it is seen, not how lucky seed 1 is. Fails when one is not found within LIMIT seeds from
# any of them, or when the build without any finds something.
set -u
cd "$(dirname "$0")/../.." || exit 1
B=${1:-build/plants}
LIMIT=${2:-20000}
STARTS=${STARTS:-1 100001 200001 300001 400001}
FAULTS=${FAULTS:-$(sed -n 's/^ *PLANT_\([A-Z_]*\),.*/\1/p' proto/plant.h)}

NONE=${NONE:-$B/none}
make -s -j2 B="$NONE" "$NONE/tests/sim/sim" >/dev/null || exit 1

# seeds SIM START: how many seeds until something is found, and what; nothing when nothing is
seeds() {
    "$1" --first "$2" --seeds "$LIMIT" --jobs 1 2>/dev/null |
        sed -n 's/^sim: seed \([0-9]*\): BROKEN: \(.*\)/\1 \2/p' | head -1 |
        { read -r seed what && echo "$((seed - $2 + 1)) $what"; }
}

# What does not know of the fault is built once.
hunt() {
    local d=$B/$1 sim=$B/$1/tests/sim/sim counts='' what='' found missed=''
    rm -rf "$d" && mkdir -p "$d" && cp -a "$NONE"/{proto,storage,daemon,client,tests} "$d/" || return 1
    (cd "$d" && rm -f $(cd - >/dev/null && grep -lw "PLANTED($1)" daemon/core/*.c client/*.c tests/sim/*.c | sed 's/\.c$/.o/') tests/sim/sim)
    make -s B="$d" CPPFLAGS="-DTIDE_PLANT_$1" "$sim" >/dev/null || return 1
    for start in $STARTS; do
        found=$(seeds "$sim" "$start")
        [ -n "$found" ] || { missed=yes && found="$LIMIT"; }
        counts="$counts ${found%% *}"
        [ -n "$what" ] || [ -z "${found#* }" ] || what=${found#* }
    done
    rm -rf "$d"
    set -- "$1" $(printf '%s\n' $counts | sort -n)
    local name=$1 n=$(($# - 1))
    shift $(((n + 1) / 2))
    printf '%-18s %8s %8s  %s\n' "$name" "$1" "${!#}" "${missed:+NOT FOUND within $LIMIT seeds at times; }$what"
    [ -z "$missed" ]
}
export -f hunt seeds
export B LIMIT STARTS NONE

clean=$(seeds "$NONE/tests/sim/sim" 1)
[ -z "$clean" ] || { echo "plants: FAILED: without any fault seed ${clean%% *}: ${clean#* }" && exit 1; }
printf '%-18s %8s %8s  %s\n' fault median most 'found as'
if printf '%s\n' $FAULTS | xargs -P 2 -I{} bash -c 'hunt {}'; then
    echo "plants: OK: $(echo $FAULTS | wc -w) faults, nothing in $LIMIT seeds without them"
else
    echo 'plants: FAILED'
    exit 1
fi
