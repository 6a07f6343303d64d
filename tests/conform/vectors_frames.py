"""Frames: cut anywhere, too long, empty, unreadable; and messages in the wrong place."""
import time

import wire
from peer import Peer, Worker, check, field, frame_of, unknown_field, vector
from wire import c, w
from proto import admin_pb2 as a

STREAM = "A frame may arrive in pieces of any size, and several in one piece"
LIMIT = "A body has at most 64 KiB before Hello is accepted and at most Welcome.frame_max (16 MiB) afterwards"
EMPTY = "A body of length 0 is a frame (and, as it carries no message, MALFORMED)"
PARSE = "a body that does not parse, columns of unequal length, a number out of range, a text that is not UTF-8"
OVER = "After Refused nothing more comes, nothing more is read"
BEFORE_JOIN = "a message that this state of the connection does not allow (an ack before Join, a second Hello)"
BESIDE = "In FromWorker and ToWorker nothing may stand beside the one member"
MEMBER = "an unknown member of a oneof is a message that the receiver does not know"
NO_HARM = "No error of one connection changes anything for another"


def hello_bytes(ctx):
    return wire.frame(w.FromWorker(hello=c.Hello(version_min=1, version_max=1, kind=c.PEER_WORKER,
                                                 secret=ctx.secret, software=b"cut")))


@vector("Hello cut at each byte", STREAM)
def every_cut(ctx):
    data = hello_bytes(ctx)
    for cut in range(1, len(data)):
        p = ctx.peer()
        p.raw(data[:cut])
        time.sleep(0.002)
        p.raw(data[cut:])
        p.expect("welcome")
        p.close()


@vector("a worker's life, byte by byte", STREAM)
def byte_by_byte(ctx):
    x = ctx.worker()

    def trickle(data):
        for i in range(len(data)):
            x.raw(data[i:i + 1])
    trickle(hello_bytes(ctx))
    x.expect("welcome")
    for part in wire.parts(x.join_message().SerializeToString()):
        trickle(wire.frame(w.FromWorker(join=part)))
    x.expect("joined")
    x.start()
    trickle(wire.frame(w.FromWorker(restored=w.Restored(attempt=x.attempt, tasks=x.mine()))))
    x.expect("run")
    t = x.trigger()
    trickle(wire.frame(w.FromWorker(ack=x.batch(t.round))))
    x.complete(t.round)


@vector("an AckBatch cut at each byte", STREAM)
def ack_cuts(ctx):
    x = ctx.worker().run()
    last = 0
    for cut in range(1, 70):
        data = wire.frame(w.FromWorker(ack=x.batch(1 << 40)))  # unknown: ignored, as a whole
        if cut >= len(data):
            break
        x.raw(data[:cut])
        time.sleep(0.001)
        x.raw(data[cut:])
        last = cut
    check(last > 20, "only %d cuts" % last)
    x.round()


@vector("1,000 frames in one piece", STREAM)
def many(ctx):
    x = ctx.worker().joined()
    x.raw(b"".join(wire.frame(w.FromWorker(heartbeat=w.Heartbeat(sequence=i))) for i in range(1, 1001)))
    for i in range(1, 1001):
        m = x.expect("alive", skip=("start",))
        check(m.sequence == i, "heartbeat %d answered in the place of %d" % (m.sequence, i))


@vector("closed within a header", NO_HARM)
def cut_header(ctx):
    p = ctx.peer()
    p.raw(b"\x10\0")
    p.close()
    ctx.peer().welcomed()


@vector("closed within a body", NO_HARM)
def cut_body(ctx):
    x = ctx.worker().run()
    x.raw(wire.frame(w.FromWorker(ack=x.batch(1)))[:-1])
    x.close()
    ctx.peer().welcomed()


def lengths(name, length, hello):
    @vector("length: " + name, LIMIT)
    def play(ctx):
        p = ctx.peer()
        if hello:
            p.welcomed()
        p.raw(frame_of(length, b"\x0a"))
        p.refused(c.REFUSED_TOO_LONG, str((16 << 20) if hello else 65536))


