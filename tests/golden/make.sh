#!/bin/bash
# make.sh BUILD: writes tests/golden/VERSION/*.tar.gz with the programs in BUILD, whose version it is:
# what run.sh wants every later version to restore. Made once, just before a release; not edited
# afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1")
. tests/golden/job.sh
to=tests/golden/$("$build/tidemark" --version | cut -d' ' -f2)
take_root

leave() { # stopped | killed: how the daemon ends
    local number
    rm -rf "${root:?}"/*
    head -q -c 150000 /usr/share/common-licenses/{GPL-3,GFDL-1.3,Artistic} >"$root/input"
    start_daemon
    start_workers --rate 8000 # not done before we are
    until_ 20 all_say ": running attempt" || cannot "the job does not start"
    sleep 1
    number=$(tidemark checkpoint wordcount)
    until_ 10 grep -q "sink.*complete round $number," "$root/workers.log" || cannot "the sink did not publish $number"
    sleep 1
    tidemark savepoint wordcount --label "of $to" >/dev/null # publishes nothing: what is new stays pending
    if [ "$1" = killed ]; then kill -9 "$daemon" && { wait "$daemon" || true; } 2>/dev/null; fi
    kill -9 "${pids[@]}"
    [ "$1" = killed ] || stop_daemon
    rm -f "$root"/*.log "$root"/data/*-shm
    tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner -czf "$to/$1.tar.gz" .
    tar -tvzf "$to/$1.tar.gz"
}
mkdir -p "$to"
leave stopped
leave killed
