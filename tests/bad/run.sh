#!/bin/sh
# Bad input from outside the wire: damaged files, full and read-only disks, wrong flags and settings, a clock
# that jumps, too few descriptors, too little memory. The real programs, as a person meets them.
#   tests/bad/run.sh build/x [test_file.Class.test_name ...]
# Needs python3 and a C compiler, and the right to mount in a mount namespace of its own (as root, or
# where user namespaces are allowed); a test that cannot have what it needs says so and is skipped, and as root
# that is a failure.
set -eu
[ $# -ge 1 ] || { echo "usage: tests/bad/run.sh BUILD-FOLDER [test ...]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd)
shift
for program in tidemarkd tidemark client/examples/wordcount/wordcount; do
    [ -x "$build/$program" ] || { echo "tests/bad: $build/$program is not built" >&2; exit 1; }
done
mkdir -p "$build/tests/bad"
${CC:-cc} -shared -fPIC -D_GNU_SOURCE -O1 -o "$build/tests/bad/clock.so" tests/bad/clock.c -ldl
mounts=
for try in 'unshare --mount' 'unshare --user --map-root-user --mount'; do
    if $try true 2>/dev/null; then mounts=$try && break; fi
done
[ -n "$mounts" ] || echo "tests/bad: no mount namespace may be made here: disks are not filled" >&2
export BUILD="$build" MOUNTS="$mounts" CLOCK="$build/tests/bad/clock.so" PYTHONPATH=tests/bad PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-/usr/bin/python3}
if [ $# -gt 0 ]; then exec $mounts "$python" -W error -m unittest -v "$@"; fi
exec $mounts "$python" -W error tests/bad/side_by_side.py
