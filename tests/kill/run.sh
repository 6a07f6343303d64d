#!/bin/sh
# The daemon killed with -9 while a job runs on real disks; kill.py has the story.
#   [KILLS=25] [SEED=n] [STATE=bytes] tests/kill/run.sh BUILD-FOLDER
set -eu
[ $# -eq 1 ] || { echo "usage: [KILLS=n] [SEED=n] tests/kill/run.sh BUILD-FOLDER" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/kill"
work=$(mktemp -d "$1/tests/kill/run-XXXXXX")
if [ "$(stat -f -c %T "$work")" = tmpfs ]; then echo "kill: $work is in memory: no real disk"; fi
${PYTHON:-/usr/bin/python3} -W error tests/kill/kill.py "$1" "$work" "${KILLS:-25}" "${SEED:-1}" "${STATE:-1500}" || exit
rm -rf "$work"
