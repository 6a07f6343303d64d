#!/bin/sh
# Jobs that are stopped and cancelled, with real processes; stop.py has the story.
#   tests/stop/run.sh BUILD-FOLDER [name ...]
set -eu
[ $# -ge 1 ] || { echo "usage: tests/stop/run.sh BUILD-FOLDER [name ...]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/stop"
work=$(mktemp -d "$1/tests/stop/run-XXXXXX")
build=$1
shift
PYTHONDONTWRITEBYTECODE=1 ${PYTHON:-/usr/bin/python3} -W error tests/stop/stop.py "$build" "$work" "$@" || { echo "stop: see $work" >&2; exit 1; }
rm -rf "$work"