lengths("65,537 before Hello", 65537, False)
lengths("4 GiB before Hello", 0xFFFFFFFF, False)
lengths("16 MiB and a byte", (16 << 20) + 1, True)
lengths("4 GiB", 0xFFFFFFFF, True)


@vector("length: 4 GiB from an admin", LIMIT)
def long_admin(ctx):
    p = ctx.admin()
    p.raw(frame_of(0xFFFFFFFF))
    p.refused(c.REFUSED_TOO_LONG)


def padded(content, total, number):
    """A oneof's member, padded by an unknown field to a body of so many bytes."""
    pad = total
    while True:
        body = field(number, content + field(77, b"x" * pad))
        if len(body) <= total:
            break
        pad -= len(body) - total
    check(len(body) == total, "padded to %d instead of %d" % (len(body), total))
    return body


@vector("length: 65,536 before Hello", LIMIT)
def longest_hello(ctx):
    p = ctx.peer()
    h = c.Hello(version_min=1, version_max=1, kind=c.PEER_WORKER, secret=ctx.secret).SerializeToString()
    p.send(padded(h, 65536, 1))
    p.expect("welcome")


@vector("length: 16 MiB", LIMIT)
def longest(ctx):
    x = ctx.worker().run()
    x.send(padded(x.batch(1 << 40).SerializeToString(), 16 << 20, 6))  # of an unknown round: ignored
    x.alive()


@vector("length: what unpacks to more than 4 MiB", "Whatever the daemon unpacks from one frame must fit in 4 MiB of memory")
def unpacks(ctx):
    x = ctx.worker().run()
    x.send(padded(w.Heartbeat(sequence=5).SerializeToString(), 5 << 20, 3))
    x.refused(c.REFUSED_MALFORMED, "4 MiB")
    y = ctx.worker().run()
    y.send(finished=w.TaskFinished(attempt=9, tasks=[c.TaskRange(first=i % 1000) for i in range(200000)]))
    y.refused(c.REFUSED_MALFORMED, "4 MiB")


@vector("length: 0 before Hello", EMPTY)
def empty_hello(ctx):
    p = ctx.peer()
    p.send(b"")
    p.refused(c.REFUSED_MALFORMED)


@vector("length: 0 from a worker", EMPTY)
def empty_worker(ctx):
    p = ctx.peer().welcomed()
    p.send(b"")
    p.refused(c.REFUSED_MALFORMED)


@vector("length: 0 from an admin", EMPTY)
def empty_admin(ctx):
    p = ctx.admin()
    p.send(b"")
    p.refused(c.REFUSED_MALFORMED)


def garbage(name, body):
    @vector("unreadable: " + name, PARSE)
    def play(ctx):
        x = ctx.worker().joined()
        x.start()
        x.send(body)
        x.refused(c.REFUSED_MALFORMED)


garbage("all ones", b"\xff" * 100)
garbage("a member cut off", field(4, b"\x08\x01")[:-1])
garbage("a member longer than its frame", b"\x22\x7f\x08")
garbage("a member whose content is cut off", field(4, b"\x08"))
garbage("a number instead of a member", b"\x18\x05")
garbage("a field number of 0", b"\x02\x00")
garbage("a group", b"\x1b\x1c")
garbage("a range that is no message", field(4, field(2, b"\xff")))
garbage("two members", field(3, b"") + field(3, b""))
garbage("an ack cut off", field(6, b"\x1a\x05\x01"))


@vector("unreadable: from an admin", PARSE)
def garbage_admin(ctx):
    p = ctx.admin()
    p.send(b"\xff" * 30)
    p.refused(c.REFUSED_MALFORMED)


@vector("what follows Refused", OVER)
def after_refused(ctx):
    x = ctx.worker().joined()
    x.start()
    x.raw(wire.frame(b"\xff") + wire.frame(w.FromWorker(restored=w.Restored(attempt=x.attempt, tasks=x.mine()))))
    x.refused(c.REFUSED_MALFORMED)


