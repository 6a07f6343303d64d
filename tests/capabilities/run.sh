#!/bin/sh
# The cells of docs/capabilities.md, each done with real processes; then the page is compared with what was done.
#   tests/capabilities/run.sh BUILD-FOLDER [ROW [KIND]]
set -eu
[ $# -ge 1 ] || { echo "usage: tests/capabilities/run.sh BUILD-FOLDER [ROW [KIND]]" >&2; exit 2; }
cd "$(dirname "$0")/../.."
mkdir -p "$1/tests/capabilities"
python="${PYTHON:-/usr/bin/python3}"
cells="$1/tests/capabilities/cells"
: >"$cells"
export PYTHONDONTWRITEBYTECODE=1
for script in tests/capabilities/*.py; do
    row=$(basename "$script" .py)
    case $row in lib | check) continue ;; esac
    [ "${2:-$row}" = "$row" ] || continue
    for kind in ${3:-canonical native aligned unaligned}; do
        grep -q "\"$kind\"" "$script" || continue # nothing is claimed of it
        if [ "$row" != minor_version ] && [ "$row$kind" != "${row}canonical" -o "$row" = change_backend ] && grep -q '^ROCKSDB_LIBS *= *$' config.mk; then
            echo "skip $row $kind: built without RocksDB" >>"$cells"
            continue
        fi
        work=$(mktemp -d "$1/tests/capabilities/run-XXXXXX")
        "$python" -W error "$script" "$1" "$work" "$kind" >>"$cells" || { echo "capabilities: see $work" >&2; exit 1; }
        rm -rf "$work"
    done
done
cat "$cells"
[ $# -gt 1 ] || "$python" -W error tests/capabilities/check.py "$1"
