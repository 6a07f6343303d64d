#!/bin/bash
# fresh.sh: `make demo` and `make check` on a machine that has nothing but make and git.
#
# The tree is copied into a bare root (tests/root.sh) and the two commands run there, in mount and
# pid namespaces of their own: whatever happens, no mount and no process stays behind.
# Needs root, debootstrap, unshare.   fresh.sh [BYTES, 10M by default]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/root.sh
bytes=${1:-10M}

if [ "${FRESH_INSIDE:-}" != yes ]; then
    root_needs git
    unset MAKEFLAGS MFLAGS MAKELEVEL
    root_make

    mkdir "$root/tidemark"
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files -z | tar --null --ignore-failed-read -T - -c
    else
        tar --exclude=./build --exclude=./config.mk --exclude=./.deps -c .
    fi | tar -C "$root/tidemark" -x
    FRESH_INSIDE=yes unshare --mount --propagation private --pid --fork --kill-child \
        bash tests/fresh.sh "$bytes" "$root"
    exit
fi

root=$2
mount -t proc proc "$root/proc"
began=$SECONDS
inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        chroot "$root" bash -c "cd /tidemark && $1"
}
inside "make demo BYTES=$bytes"
echo "fresh: demo after $((SECONDS - began)) s, packages and build included"
began=$SECONDS
inside "make check"
echo "fresh: OK; check after $((SECONDS - began)) s"
