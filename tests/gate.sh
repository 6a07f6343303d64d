#!/bin/bash
# gate.sh: `make check-all`. Every variant in an empty build folder of its own, each step in turn;
# all steps run, also after one has failed, and the summary comes last. STEPS="lint clang" picks.
set -uo pipefail
steps=${STEPS:-lint clang asan tsan valgrind plants same install dist demo}
unset MAKEFLAGS MFLAGS MAKELEVEL B CC CFLAGS LDFLAGS SAN
[ -n "${STEPS:-}" ] || rm -rf build/gate
unset STEPS # it has a meaning in tests
root=build/gate
jobs=$(nproc)
summary=() failed=0

make_() { make --no-print-directory -k -j"$jobs" "$@"; }
# Many tests mostly wait: with more of them than cores.
check_() { make --no-print-directory -k -j$((jobs + 2)) check "$@"; }

step_clang() { # but for the scripts around whole programs, which gcc's and the sanitizers' go through
    check_ B=$root/clang CC=clang WERROR=-Werror SIM_SEEDS=500 \
        AREAS="proto storage core client state daemon sim fuzz wordcount"
}
step_asan() {
    ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 CK_TIMEOUT_MULTIPLIER=10 \
        check_ B=$root/asan SAN=address,undefined WERROR=-Werror SIM_SEEDS=250 TIMEOUT=1200
}
step_tsan() { # the areas that start threads
    TSAN_OPTIONS=halt_on_error=1 CK_TIMEOUT_MULTIPLIER=10 setarch -R \
        make --no-print-directory -k -j"$jobs" check B=$root/tsan SAN=thread TIMEOUT=1200 \
        AREAS="storage client state daemon"
}
step_valgrind() { # but for what takes minutes here (every length, each failure in turn, kills, waits by the clock)
    make_ check B=$root/valgrind TIMEOUT=1500 AREAS="proto storage core client state" \
        SKIP="state/test_assign state/test_faults state/test_format state/test_key_group state/test_tree proto/test_ack storage/test_faults storage/test_memory storage/test_journal client/test_faults client/test_conformance core/test_anything core/test_match" CK_TIMEOUT_MULTIPLIER=20 \
        RUN="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --fair-sched=yes"
}
step_lint() { make_ lint; }
step_install() { # what is installed is enough to build the example with
    local to=$PWD/$root/root cflags libs
    rm -rf "$to"
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
        make -C $to/tidemark-* --no-print-directory -j"$jobs" DEPS=no AUTOCONF=false all
}
step_plants() { # the simulator sees what it claims to see; from five first seeds: make check-long
    STARTS=1 bash tests/sim/plants.sh $root/plants
}
step_same() { # histories do not depend on the compiler: what the steps before have built, compared
    make_ B=$root/clang CC=clang WERROR=-Werror $root/clang/tests/sim/sim &&
        make_ B=$root/plants/none $root/plants/none/tests/sim/sim &&
        bash tests/sim/same.sh 300 $root/clang/tests/sim/sim $root/plants/none/tests/sim/sim
}
step_demo() {
    local seed
    for seed in 1 2; do make_ demo BYTES=10M SEED=$seed || return; done
    make_ demo BYTES=10M SEED=3 UNALIGNED=1 || return
    make_ demo-solver KILLS=12 STEPS=2000
}

mkdir -p $root
for step in $steps; do
    began=$SECONDS
    printf 'gate: %-9s' "$step"
    if (step_"$step") >$root/"$step".log 2>&1; then result=ok; else result=FAILED failed=1; fi
    printf '%s, %d s\n' "$result" $((SECONDS - began))
    [ $result = ok ] || grep -vE '^  (CC|LINK|PROTOC|TEST|AR) ' $root/"$step".log | tail -n 60
    summary+=("$(printf '  %-9s %-7s %4d s  %s' "$step" $result $((SECONDS - began)) \
        "$(grep -hE ': all passed$|^lint: clean|demo: OK|^same: OK' $root/"$step".log | tail -n 1)")")
done
echo "gate: the logs are in $root; summary:"
printf '%s\n' "${summary[@]}"
if [ $failed = 0 ]; then echo "gate: OK after $SECONDS s"; else echo "gate: FAILED after $SECONDS s"; fi
exit $failed
