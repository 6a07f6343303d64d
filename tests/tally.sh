#!/bin/sh
# tally.sh BUILD [AREA...]: counts the tests that have passed in a build folder and fails if fewer
# ran than tests/ lists (what SKIP names is left out, and said). A gate that runs nothing must not look like one that passes.
set -eu
build=$1
shift
[ $# -gt 0 ] || set -- $(cd tests && ls -d */ | tr -d /)

programs=0 checks=0 scripts=0 corpora=0 missing=0
miss() {
    echo "tally: $*" >&2
    missing=1
}
for area; do
    for source in tests/"$area"/test_*.c; do
        [ -e "$source" ] || continue
        case " ${SKIP:-} " in *" $area/$(basename "$source" .c) "*)
            echo "tally: $source left out" && continue ;;
        esac
        name=$build/${source%.c}
        if grep -qx 'backend rocksdb: not supported: built without RocksDB' "$name.log" 2>/dev/null && [ -e "$name.ok" ]; then
            echo "tally: $source left out: built without RocksDB" && continue
        fi
        listed=$(grep -c '^START_TEST(' "$source" || true)
        ran=$(sed -n 's/^100%: Checks: \([0-9]*\), Failures: 0, Errors: 0$/\1/p' "$name.log" 2>/dev/null |
            awk '{n += $1} END {print n + 0}')
        [ -e "$name.ok" ] || miss "$source did not pass in $build"
        [ "$ran" -ge "$listed" ] && [ "$ran" -gt 0 ] ||
            miss "$source lists $listed tests, $ran passed in $build"
        programs=$((programs + 1)) checks=$((checks + ran))
    done
    for source in tests/"$area"/run.sh; do
        [ -e "$source" ] || continue
        [ -e "$build/${source%.sh}.ok" ] || miss "$source did not pass in $build"
        scripts=$((scripts + 1))
    done
    for source in tests/"$area"/fuzz_*.c; do
        [ -e "$source" ] || continue
        [ -e "$build/${source%.c}.ok" ] || miss "$source did not pass in $build"
        corpora=$((corpora + 1))
    done
done
histories=$(sed -n 's/^sim: OK: \([0-9]*\) seeds .*/\1/p' "$build"/tests/sim/seeds-*.log 2>/dev/null |
    awk '{n += $1} END {print n + 0}')
case " $* " in *' sim '*)
    [ "$histories" -gt 0 ] || miss "no simulated history ran in $build" ;;
esac
[ $((checks + scripts + corpora + histories)) -gt 0 ] || miss "no test at all passed in $build"
[ $missing = 0 ] || exit 1
echo "$build: $checks checks in $programs programs, $scripts scripts, $corpora corpora, $histories simulated histories: all passed"
