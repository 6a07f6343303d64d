#!/bin/bash
# fresh.sh: `make demo` and `make check` on a machine that has nothing but make and git.
#
# A bare root is made with debootstrap from the mirror that this machine's apt uses, and kept as a
# tarball in ${TMPDIR:-/tmp} for the next time. The tree is copied in and the two commands run there,
# in mount and pid namespaces of their own: whatever happens, no mount and no process stays behind.
# Needs root, debootstrap, unshare.   fresh.sh [BYTES, 10M by default]
set -euo pipefail
cd "$(dirname "$0")/.."
bytes=${1:-10M}

if [ "${FRESH_INSIDE:-}" != yes ]; then
    for tool in debootstrap unshare git; do
        command -v $tool >/dev/null || { echo "fresh: needs $tool" >&2; exit 1; }
    done
    [ "$(id -u)" = 0 ] || { echo "fresh: needs root" >&2; exit 1; }
    unset MAKEFLAGS MFLAGS MAKELEVEL
    root=$(mktemp -d "${TMPDIR:-/tmp}/tidemark-fresh.XXXXXX")
    trap 'rm -rf --one-file-system "$root"' EXIT
    trap 'exit 1' INT TERM
    chmod 755 "$root" # apt fetches as a user of its own

    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    tarball=${TMPDIR:-/tmp}/tidemark-fresh-$codename-$(dpkg --print-architecture).tar
    if [ ! -e "$tarball" ]; then
        # The mirror is the one that apt has the main suite from, proxies and all.
        mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
            awk -v codename="$codename" '$1 == codename && $2 == "main" {print $3; exit}')
        [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(SUITE) $(COMPONENT) $(REPO_URI)' \
            'Identifier: Packages' | awk -v codename="$codename" '$1 == codename && $2 == "main" {print $3; exit}')
        [ -n "$mirror" ] || { echo "fresh: apt has no source for $codename main" >&2; exit 1; }
        proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
        echo "fresh: debootstrap of $codename"
        http_proxy=${proxy:-${http_proxy:-}} debootstrap --variant=minbase --include=make,git,ca-certificates \
            "$codename" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 20 "$root.log"; rm -f "$root.log"; exit 1; }
        rm -f "$root.log"
        [ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$root/etc/apt/apt.conf.d/90proxy"
        tar -C "$root" --one-file-system -cf "$tarball.$$" . && mv "$tarball.$$" "$tarball"
    else
        echo "fresh: root from $tarball"
        tar -C "$root" -xf "$tarball"
    fi
    cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true

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
