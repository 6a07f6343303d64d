#!/bin/sh
# State that outlives its program, with real processes; tools.py, state.py, words.py and flows.py have the stories.
#   tests/state/run.sh BUILD-FOLDER
set -eu
[ $# -ge 1 ] || { echo "usage: tests/state/run.sh BUILD-FOLDER" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/state"
stories="tools state words flows"
# where it is built with it, and neither valgrind nor ThreadSanitizer runs it
if [ -z "${ONE_BACKEND:-}" ] && ldd "$1/tidemark" | grep -q rocksdb; then stories="$stories state:rocksdb"; fi
for story in $stories; do
    work=$(mktemp -d "$1/tests/state/run-XXXXXX")
    backend=${story#"${story%%:*}"} name=${story%%:*}
    # shellcheck disable=SC2086
    ${PYTHON:-/usr/bin/python3} -W error "tests/state/$name.py" "$1" "$work" ${backend#:} || { echo "$story: see $work" >&2; exit 1; }
    rm -rf "$work"
done
