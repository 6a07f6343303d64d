#!/bin/bash
# The demo: counts the words of real text with the wordcount example while its workers and the daemon are killed
# with -9, and compares the result with coreutils, byte for byte. Called by `make demo`.
#
#   [B=build] [BYTES=200M] [SEED=n] [TIMES=1] [UNALIGNED=1] [KEEP=1] tests/demo.sh
#
# TIMES: how often the plan of kills, freezes and so on is gone through; 0: a short one of a few seconds, with BYTES=4M as `make
# check` has it. UNALIGNED=1: with counters that are too slow, so that
# all queues are full, and checkpoints whose barriers go ahead of what is queued; UNALIGNED=timeout: only of those that take long;
# UNALIGNED=0 ALIGNED=1: the same slow counters, and barriers that wait.
#
# Needs in $B: tidemarkd, tidemark, client/examples/wordcount/wordcount. Its driver, tests/demo/*.c, is compiled
# into $B/demo here if make has not done so. Needs no Python. Everything is below $B/demo and removed after a
# success, unless KEEP is set. Ends with `demo: OK` and the numbers, or `demo: FAILED`, the reason and
# exit code 1.
set -u
cd "$(dirname "$0")/.." || exit 1
B=${B:-build}
BYTES=${BYTES:-200M}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}

failed() {
    echo "demo: FAILED: $*"
    exit 1
}

for program in tidemarkd tidemark client/examples/wordcount/wordcount; do
    [ -x "$B/$program" ] || failed "$B/$program is missing: run make"
done
bytes=$(numfmt --from=iec "$BYTES" 2>/dev/null) || failed "BYTES=$BYTES: must be a number, with K, M or G"
[ "$bytes" -ge 1048576 ] || failed "BYTES=$BYTES: less than 1M is counted before it can be killed in the middle"
[[ $SEED =~ ^[0-9]{1,18}$ ]] || failed "SEED=$SEED: must be a number"

mkdir -p "$B/demo" || exit 1
build=$(cd "$B" && pwd)
driver=$build/demo/driver
if [ ! -x "$driver" ] || [ -n "$(find tests/demo -newer "$driver" -name '*.[ch]')" ]; then
    "${CC:-cc}" -std=c11 -D_GNU_SOURCE -O1 -g -I. -o "$driver.$$" tests/demo/*.c &&
        mv "$driver.$$" "$driver" || failed "the driver does not compile"
fi

work=$(mktemp -d "$build/demo/run-XXXXXX") || exit 1
driver_pid=
stop() {
    [ -n "$driver_pid" ] && kill "$driver_pid" 2>/dev/null && wait "$driver_pid" 2>/dev/null
    rm -rf "$work/input" "$work/text"
}
trap 'stop; exit 1' INT TERM HUP

# Licences and copyright files are on every Debian machine; as often as it takes.
find -L /usr/share/common-licenses /usr/share/doc/*/copyright -type f -size +0 2>/dev/null |
    LC_ALL=C sort -u | tr '\n' '\0' | xargs -0 cat >"$work/text"
size=$(stat -c %s "$work/text")
[ "$size" -gt 0 ] || failed "no text in /usr/share/common-licenses and /usr/share/doc"
times=$((bytes / size + 1))
for ((i = 0; i < times; i++)); do cat "$work/text"; done | head -c "$bytes" >"$work/input"
[ "$(stat -c %s "$work/input")" = "$bytes" ] || failed "no room for $bytes bytes in $work"

echo "demo: BYTES=$BYTES SEED=$SEED: $bytes bytes of licences and copyright files ($size bytes, $times times)"
barriers=
case ${UNALIGNED:-} in
'' | 0) [ -z "${ALIGNED:-}" ] || barriers=aligned ;;
timeout) barriers=timeout ;;
*) barriers=unaligned ;;
esac
"$driver" "$build" "$work" "$work/input" "$SEED" "${TIMES:-1}" $barriers &
driver_pid=$!
wait "$driver_pid"
code=$?
driver_pid=
if [ "$code" = 0 ]; then
    [ -n "${KEEP:-}" ] || rm -rf "$work"
else
    echo "demo: the same again: make demo BYTES=$BYTES SEED=$SEED${UNALIGNED:+ UNALIGNED=$UNALIGNED}${ALIGNED:+ ALIGNED=$ALIGNED}"
fi
exit "$code"
