#!/bin/bash
# build.sh FOLDER: `make deb`. Builds the packages from a copy of the tree, with Debian's own tools
# and flags, and leaves them in FOLDER. The folder debian/ of a package stands in daemon/ here.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset MAKEFLAGS MFLAGS MAKELEVEL B CC CFLAGS LDFLAGS SAN
version=$(sed -n 's/^AC_INIT(\[tidemark\], \[\(.*\)\])/\1/p' configure.ac)
packaged=$(dpkg-parsechangelog -l daemon/debian/changelog -S Version)
[ "$version" = "$packaged" ] || {
    echo "deb: configure.ac has version $version, daemon/debian/changelog $packaged: make them one" >&2
    exit 1
}
rm -rf "$1" && mkdir -p "$1/tidemark-$version"
to=$(cd "$1" && pwd)
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z | tar --null --ignore-failed-read -T - -c
else
    tar --exclude=./build --exclude=./config.mk --exclude='./.deps*' -c .
fi | tar -C "$to/tidemark-$version" -x
cd "$to/tidemark-$version"
mv daemon/debian debian
echo "deb: building, the log is $to/build.log"
dpkg-buildpackage -b -us -uc -j"$(nproc)" >"$to/build.log" 2>&1 || { tail -n 40 "$to/build.log" >&2; exit 1; }
cd "$to" && rm -rf "tidemark-$version"
# Nothing is uploaded from here: what only concerns the archive is not looked at.
lintian --fail-on error --profile debian \
    --suppress-tags initial-upload-closes-no-bugs,bogus-mail-host,bogus-mail-host-in-debian-changelog ./*.changes
ls -- *.deb
