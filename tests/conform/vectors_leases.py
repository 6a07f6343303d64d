"""Heartbeats, leases, coming back, taking another's place."""
import itertools
import select
import time

import wire
from peer import PATIENCE_S, Failed, Worker, check, make_spec, short, vector
from wire import c, w
from proto import admin_pb2 as a

BEAT = "the daemon answers each by HeartbeatAck"
LOST = "The daemon declares it lost when its lease (L + L/8) is over, when it sent Leave"
AWAY = "A cut connection ends no lease: the worker is away until it is back"
RESUMED = "If the attempt is still open the daemon answers Joined and Resumed, then Run again if the job runs"
PARKED = "Parked: its tasks are held by a worker that is away, named with its host"
GONE = "If the holder ran on the same host (same boot id) and the worker sees that no process with that pid and start time runs, it sends HolderGone"
REWIND = "Rewind: the attempt it joined with is over: it drops what its tasks have and sends Join again, without token"
UNANSWERED = "From Rewind on the daemon neither answers nor counts a worker's heartbeats until it has joined again"
LEAVE = "Leave from a worker is an orderly goodbye: its tasks are free at once"
ONLY = "A heartbeat renews the lease, and so does a Join; nothing else does"


@vector("heartbeats", BEAT)
def beats(ctx):
    x = ctx.worker().joined()
    for number in (1, 2, 300, 1 << 40, (1 << 64) - 1):
        x.send(heartbeat=w.Heartbeat(sequence=number))
        check(x.expect("alive", skip=("start",)).sequence == number, "another sequence than %d" % number)


@vector("heartbeats while parked", BEAT)
def beats_parked(ctx):
    x = ctx.worker().run()
    x.close()
    y = Worker(ctx, x.spec).welcomed()
    y.join()
    y.expect("parked")
    y.alive()


@vector("a silent worker is lost", LOST, hasty=True)
def silent(ctx):
    begun = time.monotonic()
    x, y = ctx.pair(lease_ms=1000, heartbeat_ms=250)
    while time.monotonic() < begun + 8:
        x.send(heartbeat=w.Heartbeat(sequence=1))
        m = x.receive()
        if m.WhichOneof("msg") == "rewind":
            break
        time.sleep(0.05)
    took = time.monotonic() - begun
    check(m.WhichOneof("msg") == "rewind" and 1 <= took < 8, "after %.2f s: %s" % (took, short(m)))
    x.reason(m.rewind.reason, (y.name.decode(), "lease"))
    y.ends()
    z = y.again()  # under its old token
    check(z.expect("rewind").attempt == 1, "another attempt is rewound")
    z.join()
    z.expect("joined")


@vector("what renews a lease", ONLY, hasty=True)
def only_beats(ctx):
    begun = time.monotonic()
    x = ctx.worker(lease_ms=1000, heartbeat_ms=250).run()
    while time.monotonic() < begun + 8:
        x.confirm(1)
        try:
            x.ends(0.05)
            break
        except Failed:
            pass
    check(1 <= time.monotonic() - begun < 8, "other messages have renewed it")


@vector("a lease that is kept", LOST, hasty=True)
def kept(ctx):
    x = ctx.worker(lease_ms=1500, heartbeat_ms=150).run()
    end = time.monotonic() + 2
    for number in itertools.count(1):
        x.alive(number)
        if time.monotonic() > end:
            break
        time.sleep(0.15)
    x.round()


@vector("away and back", RESUMED)
def away(ctx):
    x, y = ctx.pair()
    x.close()
    y.quiet()
    z = x.again()
    check(z.expect("joined").job_id == x.answer_joined.job_id, "another job")
    check(z.expect("resumed").attempt == 1, "another attempt is resumed")
    check(z.expect("run").attempt == 1, "another attempt runs")
    y.quiet()
    t = z.trigger()
    y.expect("trigger")
    z.ack(t.round)
    y.ack(t.round)
    z.complete(t.round)


@vector("away and back: on a second connection", RESUMED)
def second_connection(ctx):
    x = ctx.worker().run()
    z = x.again()  # the first is still open, half of it perhaps
    z.expect("joined")
    z.expect("resumed")
    z.expect("run")
    x.ends()
    z.round()


@vector("away and back: a trigger meanwhile", "Complete, Abort, or Trigger again if it is still under way")
def away_trigger(ctx):
    x, y = ctx.pair()
    x.close()
    ctx.checkpoint(x.spec.name)
    t = y.expect("trigger")
    z = x.again()
    for kind in ("joined", "resumed", "run"):
        z.expect(kind)
    check(z.expect("trigger").round == t.round, "another round")
    z.ack(t.round)
    y.ack(t.round)
    z.complete(t.round)


