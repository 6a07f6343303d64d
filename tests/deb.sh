#!/bin/bash
# deb.sh: the Debian packages in the life of a machine.
#
# A bare root (tests/root.sh) gets what the packages depend on and is booted with systemd as its init,
# in namespaces and a cgroup of its own, without a network: whatever happens, nothing stays behind.
# There the packages are installed; the service is up, hardened as its unit says; a job runs against
# it, takes a checkpoint and a savepoint; it is reloaded, killed, hangs and comes back. Then
# the packages are purged, and the file system is as before but for the data.
# Needs root, debootstrap, unshare, nsenter, cgroup2 (`deb.sh possible` says whether there is).
#   deb.sh [FOLDER with the packages: made if not given]
set -euo pipefail
fail() {
    echo "deb: $*" >&2
    exit 1
}

# ---------------------------------------------------------------- outside

outside() {
    cd "$(dirname "$0")/.."
    . tests/root.sh
    root_needs nsenter debootstrap
    unset MAKEFLAGS MFLAGS MAKELEVEL
    local packages=${1:-} build=build/gate/deb began=$SECONDS
    [ -n "$packages" ] || { DEB_BUILD_OPTIONS=noautodbgsym make --no-print-directory B=$build deb && packages=$build/deb; }
    [ -n "$packages" ] || fail "the packages do not build"
    echo "deb: packages after $((SECONDS - began)) s"
    root_make
    mkdir -p "$root/opt/packages" "$root/opt/parts"
    cp "$packages"/*.deb "$root/opt/packages" && rm -f "$root"/opt/packages/*dbgsym*
    cp tests/deb.sh "$root/opt/deb.sh"
    build_example "$root/opt/packages"
    unshare --mount --propagation private --pid --fork --kill-child bash tests/deb.sh dependencies "$root" ||
        fail "the packages' dependencies cannot be installed"
    echo "deb: root after $((SECONDS - began)) s"
    boot
    nsenter -t "$init" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash /opt/deb.sh inside
    echo "deb: OK after $((SECONDS - began)) s"
}

# The example, with what libtidemark-dev has; nothing else of this tree but its own headers.
build_example() {
    local dev=$root.dev
    rm -rf "$dev" && mkdir -p "$dev/shim/client"
    dpkg -x "$1"/libtidemark-dev_*.deb "$dev" && dpkg -x "$1"/libtidemark0_*.deb "$dev"
    ln -s "$PWD/client/examples" "$dev/shim/client/examples"
    echo '#include <tidemark.h>' >"$dev/shim/client/tidemark.h"
    "${CC:-cc}" -std=c11 -D_GNU_SOURCE -I"$dev/shim" -I"$dev/usr/include" client/examples/wordcount/*.c \
        -L"$(dirname "$(find "$dev" -name libtidemark.so)")" -ltidemark -pthread -o "$root/opt/wordcount"
    rm -rf "$dev"
    readelf -d "$root/opt/wordcount" | grep 'libtidemark.so.0' >/dev/null || fail "the example is not linked with libtidemark.so.0"
    local i # minutes of text, with words enough that the counters' state outgrows its acks
    for ((i = 0; i < 40; i++)); do find -L /usr/share/common-licenses -type f -exec cat {} +; done >"$root/opt/text"
}

dependencies() { # in namespaces of its own
    mount -t proc proc "$1/proc"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$1" bash -c '
        set -e
        echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/unsafe
        apt-get update -q
        needs=$(apt-get install -s --no-install-recommends /opt/packages/*.deb | awk "/^Inst/ && !/tidemark/ {print \$2}")
        apt-get install -y -q --no-install-recommends $needs' >"$1.log" 2>&1 || { tail -n 20 "$1.log"; rm -f "$1.log"; return 1; }
    rm -f "$1.log"
}

group=tidemark-deb-$$
cgroups() { # runs a command where the cgroups can be seen
    unshare --mount --propagation private sh -c 'mount -t cgroup2 none /mnt && cd /mnt && eval "$1"' _ "$1"
}

boot() {
    cgroups "mkdir $group" || fail "this machine has no cgroup2: systemd cannot be started"
    bash tests/deb.sh init "$root" "$group" </dev/null >"$root.console" 2>&1 &
    local machine=$!
    trap 'set +e; kill -KILL '$machine' 2>/dev/null; wait '$machine' 2>/dev/null
          sleep 0.2; cgroups "find '$group' -depth -type d -exec rmdir {} +"
          rm -rf --one-file-system "$root" "$root.console" "$root.dev"' EXIT
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        # init is the child of unshare, which the script became.
        init=$(cat "/proc/$machine/task/$machine/children" 2>/dev/null | tr -d ' ') || true
        if [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ] &&
            nsenter -t "$init" -a systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; then
            return
        fi
        sleep 0.1
    done
    tail -n 20 "$root.console"
    fail "systemd does not come up in the root"
}

become_init() { # root, cgroup; in the end this process is unshare, and its child the root's systemd
    exec unshare --mount --propagation private sh -c '
        mount -t cgroup2 none /mnt && echo $$ >/mnt/'"$2"'/cgroup.procs && umount /mnt &&
        exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup --net bash "$0" init2 "$1"' "$0" "$1"
}

become_init2() {
    mount --bind "$1" "$1"
    mount -t proc proc "$1/proc"
    mount -t sysfs -o ro sysfs "$1/sys"
    mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
    mount -t tmpfs tmpfs "$1/run"
    mount -t tmpfs tmpfs "$1/tmp"
    cd "$1"
    mkdir -p run/before && pivot_root . run/before
    exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        sh -c 'umount -l /run/before; exec /lib/systemd/systemd --log-target=journal-or-kmsg --unit=multi-user.target'
}

# ---------------------------------------------------------------- inside, on the machine that was booted

step() { echo "deb: $*"; }
apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends "$@" >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; fail "apt-get $*"; }; }
property() { systemctl show tidemarkd -P "$1"; }
logged() { journalctl -q -u tidemarkd --no-pager | grep -- "$1" >/dev/null; } # read to its end: no broken pipe
wait_for() { # what, then a command, for at most 20 s
    local tries what=$1
    for ((tries = 0; tries < 200; tries++)); do
        if "${@:2}" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    journalctl -u tidemarkd --no-pager -n 20
    fail "$what: not after 20 s"
}

# Every file with its kind, mode, owner and content, but for what belongs to apt, dpkg, and a
# system that runs.
listing() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /opt \
        -o -path /var/log -o -path /var/cache -o -path /var/tmp -o -path /var/lib/apt -o -path /var/lib/dpkg \
        -o -path '/var/lib/systemd/random-seed' -o -path /var/lib/systemd/timers -o -path /var/lib/systemd/catalog \
        -o -name '.updated' -o -path /etc/ld.so.cache -o -path '/etc/*-' -o -path /etc/.pwd.lock \) -prune -o -print0 |
        sort -z | xargs -0 stat --printf '%F %a %U:%G %n\n'
    sha256sum /etc/passwd /etc/group /etc/shadow /etc/gshadow
    find /etc -xdev -type f ! -name '*-' ! -path /etc/ld.so.cache ! -path /etc/.pwd.lock ! -name .updated -print0 | sort -z | xargs -0 sha256sum
}

install_packages() { apt_get install /opt/packages/*.deb; }

check_unit() {
    local exposure
    [ "$(property ActiveState) $(property User) $(property NotifyAccess)" = "active tidemark main" ] ||
        fail "the service is $(property ActiveState), user $(property User)"
    [[ $(property StatusText) == "Listening on port 7460" ]] || fail "its status is '$(property StatusText)'"
    [ "$(systemctl is-enabled tidemarkd)" = enabled ] || fail "it is not enabled"
    systemd-analyze verify --man=no tidemarkd.service || fail "systemd-analyze verify"
    exposure=$(systemd-analyze security --offline=true --no-pager /lib/systemd/system/tidemarkd.service |
        sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')
    awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 2.0) }' || fail "systemd-analyze security: $exposure is over 2.0"
    step "up, exposure $exposure"
}

start_job() { # as a user of its own, with no more than the manual says
    local stage
    chown nobody /opt/parts
    for stage in "source --index 0" "source --index 1" "splitter --index 0" "splitter --index 1" \
        "counter --index 0" "counter --index 1" sink; do
        # shellcheck disable=SC2086
        systemd-run -q --unit="wordcount-${stage// /}" -p User=nobody -p SupplementaryGroups=tidemark -p UMask=0007 \
            -p Restart=on-failure -p RestartSec=200ms \
            /opt/wordcount $stage --input /opt/text --parts /opt/parts --rate 40000 --interval 60000
    done
    wait_for "the job runs" bash -c 'tidemark jobs | grep -q "wordcount.*RUNNING"'
}

files_of_workers() { tidemark checkpoint wordcount && find /var/lib/tidemark/state -user nobody -type f | grep . >/tmp/files; }

check_job() {
    local place round
    place=$(tidemark savepoint wordcount) || fail "no savepoint"
    [ -f "$place/_metadata" ] || fail "no savepoint in '$place'"
    step "savepoint $place"
    # What the daemon deletes belongs to the workers' user.
    wait_for "a checkpoint with files" files_of_workers
    round=$(dirname "$(head -n 1 /tmp/files)")
    [ "$(stat -c %U:%G "$round")" = nobody:tidemark ] || fail "$round: $(stat -c %U:%G "$round")"
    tidemark checkpoint wordcount >/dev/null && tidemark checkpoint wordcount >/dev/null
    wait_for "$round is deleted" test ! -e "$round"
    if logged 'could not be deleted'; then fail "the daemon cannot delete what workers wrote"; fi
    [ "$(journalctl -q JOB=wordcount _SYSTEMD_UNIT=tidemarkd.service --no-pager | wc -l)" -ge 2 ] || fail "the journal has no JOB=wordcount"
}

check_reload() {
    cp /etc/tidemark/tidemarkd.conf /tmp/conf
    printf '[nonsense]\n' >>/etc/tidemark/tidemarkd.conf
    if systemctl reload tidemarkd 2>/dev/null; then fail "a reload with errors says nothing"; fi
    logged 'unknown section \[nonsense\]' || fail "the journal does not name the error"
    [ "$(property ActiveState)" = active ] || fail "a reload with errors ended it"
    sed 's/^#jobs = .*/jobs = 999/' /tmp/conf >/etc/tidemark/tidemarkd.conf
    systemctl reload tidemarkd || fail "it cannot be reloaded"
    wait_for "the reload" logged '\[limits\] jobs is 999 from now on'
    cp /tmp/conf /etc/tidemark/tidemarkd.conf
    systemctl reload tidemarkd
    step "reloaded"
}

