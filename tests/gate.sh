#!/bin/bash
# gate.sh: `make check-all`. Every variant in an empty build folder of its own, two steps at a time: what waits in one
# leaves the processors to the other. All steps run, also after one has failed, and the summary
# comes last. STEPS="lint clang" picks; the longest stand first.
#
# It asks of each variant what only that one answers, and why nothing is lost by it:
# - TIDE_BRIEF=1 and sanitizers: every nth of thousands of like faults (tests/proto/lib_brief.h); each in `make check`.
# - Sanitizers name places by line tables (-g1) and look at what -O1 makes of the source: at every access that -O2
#   leaves, and more. At -O1 gcc knows less of the ranges of numbers than it needs to warn of texts cut short: it
#   warns of these where it compiles as it is shipped.
# - What is installed, what demos run, what valgrind looks at and what plants are set in come from one build.
# - The analyzer stops earlier: see tests/lint.sh.
set -uo pipefail
steps=${STEPS:-asan tsan valgrind lint clang plants demo install dist same}
unset MAKEFLAGS MFLAGS MAKELEVEL B CC CFLAGS LDFLAGS SAN
[ -n "${STEPS:-}" ] || rm -rf build/gate
unset STEPS # it has a meaning in tests
root=build/gate
jobs=$(nproc)
plain=$root/plain # as it is shipped

make_() { make --no-print-directory -k -j"$jobs" "$@"; }

# A build folder with what is in the plain one, but for what a demo leaves there while it runs.
copy() {
    mkdir -p "$1" && find $plain -mindepth 1 -maxdepth 1 ! -name demo -exec cp -a -t "$1" {} +
}

