#!/bin/sh
# The protocol, spoken by somebody else: what docs/protocol.md says is checked from Python, which
# shares no code with the daemon.
#
#   job.py      a worker in Python takes part in the word count beside workers in C, with kills
#
#   tests/conform/run.sh build/x
# Needs python3, python3-protobuf, python3-xxhash and protobuf-compiler (Debian's names).
set -eu
[ $# = 1 ] || { echo "usage: tests/conform/run.sh BUILD-FOLDER" >&2; exit 2; }
cd "$(dirname "$0")/../.."
build=$1
python=${PYTHON:-/usr/bin/python3}
command -v protoc >/dev/null || { echo "tests/conform: needs protoc (protobuf-compiler)" >&2; exit 1; }
"$python" -c 'import google.protobuf, xxhash' 2>/dev/null ||
    { echo "tests/conform: $python needs its protobuf and xxhash modules (python3-protobuf, python3-xxhash)" >&2; exit 1; }
out=$build/tests/conform/py
mkdir -p "$out"
protoc --python_out="$out" proto/common.proto proto/worker.proto proto/admin.proto proto/manifest.proto
work=$(mktemp -d "$build/tests/conform/run-XXXXXX")
export PYTHONPATH="$out:tests/conform" PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=error
"$python" tests/conform/job.py "$build" "$work" || { echo "its folder: $work" >&2; exit 1; }
rm -rf "$work"
