#!/bin/bash
# The demo in its short form, as `make check` has it: words are counted while workers and the daemon are killed with -9,
# once with barriers that wait, once with counters that are too slow and barriers that go ahead of all that is queued.
#
#   tests/demo/run.sh [BUILD]
set -u
cd "$(dirname "$0")/../.." || exit 1
export B=${1:-${B:-build}} BYTES=4M TIMES=0
log=$B/demo/short
mkdir -p "$B/demo"
tests/demo.sh >"$log.aligned.log" 2>&1 &
aligned=$!
trap 'kill $aligned $unaligned 2>/dev/null' INT TERM HUP
UNALIGNED=1 tests/demo.sh >"$log.unaligned.log" 2>&1 &
unaligned=$!
failed=0
for run in aligned unaligned; do
    if wait "${!run}"; then tail -n 1 "$log.$run.log"; else failed=1; cat "$log.$run.log"; fi
done
exit $failed
