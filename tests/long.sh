#!/bin/bash
# long.sh: `make check-long`: sizes and spans too long for the gate; an hour and a half on two cores.
#
# Every step runs; the summary comes last. STEPS="sim demo" picks, DEMOS, SEEDS and KILLS size them.
set -uo pipefail
unset MAKEFLAGS MFLAGS MAKELEVEL
failed=0
summary=()

step_sim() { make --no-print-directory sim FIRST=20001 SEEDS="${SEEDS:-1000000}"; }
step_demo() { # five of the default size, forty-five small ones, each with a seed of its own
    local seed bad=0
    for seed in $(seq 1 "${DEMOS:-50}"); do
        make --no-print-directory demo SEED="$seed" BYTES="$([ "$seed" -le 5 ] && echo 200M || echo 10M)" |
            tail -n 1 || bad=$((bad + 1))
    done
    echo "$bad of ${DEMOS:-50} demos failed"
    [ $bad = 0 ]
}
step_kill() { # the daemon, a thousand times, under a job on real disks; then with states that fill the journal
    local kills=${KILLS:-1000}
    make --no-print-directory build/tests/kill/run.ok || return
    KILLS=$kills SEED="${SEED:-$RANDOM}" sh tests/kill/run.sh build &&
        KILLS=$((kills / 5)) SEED="${SEED:-$RANDOM}" STATE=300000 sh tests/kill/run.sh build
}
step_plants() { bash tests/sim/plants.sh build/plants; }
step_fuzz() { bash tests/fuzz/fuzz.sh 300; }
step_repeat() { # tests with real time in them, again and again beside each other
    local n
    for n in $(seq 20); do
        rm -f build/tests/daemon/*.ok build/tests/client/*.ok build/tests/cli/*.ok
        make --no-print-directory check || { echo "failed in try $n of 20"; return 1; }
    done
}
step_lint() { NODES=225000 make --no-print-directory B=build/lint lint; } # as far as the analyzer goes, see tests/lint.sh
step_cover() { make --no-print-directory cover; }
step_bench() { make --no-print-directory bench; }

for step in ${STEPS:-sim plants repeat kill fuzz demo lint cover bench}; do
    began=$SECONDS
    echo "long: $step"
    if (step_"$step"); then result=ok; else result=FAILED failed=1; fi
    summary+=("$(printf '  %-8s %-7s %5d s' "$step" $result $((SECONDS - began)))")
done
printf '%s\n' 'long: summary' "${summary[@]}"
exit $failed
