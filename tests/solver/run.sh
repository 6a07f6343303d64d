#!/bin/bash
# The solver example, killed and compared: several processes compute a plate step by step and are cut by rendezvous
# rounds, while workers and the daemon are killed with -9; at the end the plate is the one that a single process
# computes alone, bit for bit.
#
#   tests/solver/run.sh [BUILD]         a few seconds, as `make check` has it
#   BLOCKS=6 SIZE=600 STEPS=4000 KILLS=30 tests/solver/run.sh     longer: `make demo-solver`
#
# PAUSE: us that each step takes beside its work. KEEP=1 leaves the folder. SEED repeats the choices of whom to kill.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(realpath "${1:-${B:-build}}")
solver=$build/client/examples/solver/solver
BLOCKS=${BLOCKS:-4} SIZE=${SIZE:-96} STEPS=${STEPS:-1500} KILLS=${KILLS:-6} PAUSE=${PAUSE:-1500} SEED=${SEED:-$RANDOM}
RANDOM=$SEED
work=$(mktemp -d "${TMPDIR:-/tmp}/tidemark-solver-XXXXXX") || exit 1
daemon='' supervisors=()

cannot() {
    echo "solver: FAILED (SEED=$SEED): $*"
    tail -n 20 "$work"/*.log 2>/dev/null
    exit 1
}
end() {
    kill "${supervisors[@]}" 2>/dev/null
    kill -9 $daemon $(cat "$work"/pid.* 2>/dev/null) 2>/dev/null
    [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap end EXIT
trap 'exit 1' INT TERM HUP

until_() { # SECONDS COMMAND...: waits until it succeeds
    local tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.05
    done
}
tidemark() { "$build/tidemark" "$@" --data "$work/data"; }
start_daemon() { # always on the port of the first time: workers know no other
    "$build/tidemarkd" --data "$work/data" --listen "127.0.0.1:$(cat "$work/port" 2>/dev/null || echo 0)" \
        2>>"$work/tidemarkd.log" &
    daemon=$!
    disown
    until_ 20 tidemark status || cannot "tidemarkd does not start"
    [ -e "$work/port" ] || cp "$work/data/port" "$work/port"
}
kill_daemon() { # until it is gone it has the port and the data, which the next one needs
    kill -9 "$daemon"
    until_ 20 gone "$daemon" || cannot "tidemarkd outlives kill -9"
}
gone() { ! kill -0 "$1"; }
supervise() { # BLOCK: whoever dies is started again
    until "$solver" "$1" --blocks "$BLOCKS" --size "$SIZE" --steps "$STEPS" --out "$work/plate" --interval 50 \
        --pause "$PAUSE" --connect "127.0.0.1:$(cat "$work/port")" 2>>"$work/solver.$1.log" & echo $! >"$work/pid.$1"; wait $!; do
        sleep 0.05
    done
}
completed() { # that a further checkpoint has completed since there were $1
    [ "$(complete)" -gt "$1" ]
}
complete() { tidemark rounds solver --json --limit 1000 | grep -c '"state": *"complete"'; }
job_is() { tidemark jobs --json | grep -q "\"state\": *\"$1\""; }

refused() { # what the message must name, then the arguments
    local want=$1 said
    shift
    said=$("$solver" "$@" 2>&1) && cannot "$*: is not refused"
    [[ $said == *"$want"* ]] || cannot "$*: does not name '$want': $said"
}
refused usage --out "$work/x"
refused usage 0
refused 'block x' x --out "$work/x"
refused 'block 4 of 4' 4 --blocks 4 --out "$work/x"
refused '--size 2' 0 --size 2 --out "$work/x"
refused 'and 3 rows' 0 --blocks 4 --size 3 --out "$work/x"

"$solver" plain --size "$SIZE" --steps "$STEPS" --out "$work/alone" || cannot "it does not run alone"
start_daemon
for ((i = 0; i < BLOCKS; i++)); do
    supervise "$i" 2>/dev/null & # the shell says "Killed" there
    supervisors+=($!)
    disown
done

# Each time a round has completed somebody is killed: a worker, now and then two at once, now and then the daemon.
for ((i = 0; i < KILLS; i++)); do
    n=$(complete)
    until_ 60 completed "$n" || cannot "no round completes"
    ! job_is FINISHED || cannot "it was over before it could be killed $KILLS times: more STEPS"
    case $((i % 3)) in
    2) kill_daemon; start_daemon ;;
    *) for ((k = 0; k <= i % 2; k++)); do kill -9 "$(cat "$work/pid.$((RANDOM % BLOCKS))")" 2>/dev/null; done ;;
    esac
done
until_ 300 job_is FINISHED || cannot "it does not finish"

cat "$work/alone.0" >"$work/want"
for ((i = 0; i < BLOCKS; i++)); do
    until_ 20 test -e "$work/plate.$i" || cannot "block $i has left no result"
    cat "$work/plate.$i"
done >"$work/have"
cmp "$work/want" "$work/have" || cannot "the result is another"
rewinds=$(cat "$work"/solver.*.log | grep -c ': back from step')
middle=$(grep -h 'restored at step' "$work"/solver.*.log | grep -vc 'step 0$')
[ "$middle" -ge "$BLOCKS" ] || cannot "nobody was restored in the middle ($middle)"
aborted=$(tidemark rounds solver --json --limit 1000 | grep -c '"state": *"aborted"')
echo "solver: OK: $BLOCKS blocks, $STEPS steps, $KILLS kills (SEED=$SEED): $(complete) rounds complete, $aborted aborted," \
    "$rewinds times back, $middle blocks restored in the middle, the same result as one process alone"