restarted() { [ "$(property NRestarts)" -gt "$1" ] && [ "$(property ActiveState)" = active ]; }
check_restarts() {
    local before
    before=$(property NRestarts)
    systemctl kill -s KILL tidemarkd
    wait_for "it is started again after kill -9" restarted "$before"
    wait_for "the job goes on" tidemark checkpoint wordcount --timeout 5s
    # It hangs: the watchdog, set to two seconds for the test, ends it.
    mkdir -p /run/systemd/system/tidemarkd.service.d
    printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/tidemarkd.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart tidemarkd
    wait_for "the job goes on" tidemark checkpoint wordcount --timeout 5s
    sleep 3 # fed, it lives longer than its watchdog
    before=$(property NRestarts)
    [ "$(property ActiveState) $before" = "active 0" ] || fail "the watchdog is not fed: $(property ActiveState), $before restarts"
    systemctl kill -s STOP tidemarkd
    wait_for "the watchdog notices that it hangs" restarted "$before"
    logged 'Watchdog timeout' || fail "it was not the watchdog"
    rm -r /run/systemd/system/tidemarkd.service.d && systemctl daemon-reload
    wait_for "the job goes on" tidemark checkpoint wordcount --timeout 5s
    step "killed, hung, and back"
}

# What tidemarkd(8) says about a state root in another place: a drop-in, or a clear error.
check_elsewhere() {
    install -d -m 2770 -o tidemark -g tidemark /srv/state
    cp -p /etc/tidemark/tidemarkd.conf /tmp/conf
    sed -i 's|^#state =.*|state = /srv/state|' /etc/tidemark/tidemarkd.conf
    if systemctl restart tidemarkd 2>/dev/null; then fail "the daemon may write to /srv"; fi
    logged '\[daemon\] state: /srv/state: Read-only file system' || fail "it does not say why it cannot write to /srv"
    mkdir -p /run/systemd/system/tidemarkd.service.d
    printf '[Unit]\nRequiresMountsFor=/srv/state\n[Service]\nReadWritePaths=/srv/state\n' \
        >/run/systemd/system/tidemarkd.service.d/state.conf
    systemctl daemon-reload && systemctl restart tidemarkd || fail "it does not start with the drop-in"
    cp -p /tmp/conf /etc/tidemark/tidemarkd.conf
    rm -r /run/systemd/system/tidemarkd.service.d /srv/state && systemctl daemon-reload && systemctl restart tidemarkd
    step "state in another place"
}