@vector("a field beside the member", BESIDE)
def beside(ctx):
    x = ctx.worker().joined()
    x.start()
    x.send(field(3, b"\x08\x01") + unknown_field())
    x.refused(c.REFUSED_MALFORMED)


@vector("an unknown member: worker", MEMBER)
def unknown_member(ctx):
    x = ctx.worker().joined()
    x.start()
    x.send(field(99, b""))
    x.refused(c.REFUSED_UNSUPPORTED, "99")


@vector("an unknown member: admin", MEMBER)
def unknown_call(ctx):
    p = ctx.admin()
    p.send(field(99, b"") + a.Request(id=1).SerializeToString())
    p.refused(c.REFUSED_UNSUPPORTED)


def before_join(member):
    @vector("before Join: " + member, BEFORE_JOIN)
    def play(ctx):
        m = w.FromWorker()
        getattr(m, member).SetInParent()
        p = ctx.peer().welcomed(version_max=2)
        p.send(m)
        p.refused(c.REFUSED_STATE, "Join")


for _member in [f.name for f in w.FromWorker.DESCRIPTOR.fields if f.name not in ("hello", "join")]:
    before_join(_member)


@vector("an admin's call on a worker's connection", "Each kind of peer has its own messages; the other's are MALFORMED")
def admin_on_worker(ctx):
    p = ctx.peer().welcomed()
    p.send(a.Request(id=1, list_jobs=a.ListJobs()))
    p.refused(c.REFUSED_MALFORMED)


def worker_on_admin(member):
    @vector("a worker's %s on an admin's connection" % member,
            "Each kind of peer has its own messages; the other's are MALFORMED")
    def play(ctx):
        m = w.FromWorker()
        getattr(m, member).SetInParent()
        p = ctx.admin()
        p.send(m)
        p.refused(c.REFUSED_MALFORMED, "id")


worker_on_admin("heartbeat")
worker_on_admin("ack")
worker_on_admin("leave")


def ignored(name, change):
    @vector("unknown field in " + name, "Unknown fields are ignored")
    def play(ctx):
        x = ctx.worker(interval_ms=0).run()
        for body in change(x):
            x.send(body)
        x.send(heartbeat=w.Heartbeat(sequence=99))
        while x.receive().alive.sequence != 99:
            pass


def each_known(x):
    """Every message that may come at any time, of a round or attempt that is over where it names one."""
    extra = unknown_field()
    over, mine = 1 << 40, x.mine()
    for number, m in ((3, w.Heartbeat(sequence=7)), (4, w.Restored(attempt=over, tasks=mine)),
                      (5, w.RestoreFailed(attempt=over)), (7, w.Decline(attempt=over, round=1)),
                      (8, w.Barrier(attempt=over, round=1)), (9, w.TaskFinished(attempt=over, tasks=mine)),
                      (10, w.Confirm(attempt=over, round=1, tasks=mine)), (11, w.HolderGone())):
        yield field(number, m.SerializeToString() + extra)


ignored("every message of a worker", each_known)
ignored("TaskRange", lambda x: [field(9, b"\x08" + bytes([x.attempt]) + field(2, b"\x10\x01" + unknown_field()))])
ignored("HolderGone.holder", lambda x: [field(11, field(1, x.host.SerializeToString() + unknown_field()))])
ignored("TaskProgress", lambda x: [field(8, b"\x08\x01\x10\x01" + field(3, unknown_field()))])


@vector("unknown field in AckBatch and TaskAck", "Unknown fields are ignored")
def ignored_ack(ctx):
    x = Worker(ctx, ctx.worker().spec, (0,)).run()
    t = x.trigger()
    full = w.TaskAck(task=0).SerializeToString() + unknown_field(99)
    body = w.AckBatch(attempt=x.attempt, round=t.round).SerializeToString() + field(15, full) + unknown_field()
    x.send(field(6, body))
    x.complete(t.round)


@vector("a peer that hangs up at once", NO_HARM)
def hang_up(ctx):
    for _ in range(50):
        Peer(ctx).close()
    ctx.peer().welcomed()
