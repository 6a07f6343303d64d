# job.sh: what make.sh and run.sh share: the word count at the one place that the snapshots name.
# shellcheck shell=bash
root=/tmp/tidemark-golden # directories stand in manifests as they were, so it is always here
pids=() daemon=
cannot() {
    echo "golden: $*" >&2
    exit 1
}
# One user of the place at a time; whatever happens, nothing is left running.
take_root() {
    exec 9>"$root.lock" && flock -w 300 9 || cannot "$root is in use"
    trap 'kill -9 "${pids[@]}" $daemon 2>/dev/null || true; rm -rf "$root"' EXIT
    trap 'exit 1' INT TERM HUP
    rm -rf "$root" && mkdir "$root" || cannot "cannot make $root"
}
until_() { # SECONDS COMMAND...: waits until it succeeds
    local tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.05
    done
}
tidemark() { "$build/tidemark" "$@" --data "$root/data"; }
start_daemon() {
    "$build/tidemarkd" --data "$root/data" --listen 127.0.0.1:0 2>>"$root/tidemarkd.log" &
    daemon=$!
    until_ 20 tidemark status || { cat "$root/tidemarkd.log" >&2; cannot "tidemarkd does not start"; }
}
stop_daemon() {
    kill "$daemon" && wait "$daemon" || cannot "tidemarkd did not stop in good order"
    daemon=
}
start_workers() { # [OPTION...]: what the job is made of may never change, or it is another job
    local stage
    pids=()
    : >"$root/workers.log"
    for stage in "source 0" "source 1" "splitter 0" "splitter 1" "counter 0" "counter 1" "sink 0"; do
        "$build/client/examples/wordcount/wordcount" "${stage% *}" --index "${stage#* }" --input "$root/input" \
            --parts "$root/parts" --connect "127.0.0.1:$(cat "$root/data/port")" \
            --key-groups 16 --interval 3600000 --deadline 10000 --lease 1500 --heartbeat 500 --grace 1000 "$@" 2>>"$root/workers.log" &
        pids+=($!)
        disown # its death is no news
    done
}
all_say() { [ "$(grep -c "$1" "$root/workers.log")" = 7 ]; } # each worker has said this
newest() { # KIND: the number of the newest snapshot of a kind, "" if there is none
    tidemark snapshots wordcount --json | tr -d '\n' | grep -o '{[^{}]*}' | grep "\"kind\": *\"$1\"" |
        sed -n '1s/.*"snapshot": *\([0-9]*\).*/\1/p'
}
