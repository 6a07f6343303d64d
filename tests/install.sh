#!/bin/bash
# install.sh: `make install` and `make uninstall`, with three prefixes. What is installed finds what
# was installed with it; an edited configuration stays, one that nobody touched follows the release;
# of the rest no trace is left.
#
#   tests/install.sh FOLDER     builds in FOLDER, installs below it
set -euo pipefail
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
mkdir -p "$1"
to=$(cd "$1" && pwd)
log=$to/install.log
make_() { make --no-print-directory B="$1/build" "${@:2}" >>"$log" 2>&1 || { tail -n 30 "$log"; return 1; }; }
fail() { echo "install: $*"; exit 1; }
has() { # root, then paths below it
    local root=$1 path
    for path in "${@:2}"; do [ -e "$root$path" ] || fail "$path is not installed"; done
}
left() { # what is below a root, but directories
    (cd "$1" && find . ! -type d | sort)
}
: >"$log"

for prefix in /usr /usr/local "$to/home/x"; do
    root=$to/root$(tr / - <<<"$prefix")
    conf=/etc
    case $prefix in /usr*) ;; *) root='' conf=$prefix/etc ;; esac
    rm -rf "$to/home" "${root:-/nowhere/at/all}"
    make_ "$to" install prefix="$prefix" DESTDIR="$root"
    has "$root" "$conf/tidemark/tidemarkd.conf" "$prefix"/sbin/tidemarkd "$prefix"/bin/tidemark \
        "$prefix"/lib/libtidemark{,-state}.{a,so,so.0} "$prefix"/include/tidemark{,-state}.h "$prefix"/lib/pkgconfig/tidemark{,-state}.pc \
        "$prefix"/lib/systemd/system/tidemarkd.service "$prefix"/lib/sysusers.d/tidemark.conf \
        "$prefix"/lib/tmpfiles.d/tidemark.conf "$prefix"/share/bash-completion/completions/tidemark \
        "$prefix"/share/man/man{1/tidemark.1,3/libtidemark.3,3/libtidemark-state.3,5/tidemarkd.conf.5,7/tidemark-protocol.7,8/tidemarkd.8} \
        "$prefix"/share/doc/tidemark/protocol.md "$prefix"/share/tidemark/proto/worker.proto

    # Each file names the places that it was installed with.
    grep -qx "ExecStart=$prefix/sbin/tidemarkd" "$root$prefix/lib/systemd/system/tidemarkd.service" || fail "ExecStart"
    grep -qx "prefix=$prefix" "$root$prefix/lib/pkgconfig/tidemark.pc" || fail "tidemark.pc"
    grep -q " $conf/tidemark/tidemarkd.conf" "$root$prefix/share/man/man8/tidemarkd.8" || fail "the place in tidemarkd(8)"
    grep -q " $prefix/share/tidemark/proto" "$root$prefix/share/man/man7/tidemark-protocol.7" || fail "the place in tidemark-protocol(7)"
    [ "$("$root$prefix/bin/tidemark" --version)" = "tidemark $(PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig pkg-config --modversion tidemark)" ] ||
        fail "versions differ"

    # The daemon finds its configuration without being told; here it can, where no DESTDIR is.
    if [ -z "$root" ]; then
        echo '[nonsense]' >>"$conf/tidemark/tidemarkd.conf"
        said=$("$prefix/sbin/tidemarkd" --check-config 2>&1) && fail "an error in $conf/tidemark/tidemarkd.conf was not seen"
        [[ $said == "tidemarkd: $conf/tidemark/tidemarkd.conf:"*"unknown section [nonsense]"* ]] || fail "it said: $said"
        sed -i '$d' "$conf/tidemark/tidemarkd.conf"
    else
        "$root$prefix/sbin/tidemarkd" --help | grep -qF " $conf/tidemark/tidemarkd.conf" || fail "the default in --help"
    fi

    # A configuration that nobody touched follows the release, an edited one does not.
    file=$root$conf/tidemark/tidemarkd.conf sample=$root$prefix/share/doc/tidemark/tidemarkd.conf
    echo '# of an older release' | tee -a "$sample" >>"$file"
    make_ "$to" install prefix="$prefix" DESTDIR="$root"
    cmp "$file" daemon/tidemarkd.conf || fail "an untouched configuration was not replaced"
    echo '# mine' >>"$file"
    make_ "$to" install prefix="$prefix" DESTDIR="$root"
    grep -qx '# mine' "$file" || fail "an edited configuration was overwritten"
    make_ "$to" uninstall prefix="$prefix" DESTDIR="$root"
    [ "$(left "${root:-$prefix}")" = "./${file#"${root:-$prefix}"/}" ] || fail "left behind: $(left "${root:-$prefix}")"

    # Untouched, it goes as well, and so do our directories.
    cp daemon/tidemarkd.conf "$file"
    make_ "$to" install prefix="$prefix" DESTDIR="$root"
    make_ "$to" uninstall prefix="$prefix" DESTDIR="$root"
    [ -z "$(left "${root:-$prefix}")" ] || fail "left behind: $(left "${root:-$prefix}")"
    [ -z "$(find "${root:-$prefix}" -name 'tidemark*')" ] || fail "left behind: $(find "${root:-$prefix}" -name 'tidemark*')"
    echo "install: $prefix is in order"
done
