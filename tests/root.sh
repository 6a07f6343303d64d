# root.sh: a bare Debian root, for tests/fresh.sh and tests/deb.sh to source.
#
# root_make makes one below ${TMPDIR:-/tmp}, sets $root to it and sees to it that it is removed at
# the end. debootstrap makes it, from the mirror that this machine's apt uses; a tarball
# of it is kept beside it for the next time. It has make, git and ca-certificates beside the minimum.
# shellcheck shell=bash

root_needs() { # tools
    local tool
    for tool in debootstrap unshare "$@"; do
        command -v "$tool" >/dev/null || { echo "root: needs $tool" >&2; exit 1; }
    done
    [ "$(id -u)" = 0 ] || { echo "root: needs root" >&2; exit 1; }
}

root_make() {
    local codename tarball mirror proxy
    root=$(mktemp -d "${TMPDIR:-/tmp}/tidemark-fresh.XXXXXX")
    trap 'rm -rf --one-file-system "$root"' EXIT
    trap 'exit 1' INT TERM

    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    tarball=${TMPDIR:-/tmp}/tidemark-fresh-$codename-$(dpkg --print-architecture).tar
    if [ ! -e "$tarball" ]; then
        # The mirror is the one that apt has the main suite from, proxies and all.
        mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
            awk -v codename="$codename" '$1 == codename && $2 == "main" {print $3; exit}')
        [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(SUITE) $(COMPONENT) $(REPO_URI)' \
            'Identifier: Packages' | awk -v codename="$codename" '$1 == codename && $2 == "main" {print $3; exit}')
        [ -n "$mirror" ] || { echo "root: apt has no source for $codename main" >&2; exit 1; }
        proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
        echo "root: debootstrap of $codename"
        http_proxy=${proxy:-${http_proxy:-}} debootstrap --variant=minbase --include=make,git,ca-certificates \
            "$codename" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 20 "$root.log"; rm -f "$root.log"; exit 1; }
        rm -f "$root.log"
        [ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";" >"$root/etc/apt/apt.conf.d/90proxy"
        tar -C "$root" --one-file-system -cf "$tarball.$$" . && mv "$tarball.$$" "$tarball"
    else
        echo "root: from $tarball"
        tar -C "$root" -xf "$tarball"
    fi
    chmod 755 "$root" # others than root live in it, too
    cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
}