@vector("away and back: a completion meanwhile", "Complete, Abort, or Trigger again if it is still under way")
def away_complete(ctx):
    x, y = ctx.pair()
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    x.alive()
    x.close()
    y.ack(t.round)
    y.complete(t.round)
    z = x.again(open=[w.OpenRound(round=t.round, acked=x.mine())])
    for kind in ("joined", "resumed", "run"):
        z.expect(kind)
    z.complete(t.round)


@vector("away and back: a completion it has not heard of", "round of the attempt that commits, above told_complete, if there is one that was not told by that")
def away_untold(ctx):
    x, y = ctx.pair()
    x.close()
    for _ in range(2):
        ctx.checkpoint(x.spec.name)
        t = y.expect("trigger")
        z = x.again()
        for kind in ("joined", "resumed", "run", "trigger"):
            z.expect(kind, skip=("alive", "complete"))
        z.ack(t.round)
        z.alive()
        z.close()
        y.ack(t.round)
        y.complete(t.round)
    told = x.again(told_complete=t.round)
    for kind in ("joined", "resumed", "run"):
        told.expect(kind)
    told.quiet()
    told.close()
    untold = x.again()
    for kind in ("joined", "resumed", "run"):
        untold.expect(kind)
    untold.complete(t.round)


@vector("away and back: an abort meanwhile", "Complete, Abort, or Trigger again if it is still under way")
def away_abort(ctx):
    x, y = ctx.pair()
    t = x.trigger()
    y.expect("trigger")
    x.close()
    y.decline(t.round)
    y.expect("abort")
    z = x.again(open=[w.OpenRound(round=t.round)])
    for kind in ("joined", "resumed", "run"):
        z.expect(kind)
    m = z.expect("abort")
    check(m.round == t.round and m.attempt == 1, short(m))


@vector("away and back: with other tasks", REWIND)
def away_tasks(ctx):
    spec = make_spec(ctx.job(), ((b"op", 2),))
    x = Worker(ctx, spec, (0, 1)).run()
    x.close()
    y = x.again(tasks=[c.TaskRange(first=0, count=1)])
    y.expect("rewind")


@vector("away and back: another process", REWIND)
def away_process(ctx):
    x = ctx.worker().run()
    x.close()
    y = x.again(host=w.Host(boot_id=b"conform/1", pid=4000000, start_time=9))
    y.expect("rewind")


@vector("away and back: with nothing", "One that joins again with nothing has lost what it had: the attempt ends")
def away_nothing(ctx):
    x, y = ctx.pair()
    x.close()
    z = Worker(ctx, x.spec, x.tasks, x.name)
    z.host = x.host
    z.joined()
    y.reason(y.expect("rewind").reason, (x.name.decode(),))
    y.join()
    y.expect("joined")
    check(z.start().token.attempt == 2, "attempt %d" % z.attempt)


@vector("Rewind", UNANSWERED)
def rewind(ctx):
    x, y = ctx.pair()
    y.send(leave=w.Leave(reason=b"enough"))
    y.ends()
    m = x.expect("rewind")
    x.reason(m.reason, (y.name.decode(), "enough"))
    x.send(heartbeat=w.Heartbeat(sequence=5))
    x.restored()
    x.ack(1)
    x.quiet()
    x.join()
    x.expect("joined")
    x.alive()
    z = Worker(ctx, x.spec, (1,)).joined()
    check(x.start().token.attempt == z.start().token.attempt == 2, "two attempts")
    check(x.token.external > 0, "no number for the outside")


@vector("Rewind: parts of a Join and heartbeats between them", "Between the parts of one message other messages may stand")
def rewind_parts(ctx):
    x = ctx.worker().run()
    x.send(restore_failed=w.RestoreFailed(attempt=1, task=0))
    x.expect("rewind")
    data = x.join_message().SerializeToString()

    low, high = wire.digest(data)
    x.send(join=w.Part(data=data[:10]))
    x.send(heartbeat=w.Heartbeat(sequence=1))
    x.send(join=w.Part(data=data[10:], count=2, digest_low=low, digest_high=high))
    x.expect("joined")


@vector("the number for the outside", "It rises with every attempt in the whole store")
def external(ctx):
    x = ctx.worker().run()
    first = x.token.external
    other = ctx.worker().run().token.external
    x.send(restore_failed=w.RestoreFailed(attempt=1, task=0))
    x.expect("rewind")
    x.join()
    x.expect("joined")
    check(first < other < x.start().token.external, "%d, %d, %d" % (first, other, x.token.external))


@vector("Leave", LEAVE)
def leave(ctx):
    x = ctx.worker().run()
    x.send(leave=w.Leave(reason=b"bye"))
    x.ends()
    y = Worker(ctx, x.spec).joined()
    check(y.start().token.attempt == 2, "attempt %d" % y.attempt)