step_clang() { # but for the scripts around whole programs, which gcc's and the sanitizers' go through
    TIDE_BRIEF=1 make_ check B=$root/clang CC=clang CFLAGS=-O2 WERROR=-Werror SIM_SEEDS=500 \
        AREAS="proto storage core client state daemon sim fuzz wordcount"
}
step_asan() {
    ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 CK_TIMEOUT_MULTIPLIER=10 \
        make_ check B=$root/asan SAN=address,undefined CFLAGS="-g1 -O1 -Wno-format-truncation" WERROR=-Werror SIM_SEEDS=250 TIMEOUT=1200
}
step_tsan() { # the areas that start threads
    ONE_BACKEND=yes TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/tests/tsan.supp" CK_TIMEOUT_MULTIPLIER=10 setarch -R \
        make --no-print-directory -k -j"$jobs" check B=$root/tsan SAN=thread CFLAGS="-g1 -O1" TIMEOUT=1200 \
        AREAS="storage client state daemon"
}
step_valgrind() { # but for what takes minutes here (RocksDB, every length, each failure in turn, kills, waits by the clock)
    copy $root/valgrind || return
    ONE_BACKEND=yes make_ check B=$root/valgrind WERROR=-Werror TIMEOUT=1500 AREAS="proto storage core client state" \
        SKIP="state/test_assign state/test_faults state/test_format state/test_native storage/test_faults storage/test_memory storage/test_journal client/test_faults client/test_conformance core/test_anything" CK_TIMEOUT_MULTIPLIER=20 \
        RUN="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --fair-sched=yes"
}
step_lint() { make_ B=$root/lint lint; }
step_install() { # what is installed is enough to build the example with
    local to=$PWD/$root/root B=$root/install/build cflags libs
    export B
    rm -rf "$to" && copy $B || return
    make_ install DESTDIR="$to" prefix=/usr >/dev/null || return
    export PKG_CONFIG_SYSROOT_DIR=$to PKG_CONFIG_PATH=$to/usr/lib/pkgconfig
    cflags=$(pkg-config --cflags tidemark) libs=$(pkg-config --libs tidemark) || return
    # The example's own headers are found below shim/; of the library only what is installed.
    mkdir -p $root/shim/client && ln -sfn "$PWD/client/examples" $root/shim/client/examples
    echo '#include <tidemark.h>' >$root/shim/client/tidemark.h
    # shellcheck disable=SC2086
    cc -std=c11 -D_GNU_SOURCE -I$root/shim $cflags client/examples/wordcount/*.c -o $root/wordcount $libs -pthread || return
    # shellcheck disable=SC2086
    cc -std=c11 -D_GNU_SOURCE tests/state/worker.c $(pkg-config --cflags --libs tidemark-state tidemark) -o $root/state-worker || return
    test "$(readlink "$to/usr/lib/libtidemark.so.0")" = "libtidemark.so.$(pkg-config --modversion tidemark)" || return
    make_ uninstall DESTDIR="$to" prefix=/usr >/dev/null || return
    test -z "$(find "$to" ! -type d)" || { find "$to" ! -type d; echo "left behind by uninstall"; return 1; }
    bash tests/install.sh $root/install
}
step_dist() { # the archive builds where autoconf is not
    local to=$root/dist
    rm -rf $to && mkdir -p $to && make_ dist >/dev/null && tar -xzf tidemark-*.tar.gz -C $to && rm -f tidemark-*.tar.gz &&
        make -C $to/tidemark-* --no-print-directory -j"$jobs" DEPS=no AUTOCONF=false CFLAGS=-O0 all
}
step_plants() { # the simulator sees what it claims to see; from five first seeds: make check-long
    STARTS=1 NONE=$plain bash tests/sim/plants.sh $root/plants
}
step_same() { # histories do not depend on the compiler: what the steps before have built, compared
    make_ B=$root/clang CC=clang CFLAGS=-O2 WERROR=-Werror $root/clang/tests/sim/sim &&
        bash tests/sim/same.sh 300 $root/clang/tests/sim/sim $plain/tests/sim/sim
}
step_demo() {
    local seed
    export B=$plain
    for seed in 1 2; do make_ demo BYTES=10M SEED=$seed || return; done
    make_ demo BYTES=10M SEED=3 UNALIGNED=1 || return
    make_ demo-solver KILLS=12 STEPS=2000
}

# run STEP: its log, and beside it what became of it and its seconds, by the clock and of the processors.
run() {
    local began=$SECONDS result=ok TIMEFORMAT='%U %S' used
    used=$({ time { (step_"$1") >$root/"$1".log 2>&1; }; } 2>&1) || result=FAILED
    used=$(awk '{printf "%d", $1 + $2}' <<<"$used")
    printf 'gate: %-9s%s, %d s, %d s of the processors\n' "$1" $result $((SECONDS - began)) $used
    [ $result = ok ] || grep -vE '^  (CC|LINK|PROTOC|TEST|AR) ' $root/"$1".log | tail -n 60
    printf '  %-9s %-7s %4d s %4d s  %s\n' "$1" $result $((SECONDS - began)) $used \
        "$(grep -hE ': all passed$|^lint: clean|demo: OK|^same: OK' $root/"$1".log | tail -n 1)" >$root/"$1".result
}

mkdir -p $root
step_build() { make_ B=$plain WERROR=-Werror all $plain/demo/driver $plain/tests/sim/sim; }
case " $steps " in *" valgrind "* | *" install "* | *" plants "* | *" demo "* | *" same "*) run build ;; esac
for step in $steps; do
    if [ "$step" = same ]; then wait; fi # it compares what the others have built
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
    rm -f $root/"$step".result
    run "$step" &
done
wait
echo "gate: the logs are in $root; summary:"
failed=0
for step in build $steps; do
    [ ! -e $root/"$step".log ] || cat $root/"$step".result || echo "  $step      NO RESULT"
    if grep -q " FAILED " $root/"$step".result; then failed=1; fi
done
if [ $failed = 0 ]; then echo "gate: OK after $SECONDS s"; else echo "gate: FAILED after $SECONDS s"; fi
exit $failed
