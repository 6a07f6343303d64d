#!/bin/sh
# Incremental checkpoints with real processes: files are referred to, kept, restored and deleted; shared.py has the story.
#   tests/shared/run.sh BUILD-FOLDER
set -eu
[ $# -ge 1 ] || { echo "usage: tests/shared/run.sh BUILD-FOLDER" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/shared"
work=$(mktemp -d "$1/tests/shared/run-XXXXXX")
build=$1
shift
PYTHONDONTWRITEBYTECODE=1 ${PYTHON:-/usr/bin/python3} tests/shared/shared.py "$build" "$work" "$@" ||
    { echo "shared: see $work" >&2; exit 1; }
[ -n "${KEEP:-}" ] || rm -rf "$work"
