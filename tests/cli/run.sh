#!/bin/sh
# The CLI's tests: the real program against a daemon played by a script.
#   tests/cli/run.sh build/x [test_file.Class.test_name ...]
# Needs python3, python3-protobuf and protobuf-compiler (Debian's names).
set -eu
[ $# -ge 1 ] || { echo "usage: tests/cli/run.sh BUILD-FOLDER [test ...]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
build=$1
shift
python=${PYTHON:-/usr/bin/python3}
[ -x "$build/tidemark" ] || { echo "tests/cli: $build/tidemark is not built" >&2; exit 1; }
command -v protoc >/dev/null || { echo "tests/cli: needs protoc (protobuf-compiler)" >&2; exit 1; }
"$python" -c 'import google.protobuf' 2>/dev/null ||
    { echo "tests/cli: $python needs its protobuf module (python3-protobuf)" >&2; exit 1; }
out=$build/tests/cli/py
mkdir -p "$out"
protoc --python_out="$out" proto/common.proto proto/admin.proto
TIDEMARK=$build/tidemark PYTHONPATH=$out:tests/cli PYTHONDONTWRITEBYTECODE=1 \
    exec "$python" -W error -m unittest ${@:-discover -s tests/cli}
