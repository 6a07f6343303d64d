#!/bin/sh
# The protocol, spoken by somebody else: what docs/protocol.md says is checked from Python, which
# shares no code with the daemon.
#
#   test_page.py  the page's examples and limits are those of protobuf, XXH3 and the code
#   conform.py    conformance vectors, each with the sentence of the page that it checks
#   job.py        a worker in Python takes part in the word count beside workers in C, with kills
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
export PYTHONPATH="$out:tests/conform" PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS="error,ignore::ResourceWarning"

"$python" tests/conform/test_page.py
"$python" tests/conform/job.py "$build" "$work" >"$work/job.log" 2>&1 &
job=$!
failed=
"$python" tests/conform/conform.py --daemon "$build/tidemarkd" || failed=yes
wait "$job" || failed=yes
cat "$work/job.log"
[ -z "$failed" ] || { echo "tests/conform: failed; the job's folder: $work" >&2; exit 1; }
rm -rf "$work"
