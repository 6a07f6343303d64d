#!/bin/sh
# Jobs that go on from a snapshot that their daemon has never seen, with real processes; moved.py has the story.
#   tests/import/run.sh BUILD-FOLDER [name ...]
set -eu
[ $# -ge 1 ] || { echo "usage: tests/import/run.sh BUILD-FOLDER [name ...]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/import"
work=$(mktemp -d "$1/tests/import/run-XXXXXX")
build=$1
shift
PYTHONDONTWRITEBYTECODE=1 ${PYTHON:-/usr/bin/python3} -W error tests/import/moved.py "$build" "$work" "$@" || { echo "import: see $work" >&2; exit 1; }
rm -rf "$work"
