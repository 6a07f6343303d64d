#!/bin/bash
# run.sh BUILD: what released versions left (VERSION/*.tar.gz, see README.md there) is migrated and
# restored by the programs in BUILD: the daemon starts on the old database, lists and verifies both
# snapshots; the job goes on from the checkpoint, and what it has published at its end is right.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1")
. tests/golden/job.sh
take_root

none_left() { ! kill -0 "${pids[@]}" 2>/dev/null; }
told() { cat "$root"/*.log >&2; cannot "$1"; }
go_on() { # VERSION/WHAT.tar.gz
    local checkpoint savepoint number
    rm -rf "${root:?}"/* && tar -C "$root" -xzf "tests/golden/$1"
    start_daemon
    checkpoint=$(newest checkpoint) savepoint=$(newest savepoint)
    [ -n "$checkpoint" ] && [ -n "$savepoint" ] || told "$1: not a checkpoint and a savepoint: $(tidemark snapshots)"
    for number in "$checkpoint" "$savepoint"; do
        tidemark snapshot verify "$number" >/dev/null || told "$1: snapshot $number is damaged"
    done

    start_workers
    until_ 30 all_say ": restored attempt [0-9]* from snapshot $checkpoint\$" || told "$1: $checkpoint is not restored"
    until_ 60 none_left || told "$1: the job does not end"
    LC_ALL=C tr -cs A-Za-z '\n' <"$root/input" | LC_ALL=C sort | uniq -c >"$root/expected"
    "$build/client/examples/wordcount/wordcount" sum "$root/parts" >"$root/counted"
    cmp "$root/expected" "$root/counted" || told "$1: the count is wrong"
    tidemark snapshot verify "$savepoint" >/dev/null || told "$1: the savepoint has suffered"
    stop_daemon
    echo "golden: $1: checkpoint $checkpoint restored, the count is right; savepoint $savepoint is whole"
}
for left in tests/golden/[0-9]*/*.tar.gz; do go_on "${left#tests/golden/}"; done
