#!/usr/bin/python3
"""Conformance vectors: an implementation of Tidemark's daemon against docs/protocol.md.

    conform.py [--connect HOST:PORT | --daemon PATH] [--secret FILE] [-k PATTERN] [--list]

With --connect the vectors are played against whatever listens there: jobs named conform-* appear,
and stay. With --daemon the program is started, in a folder of its own, with a secret and short
limits, and vectors that need it to be restarted are played too. Each vector has a name, the sentence of the
page that it checks, and a result; after each group, and at the end, the job of a bystander who
keeps the rules must still complete a round. Exit codes: 0 all pass, 1 some do not, 2 wrong use.

Needs python3-protobuf and python3-xxhash, and the modules that
`protoc --python_out=FOLDER proto/*.proto` makes, with FOLDER in PYTHONPATH.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import sys
import tempfile
import time

import admin
import peer
import vectors_hello  # noqa: F401: each registers its vectors
import vectors_frames  # noqa: F401
import vectors_join  # noqa: F401
import vectors_spec  # noqa: F401
import vectors_rounds  # noqa: F401
import vectors_import  # noqa: F401
import vectors_meet  # noqa: F401
import vectors_unaligned  # noqa: F401
import vectors_regions  # noqa: F401
import vectors_leases  # noqa: F401
import vectors_admin  # noqa: F401
import vectors_orders  # noqa: F401
import vectors_externals  # noqa: F401
import vectors_stop  # noqa: F401
import vectors_statistics  # noqa: F401
import vectors_restart  # noqa: F401
import vectors_shared  # noqa: F401

SIDE_BY_SIDE = 12
HELLO_TIMEOUT_S = 2
HASTY_TRIES = 4
SECRET = b"conform's secret"
CONFIG = """[daemon]
secret-file = %s
log-level = warn
[limits]
hello-timeout = %ds
output-queue = 1M
"""


def words(text):
    """A text as the page and the vectors have it in common: without line ends and mark-up."""
    return re.sub(r"\s+", " ", re.sub(r"[`*]", "", text)).strip()


def unquoted(chosen, page):
    with open(page, encoding="utf-8") as f:
        text = words(f.read())
    return sorted({v.says for v in chosen if words(v.says) not in text})


def play(ctx, v):
    begun = time.monotonic()
    try:
        v.play(ctx)
        failure = None
    except Exception as e:  # whatever it is, the vector has failed
        failure = str(e) if isinstance(e, peer.Failed) else "%s: %s" % (type(e).__name__, e)
    return v, failure, time.monotonic() - begun


def report(v, failure, seconds, verbose):
    if failure:
        print("FAIL  %s/%s\n      the page: %s\n      %s" % (v.group, v.name, v.says, failure))
    elif verbose:
        print("ok    %s/%s  %.2f s" % (v.group, v.name, seconds))


def play_group(ctx, chosen, verbose, side_by_side):
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(side_by_side) as pool:
        results = list(pool.map(lambda v: play(ctx, v), chosen))
    for v, failure, seconds in results:
        tries = 1
        while failure and v.hasty and tries < HASTY_TRIES:
            print("again %s/%s: %s" % (v.group, v.name, failure))
            v, failure, seconds = play(ctx, v)
            tries += 1
        report(v, failure, seconds, verbose)
        failed += failure is not None
    return failed


def still_healthy(ctx, bystander, after):
    try:
        bystander.healthy()
        return 0
    except Exception as e:
        print("FAIL  after %s: %s" % (after, e))
        return 1


def play_all(ctx, chosen, verbose):
    failed = 0
    bystander = peer.Bystander(ctx)
    groups = list(dict.fromkeys(v.group for v in chosen))
    for group in groups:
        if group == "restart":  # the vectors before it leave a daemon that still ends in good order
            bystander.end()
            code = ctx.daemon.stop()
            if code:
                print("FAIL  the daemon ended with %d" % code)
                failed += 1
            ctx.daemon.start()
        failed += play_group(ctx, [v for v in chosen if v.group == group], verbose,
                             1 if group == "restart" else SIDE_BY_SIDE)
        if group == "restart":
            bystander = peer.Bystander(ctx)
        failed += still_healthy(ctx, bystander, group)
    bystander.end()
    return failed


def arguments():
    p = argparse.ArgumentParser(description="Plays conformance vectors against a daemon.")
    p.add_argument("--connect", metavar="HOST:PORT", help="what listens there")
    p.add_argument("--daemon", metavar="PATH", help="a program to start; flags and configuration as tidemarkd's")
    p.add_argument("--secret", metavar="FILE", help="the secret of the one to connect to")
    p.add_argument("--hello-timeout", type=float, default=10, metavar="S", help="of the one to connect to [10]")
    p.add_argument("-k", metavar="PATTERN", default="", help="only vectors whose group/name matches")
    p.add_argument("--list", action="store_true", help="name the vectors, with what they check")
    p.add_argument("-v", action="store_true", help="name also those that pass")
    return p


def main():
    p = arguments()
    o = p.parse_args()
    chosen = [v for v in peer.vectors if re.search(o.k, "%s/%s" % (v.group, v.name))]
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/protocol.md")
    strange = unquoted(chosen, page)
    for says in strange:
        print("FAIL  a vector checks what docs/protocol.md does not say: %s" % says)
    if o.list:
        for v in chosen:
            print("%s/%s: %s" % (v.group, v.name, words(v.says)))
        return 1 if strange else 0
    if bool(o.connect) == bool(o.daemon):
        p.error("one of --connect and --daemon")
    secret = b""
    if o.secret:
        with open(o.secret, "rb") as f:
            secret = f.read().rstrip(b"\r\n")
    daemon = folder = None
    if o.daemon:
        folder = tempfile.mkdtemp(prefix="conform-")
        path = os.path.join(folder, "secret")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(SECRET + b"\n")
        secret = SECRET
        daemon = admin.Daemon(o.daemon, folder, CONFIG % (path, HELLO_TIMEOUT_S))
        ctx = peer.Context(daemon.address, secret, HELLO_TIMEOUT_S, daemon)
    else:
        host, _, port = o.connect.rpartition(":")
        ctx = peer.Context((host.strip("[]"), int(port)), secret, o.hello_timeout)
    have = {None, "daemon" if daemon else None, "secret" if secret else None}
    played = [v for v in chosen if v.needs in have]
    begun = time.monotonic()
    try:
        failed = len(strange) + play_all(ctx, played, o.v)
    finally:
        code = daemon.stop() if daemon else 0
    if code:
        print("FAIL  the daemon ended with %d; its folder: %s" % (code, folder))
        failed += 1
    elif folder and not failed:
        shutil.rmtree(folder)
    print("conform: %d vectors, %d failed, %d not played, %.1f s" % (
        len(played), failed, len(chosen) - len(played), time.monotonic() - begun))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