@vector("Leave: before Start", LEAVE)
def leave_waiting(ctx):
    spec = make_spec(ctx.job(), ((b"op", 2),))
    x = Worker(ctx, spec, (0,)).joined()
    x.send(leave=w.Leave())
    x.ends()
    y = Worker(ctx, spec, (0,)).joined()
    z = Worker(ctx, spec, (1,)).joined()
    y.start()
    z.start()


@vector("Leave: a reason that is not UTF-8", "a text that is not UTF-8")
def leave_text(ctx):
    x = ctx.worker().run()
    x.send(leave=w.Leave(reason=b"\xff"))
    x.refused(c.REFUSED_MALFORMED, "Leave")


def parked(ctx, **host):
    """A worker that is away, and another process that waits for its place."""
    x = ctx.worker(lease_ms=9000, heartbeat_ms=500).run()
    x.close()
    y = Worker(ctx, x.spec).welcomed()
    if host:
        y.host = w.Host(**host)
    y.join()
    m = y.expect("parked")
    check(m.worker == x.name and m.holder == x.host, short(m))
    check(8000 < m.wait_ms <= 9000 * 9 // 8, "wait_ms is %d" % m.wait_ms)
    return x, y


@vector("parked", PARKED)
def parked_back(ctx):
    x, y = parked(ctx)
    y.quiet()
    z = x.again()
    z.expect("joined")
    z.expect("resumed")
    y.quiet()


@vector("parked: the holder's process is gone", GONE)
def holder_gone(ctx):
    x, y = parked(ctx)
    y.send(holder_gone=w.HolderGone(holder=x.host))
    y.expect("joined")
    check(y.start().token.attempt == 2, "attempt %d" % y.attempt)
    z = x.again()
    check(z.expect("rewind").attempt == 1, "another attempt is rewound")


def not_gone(name, change, **host):
    @vector("parked: " + name, "HolderGone counts only from the same boot id and with the very Host that Parked named")
    def play(ctx):
        x, y = parked(ctx, **host)
        h = w.Host()
        h.CopyFrom(x.host)
        change(h)
        y.send(holder_gone=w.HolderGone(holder=h))
        y.alive()
        z = x.again()
        z.expect("joined")
        z.expect("resumed")


not_gone("another pid is gone", lambda h: setattr(h, "pid", h.pid + 1))
not_gone("another start time is gone", lambda h: setattr(h, "start_time", 7))
not_gone("gone on another host", lambda h: setattr(h, "boot_id", b"conform/2"))
not_gone("no host at all", lambda h: h.Clear())
not_gone("said from another host", lambda h: None, boot_id=b"conform/2", pid=1, start_time=1)
not_gone("said from nowhere", lambda h: None, pid=1)


@vector("parked: until the lease is over", "Otherwise the holder's lease decides, at most wait_ms",
        hasty=True)
def parked_lease(ctx):
    x = ctx.worker(lease_ms=1000, heartbeat_ms=250).run()
    x.close()
    y = Worker(ctx, x.spec).welcomed()
    y.join()
    y.expect("parked")
    begun = time.monotonic()
    y.expect("joined")
    check(time.monotonic() - begun < 8, "it took %.1f s" % (time.monotonic() - begun))
    y.start()


@vector("parked: two for one place", PARKED)
def parked_two(ctx):
    x, y = parked(ctx)
    z = Worker(ctx, x.spec).welcomed()
    z.join()
    z.expect("parked")
    y.send(holder_gone=w.HolderGone(holder=x.host))
    first = y if select.select([y.socket, z.socket], [], [], PATIENCE_S)[0] == [y.socket] else z
    m = first.receive()
    if m.WhichOneof("msg") == "parked":  # by the other, who has it now
        first = z if first is y else y
        m = first.receive()
    check(m.WhichOneof("msg") == "joined", short(m))
    other = z if first is y else y
    try:
        m = other.receive(0.3)
    except Failed:
        return
    check(m is not None and m.WhichOneof("msg") == "parked", "both: %s" % short(m or "closed"))


@vector("a lost worker's tasks", AWAY)
def shown_away(ctx):
    x = ctx.worker().run()
    x.close()
    admin = ctx.admin()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        shown = admin.ask(show_job=a.ShowJob(job=x.spec.name)).job
        if shown.workers[0].state == b"away":
            break
        time.sleep(0.02)
    check(shown.workers[0].state == b"away" and shown.summary.state == b"RUNNING", short(shown.workers[0]))
    check(shown.workers[0].lease_left_ms > 5000, short(shown.workers[0]))
