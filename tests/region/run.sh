#!/bin/sh
# Regional failover with real processes: one region is killed again and again, the other goes on; region.py has the story.
#   tests/region/run.sh BUILD-FOLDER [KILLS [SEED]]
set -eu
[ $# -ge 1 ] || { echo "usage: tests/region/run.sh BUILD-FOLDER [KILLS [SEED]]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/region"
work=$(mktemp -d "$1/tests/region/run-XXXXXX")
build=$1
shift
PYTHONDONTWRITEBYTECODE=1 ${PYTHON:-/usr/bin/python3} tests/region/region.py "$build" "$work" "$@" ||
    { echo "region: see $work" >&2; exit 1; }
[ -n "${KEEP:-}" ] || rm -rf "$work"
