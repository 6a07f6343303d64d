#!/bin/bash
# Plays the newcomer: docs/guide.md and docs/operations.md, followed to the letter. Every block
# marked sh is run, in order, in a home of its own, with nothing but what is installed.
#
#   tests/pages/run.sh [BUILD]
#
# Changed are the port, since others may listen there, how long a busy machine may take to start a daemon, and `make install`, which is tests/install.sh's
# business: what it would install is put there by hand, so that two tests may run side by side.
set -u
cd "$(dirname "$0")/../.." || exit 1
tree=$PWD
B=$(realpath "${1:-${B:-build}}")
failures=0
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT

fail() {
    echo "pages: $*"
    failures=$((failures + 1))
}

# ---- the claim: at most 60 lines of C besides the work, blank ones and comments not counted
lines=$(awk '/^\/\* ---- the worker/ { on = 1 } on && NF && !/^ *\/\*.*\*\/ *$/' client/examples/tally/tally.c | wc -l)
[ "$lines" -gt 30 ] && [ "$lines" -le 60 ] || fail "the worker of tally.c has $lines lines"

# ---- pieces of a page
blocks() { # page: its sh blocks, each line as it is
    awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$1"
}
program() { # the guide's pieces of tally.c, one behind the other
    awk '/^<!-- client\/examples\/tally\/tally.c -->$/ { on = 1; next } on && /^```c$/ { next }
         on && /^```$/ { on = 0; print ""; next } on' docs/guide.md
}
diff -B <(program) client/examples/tally/tally.c || fail "the guide's pieces are not the whole of tally.c"

install_by_hand() { # prefix
    install -D -t "$1/bin" "$B/tidemark"
    install -D -t "$1/sbin" "$B/tidemarkd"
    install -D -m 644 -t "$1/include" "$B/include/tidemark.h"
    install -D -t "$1/lib" "$B/libtidemark.so.0"
    ln -sf libtidemark.so.0 "$1/lib/libtidemark.so"
    mkdir -p "$1/lib/pkgconfig"
    sed -e "s|@prefix@|$1|; s|@exec_prefix@|$1|; s|@libdir@|$1/lib|; s|@includedir@|$1/include|" \
        -e 's|@VERSION@|0|' client/tidemark.pc.in >"$1/lib/pkgconfig/tidemark.pc"
}
install_by_hand "$home/tidemark"

# Below the range that the kernel takes ports of outgoing connections from: it stays free while a daemon restarts.
free_port() {
    "${PYTHON:-/usr/bin/python3}" - <<'END'
import random, socket
while True:
    port = random.randrange(10000, 32000)
    try:
        socket.socket().bind(("127.0.0.1", port))
    except OSError:
        continue
    print(port)
    break
END
}

# Runs a page's blocks; what they say goes to $home/NAME.said. Whatever is left over is killed with
# the session that it is in.
follow() { # name [port]
    local port=${2:-$(free_port)}
    {
        echo 'make() { case "$*" in install*) ;; *) return 1 ;; esac; }'
        echo 'sleep() { until [ "$1" != 2 ] || tidemark status >/dev/null 2>&1; do command sleep 0.1; done; command sleep "$1"; }'
        echo 'stop_workers() { touch $HOME/hold-workers; until [ -e $HOME/workers-held ]; do sleep 0.1; done; }'
        echo 'start_workers() { rm -f $HOME/hold-workers $HOME/workers-held; }'
        blocks "docs/$1.md" | sed "s/\\b7460\\b/$port/g; s/\\b7461\\b/$(free_port)/g"
    } >"$home/$1.sh"
    env -i HOME="$home" PATH="$PATH" LC_ALL=C TIDEMARK_CONNECT="127.0.0.1:$port" ${ASAN_OPTIONS:+ASAN_OPTIONS="$ASAN_OPTIONS"} \
        setsid timeout -k 5 300 bash -e -u -x "$home/$1.sh" >"$home/$1.said" 2>&1 </dev/null &
    local session=$! rc
    wait $session
    rc=$?
    pkill -9 -s $session 2>/dev/null
    [ $rc = 0 ] || { fail "docs/$1.md: a block ended with $rc; so far it said"; cat "$home/$1.said"; }
}
said() { # name, what the output must have a line of
    grep -qE -- "$2" "$home/$1.said" && return
    fail "docs/$1.md: nothing says '$2':"
    cat "$home/$1.said"
}

# A library with a sanitizer inside does not load into a program without one.
if grep -q __asan_init "$B/libtidemark.so.0" || grep -q __tsan_init "$B/libtidemark.so.0"; then
    echo "pages: compiled with a sanitizer: nobody would follow the pages with this library"
else
    mkdir -p "$home/tally"
    program >"$home/tally/tally.c"
    follow guide
    said guide '^200010000$'
    [ "$(grep -c '^200010000$' "$home/guide.said")" = 2 ] || fail "docs/guide.md: the total is not the sum"
    said guide '^tally  FINISHED        2 '
    said guide 'tally/savepoint-[0-9a-f]{6}-[0-9]+-[0-9]+$'
    grep -q 'tally: from byte [1-9]' "$home/guide.said" || fail "docs/guide.md: nothing was restored"

    # The job that the operations are done beside; while hold-workers is there it stays down.
    seq 1 1000000 >"$home/numbers"
    port=$(free_port)
    cat >"$home/worker.sh" <<'END'
tally=
trap 'kill $tally; exit' TERM
while :; do
    if [ ! -e "$HOME/hold-workers" ]; then
        "$HOME/tally/tally" "$HOME/numbers" "$HOME/total" 2>>"$HOME/tally.log" &
        tally=$!
    fi
    while kill -0 $tally; do
        [ ! -e "$HOME/hold-workers" ] || kill -9 $tally
        sleep 0.1
    done
    [ ! -e "$HOME/hold-workers" ] || touch "$HOME/workers-held"
    sleep 0.1
done
END
    env -i HOME="$home" PATH="$PATH" TIDEMARK_CONNECT="127.0.0.1:$port" LD_LIBRARY_PATH="$home/tidemark/lib" \
        bash "$home/worker.sh" 2>"$home/worker.said" &
    worker=$!
    follow operations $port
    kill $worker && wait $worker
    said operations '^Daemon          tidemarkd '
    said operations '^\+ ?tidemark status --connect 127.0.0.1:[0-9]+ --secret-file secret$'
    said operations '^tally\|RUNNING\|[0-9]+$'
    said operations '^snapshot [0-9]+ is good: '
    said operations '^tally  RUNNING        2 '
    said operations 'warn .*worker tally-0 is lost: its process is gone from its host$'
    said operations '^Loop lag '
    if grep -q HELD "$home/operations.said"; then fail "docs/operations.md: the job is held"; fi
fi

[ "$failures" = 0 ]
