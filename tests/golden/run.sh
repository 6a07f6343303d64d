#!/bin/bash
# run.sh BUILD [checkpoint|savepoint]: what released versions left (VERSION/*.tar.gz, see README.md there)
# is migrated and restored by the programs in BUILD: the daemon starts on the old database, lists and verifies
# both snapshots; the job goes on from the checkpoint, and, on a second copy, from the savepoint, as an admin orders
# it; what it has published at its end is right.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1")
. tests/golden/job.sh
take_root

# A savepoint that publishes nothing takes back what its sink had ready: so not the published parts are counted, but
# the last total that the counters have told of each word.
totals() {
    find "$root/parts" -type f -exec cat {} + | LC_ALL=C awk '
        $2 > total[$3] { total[$3] = $2 } END { for (word in total) print word, total[word] }' | LC_ALL=C sort |
        awk '{ printf "%7d %s\n", $NF, (NF > 1 ? $1 : "") }'
}
none_left() { ! kill -0 "${pids[@]}" 2>/dev/null; }
told() { cat "$root"/*.log >&2; cannot "$1"; }
go_on() { # VERSION/WHAT.tar.gz KIND
    local checkpoint savepoint number from
    rm -rf "${root:?}"/* && tar -C "$root" -xzf "tests/golden/$1"
    start_daemon
    checkpoint=$(newest checkpoint) savepoint=$(newest savepoint)
    [ -n "$checkpoint" ] && [ -n "$savepoint" ] || told "$1: not a checkpoint and a savepoint: $(tidemark snapshots)"
    for number in "$checkpoint" "$savepoint"; do
        tidemark snapshot verify "$number" >/dev/null || told "$1: snapshot $number is damaged"
    done

    from=$checkpoint
    if [ "$2" = savepoint ]; then
        from=$savepoint
        tidemark restore wordcount --snapshot "$from" >/dev/null || told "$1: $from may not be restored"
    fi
    start_workers
    until_ 30 all_say ": restored attempt [0-9]* from snapshot $from\$" || told "$1: $from is not restored"
    until_ 60 none_left || told "$1: the job does not end"
    LC_ALL=C tr -cs A-Za-z '\n' <"$root/input" | LC_ALL=C sort | uniq -c >"$root/expected"
    if [ "$2" = savepoint ]; then
        totals >"$root/counted"
    else
        "$build/client/examples/wordcount/wordcount" sum "$root/parts" >"$root/counted"
    fi
    cmp "$root/expected" "$root/counted" || told "$1: the count is wrong"
    tidemark snapshot verify "$savepoint" >/dev/null || told "$1: the savepoint has suffered"
    stop_daemon
    echo "golden: $1: $2 $from restored, the count is right; savepoint $savepoint is whole"
}
for left in tests/golden/[0-9]*/*.tar.gz; do
    for kind in ${2:-checkpoint savepoint}; do go_on "${left#tests/golden/}" "$kind"; done
done
