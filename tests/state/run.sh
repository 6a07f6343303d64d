#!/bin/sh
# State that outlives its program, with real processes; tools.py, state.py, words.py and flows.py have the stories.
#   tests/state/run.sh BUILD-FOLDER
set -eu
[ $# -ge 1 ] || { echo "usage: tests/state/run.sh BUILD-FOLDER" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/state"
for story in tools state words flows; do
    work=$(mktemp -d "$1/tests/state/run-XXXXXX")
    ${PYTHON:-/usr/bin/python3} -W error "tests/state/$story.py" "$1" "$work" || { echo "$story: see $work" >&2; exit 1; }
    rm -rf "$work"
done