inside() {
    local place
    trap '[ $? = 0 ] || systemctl status --no-pager -l -n 20 tidemarkd' EXIT
    listing >/tmp/before
    install_packages
    check_unit
    start_job
    check_job
    check_reload
    check_restarts
    echo '# mine' >>/etc/tidemark/tidemarkd.conf
    apt_get install --reinstall /opt/packages/*.deb
    grep -q '^# mine$' /etc/tidemark/tidemarkd.conf || fail "a reinstallation overwrote the configuration"
    wait_for "the job goes on" tidemark checkpoint wordcount --timeout 5s
    place=$(tidemark savepoint wordcount)
    systemctl stop 'wordcount-*'
    check_elsewhere

    apt_get remove tidemark
    [ "$(property ActiveState)" != active ] || fail "it runs on after the removal"
    [ -f /etc/tidemark/tidemarkd.conf ] || fail "the removal took the configuration"
    apt_get purge tidemark libtidemark0 libtidemark-dev libtidemark-state0 libtidemark-state-dev
    systemctl daemon-reload
    [ -f "$place/_metadata" ] && [ -f /var/lib/tidemark/tidemark.db ] || fail "the data is gone"
    listing >/tmp/after
    # The data's owner stays with the data.
    diff <(grep -vE ' /etc/(passwd|group|shadow|gshadow)$' /tmp/before) \
        <(grep -vE ' /etc/(passwd|group|shadow|gshadow)$| /var/lib/tidemark(/|$)' /tmp/after) || fail "left behind by the purge"
    step "purged, the data is there"

    # Whoever removes the data removes all.
    install_packages
    systemctl stop tidemarkd
    rm -rf /var/lib/tidemark
    apt_get purge tidemark libtidemark0 libtidemark-dev libtidemark-state0 libtidemark-state-dev
    systemctl daemon-reload
    listing >/tmp/after
    diff /tmp/before /tmp/after || fail "left behind by the purge"
    step "purged without data, no trace"
}

case ${1:-} in
inside) inside ;;
dependencies) dependencies "$2" ;;
init) become_init "$2" "$3" ;;
init2) become_init2 "$2" ;;
possible) cgroups "mkdir $group && rmdir $group" 2>/dev/null ;; # can systemd be started here?
*) outside "$@" ;;
esac
