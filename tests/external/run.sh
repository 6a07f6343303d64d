#!/bin/sh
# A coordinator, a hook and their readers, killed again and again; external.py has the story.
#   tests/external/run.sh BUILD-FOLDER [KILLS [SEED]]
set -eu
[ $# -ge 1 ] || { echo "usage: tests/external/run.sh BUILD-FOLDER [KILLS [SEED]]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
out=$1/tests/external/py
mkdir -p "$out"
command -v protoc >/dev/null || { echo "tests/external: needs protoc (protobuf-compiler)" >&2; exit 1; }
protoc --python_out="$out" proto/common.proto proto/worker.proto proto/manifest.proto
work=$(mktemp -d "$1/tests/external/run-XXXXXX")
build=$1
shift
export PYTHONPATH="$out" PYTHONDONTWRITEBYTECODE=1
${PYTHON:-/usr/bin/python3} -W error::SyntaxWarning tests/external/external.py "$build" "$work" "$@" ||
    { echo "external: see $work" >&2; exit 1; }
[ -n "${KEEP:-}" ] || rm -rf "$work"
