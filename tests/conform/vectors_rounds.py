"""Start, rounds, acks in every wrong form, declines, confirms, the end of the input."""
import time

from peer import Worker, check, field, make_spec, raw_batch, short, varint, vector
from wire import c, w
from proto import admin_pb2 as a

START = "When every task of the job is hosted once, and whoever held an earlier attempt has dropped it"
RESTORED = "It answers Restored for tasks that have their state, in one message or several"
OTHERS = "A worker speaks for its own tasks alone: a message that names another's, or one that does not exist, is MALFORMED"
STALE = "a message of another attempt than the one under way, or about another round"
COLUMNS = "Each column must stand in one packed field; the columns of the first group have equal lengths"
WHOLE = "The batch is checked as a whole before any entry counts"
COUNTS = "the first ack counts, in whichever form, and repeated ones change nothing"
FULL = "A path is relative, of at most 1,024 bytes"
DECLINE = "Decline: the task cannot take part, with a reason for people, and optionally not before a time. It aborts the round"
CONFIRM = "A worker confirms a round when the tasks have carried out what its completion, and that of all earlier rounds, asks of them"
TEXT = "a text that is not UTF-8"
FINISHED = "A task that has read its input to the end sends TaskFinished and holds its end"


@vector("Start", START)
def start(ctx):
    spec = make_spec(ctx.job(), ((b"op", 3),))
    x, y = Worker(ctx, spec, (0, 2)).joined(), Worker(ctx, spec, (1,))
    x.quiet()
    y.joined()
    for m in (x.start(), y.start()):
        check(m.token.attempt == 1 and m.token.external and m.token.job_id == x.answer_joined.job_id, short(m))
        check(m.token.store_id == x.welcome.store_id and m.token.nonce == x.welcome.nonce, short(m))
        check(m.directory.startswith(b"/") and spec.name in m.directory, "directory %s" % m.directory)
        check(not m.snapshot and not m.tasks and not m.ended and not m.deliver_only, short(m))
        check({p.worker for p in m.peers} == {x.name, y.name}, "peers: %s" % short(m))
        check(all(p.endpoint == b"nowhere" for p in m.peers), "endpoints: %s" % short(m))


@vector("Run waits for every task", RESTORED)
def run_waits(ctx):
    spec = make_spec(ctx.job(), ((b"op", 3),))
    x, y = Worker(ctx, spec, (0, 2)).joined(), Worker(ctx, spec, (1,)).joined()
    x.start()
    y.start()
    x.restored([2])
    y.restored()
    x.quiet()
    x.restored([0])
    check(x.expect("run").attempt == 1 and y.expect("run").attempt == 1, "another attempt runs")


@vector("Restored twice", RESTORED)
def restored_twice(ctx):
    x = ctx.worker().joined()
    x.start()
    x.restored()
    x.restored()
    x.expect("run")
    x.restored()
    x.quiet()
    x.round()


@vector("Restored of an attempt that is none", STALE)
def restored_stale(ctx):
    x = ctx.worker().joined()
    x.start()
    for attempt in (0, 2, 1 << 60):
        x.send(restored=w.Restored(attempt=attempt, tasks=x.mine()))
    x.quiet()
    x.restored()
    x.expect("run")


def before_start(name, message):
    @vector("before Start: " + name, STALE)
    def play(ctx):
        spec = make_spec(ctx.job(), ((b"op", 2),))
        x = Worker(ctx, spec, (0,)).joined()
        x.attempt = 1  # the one to come
        x.send(**message(x))
        x.alive()
        y = Worker(ctx, spec, (1,)).joined()
        for each in (x, y):
            each.start()
            each.restored()
        for each in (x, y):
            each.expect("run")
        t = x.trigger()
        y.expect("trigger")
        x.ack(t.round)
        y.ack(t.round)
        for each in (x, y):
            check(not each.complete(t.round).ended, "something was believed before it could be")


before_start("Restored", lambda x: {"restored": w.Restored(attempt=1, tasks=x.mine())})
before_start("RestoreFailed", lambda x: {"restore_failed": w.RestoreFailed(attempt=1, task=0)})
before_start("ack", lambda x: {"ack": x.batch(1)})
before_start("Decline", lambda x: {"decline": w.Decline(attempt=1, round=1)})
before_start("Barrier", lambda x: {"barrier": w.Barrier(attempt=1, round=1)})
before_start("TaskFinished", lambda x: {"finished": w.TaskFinished(attempt=1, tasks=x.mine())})
before_start("Confirm", lambda x: {"confirm": w.Confirm(attempt=1, round=1, tasks=x.mine())})
before_start("HolderGone", lambda x: {"holder_gone": w.HolderGone(holder=x.host)})


def while_restoring(name, message):
    @vector("before Run: " + name, "Between Start and Run a worker says Restored, RestoreFailed and heartbeats; what else it says is ignored")
    def play(ctx):
        x = ctx.worker().joined()
        x.start()
        x.send(**message(x))
        x.alive()
        x.restored()
        x.expect("run")
        x.round()


while_restoring("ack", lambda x: {"ack": x.batch(1)})
while_restoring("Decline", lambda x: {"decline": w.Decline(attempt=1, round=1)})
while_restoring("Barrier", lambda x: {"barrier": w.Barrier(attempt=1, round=1)})
while_restoring("Confirm", lambda x: {"confirm": w.Confirm(attempt=1, round=1, tasks=x.mine())})


@vector("RestoreFailed", "A failed or late restore ends the attempt (below), and after a back-off the next one is tried")
def restore_failed(ctx):
    x = ctx.worker(interval_ms=0, attempts_max=0).joined()
    x.start()
    x.send(restore_failed=w.RestoreFailed(attempt=1, task=0, reason=b"the disk is wet"))
    m = x.expect("rewind")
    check(m.attempt == 1, "attempt %d is rewound" % m.attempt)
    x.reason(m.reason, ("the disk is wet", "op[0]"))
    x.join()
    x.expect("joined")
    check(x.start().token.attempt == 2, "attempt %d follows" % x.attempt)


@vector("RestoreFailed as often as attempts_max", "After attempts_max attempts in a row without a completed round the job is FAILED")
def attempts_max(ctx):
    x = ctx.worker(attempts_max=1).joined()
    x.start()
    x.send(restore_failed=w.RestoreFailed(attempt=1, task=0, reason=b"wet"))
    m = x.expect("stop", skip=("alive", "rewind"))
    check(m.outcome == b"FAILED" and b"wet" in m.reason, short(m))
    y = Worker(ctx, x.spec).welcomed()
    y.join()
    check(y.refused(c.REFUSED_JOB_ENDED, "wet").outcome == b"FAILED", "another outcome")


@vector("a restore that is too slow", "The restore has a deadline (restore_deadline_ms)")
def restore_late(ctx):
    x = ctx.worker(restore_deadline_ms=200).joined()
    x.start()
    x.reason(x.expect("rewind").reason, ("op[0]", "200"))


@vector("a checkpoint", "The same bytes to every worker: round, incarnation, kind (checkpoint or savepoint), time left")
def checkpoint(ctx):
    x, y = ctx.pair(deadline_ms=7000)
    t = x.trigger()
    check(t == y.expect("trigger"), "two workers are told different things")
    check(t.incarnation == x.welcome.incarnation and t.kind == c.ROUND_CHECKPOINT, short(t))
    check(5000 < t.left_ms <= 7000 and t.lowest_pending == t.round, short(t))
    check(t.directory == x.start_message.directory + b"/r%d" % t.round and not t.directory_exists, short(t))
    x.ack(t.round)
    x.quiet()
    y.ack(t.round)
    for each in (x, y):
        m = each.complete(t.round)
        check(m.commits and not m.ended and m.lowest_pending > t.round, short(m))
        each.confirm(t.round)


@vector("two checkpoints", "snapshots up to this round are out of use")
def two_checkpoints(ctx):
    x = ctx.worker().run()
    first = x.round()
    t = x.trigger()
    check(t.round > first, "round %d follows %d" % (t.round, first))
    x.ack(t.round)
    check(x.complete(t.round).subsumed == first, "round %d is not subsumed" % first)


@vector("a savepoint", "it is false for savepoints, which publish nothing and release nobody")
def savepoint(ctx):
    x = ctx.worker().run()
    admin = ctx.admin()
    operation = admin.ask(savepoint=a.TriggerSavepoint(job=x.spec.name, label=b"kept")).operation
    t = x.expect("trigger")
    check(t.kind == c.ROUND_SAVEPOINT and t.directory_exists, short(t))
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=[w.TaskAck(
        task=0, artifacts=[c.Artifact(inline=b"abc", size=3)])]))
    check(not x.complete(t.round).commits, "a savepoint commits")
    done = admin.ask(wait=a.WaitOperation(operation=operation.id, timeout_ms=15000)).operation
    check(done.state == b"done" and done.snapshot == t.round and done.location == t.directory, short(done))


# ---- AckBatch

def stays(name, says, change):
    """Ignored: nothing comes of it, the connection stays, and the round can still be acked."""
    @vector(name, says)
    def play(ctx):
        x = ctx.worker().run()
        t = x.trigger()
        change(x, t)
        x.alive()
        x.ack(t.round)
        x.complete(t.round)


stays("ack: unknown round", STALE, lambda x, t: x.ack(t.round + 1))
stays("ack: round 2^64 - 1", STALE, lambda x, t: x.ack((1 << 64) - 1))
stays("ack: a round before", STALE, lambda x, t: x.ack(t.round - 1 or 1))
stays("ack: unknown attempt", STALE, lambda x, t: x.ack(t.round, attempt=x.attempt + 1))
stays("ack: attempt 2^64 - 1", STALE, lambda x, t: x.ack(t.round, attempt=(1 << 64) - 1))
stays("ack: no entries", COUNTS, lambda x, t: x.ack(t.round, []))
stays("Decline: unknown round", STALE, lambda x, t: x.decline(t.round + 1))
stays("Decline: unknown attempt", STALE, lambda x, t: x.decline(t.round, attempt=x.attempt + 1))
stays("Decline: no round", STALE, lambda x, t: x.decline(0))
stays("Confirm: unknown round", STALE, lambda x, t: x.confirm(t.round + 5))
stays("Confirm: round under way", STALE, lambda x, t: x.confirm(t.round))
stays("Confirm: unknown attempt", STALE, lambda x, t: x.confirm(t.round, attempt=9))
stays("Confirm: no tasks", CONFIRM, lambda x, t: x.send(confirm=w.Confirm(attempt=x.attempt, round=t.round)))
stays("Barrier: unknown round", STALE, lambda x, t: x.send(barrier=w.Barrier(
    attempt=x.attempt, round=t.round + 1, tasks=[w.TaskProgress(task=0, phase=w.TASK_ALIGNING)])))
stays("TaskFinished: unknown attempt", STALE,
      lambda x, t: x.send(finished=w.TaskFinished(attempt=x.attempt + 1, tasks=x.mine())))
stays("Restored: while running", STALE, lambda x, t: x.restored())
stays("RestoreFailed: unknown attempt", STALE,
      lambda x, t: x.send(restore_failed=w.RestoreFailed(attempt=x.attempt + 1, task=0)))
stays("HolderGone: nobody is parked", STALE, lambda x, t: x.send(holder_gone=w.HolderGone(holder=x.host)))


def malformed(name, says, body, *names):
    """Refused; nothing of it counts, so that the attempt goes on and the round can be acked again."""
    @vector(name, says)
    def play(ctx):
        spec = make_spec(ctx.job(), ((b"op", 3),))
        x = Worker(ctx, spec, (0, 1, 2)).run()
        t = x.trigger()
        message = body(x, t)
        x.send(message if isinstance(message, bytes) else w.FromWorker(**message))
        x.refused(c.REFUSED_MALFORMED, *names)
        y = x.again(open=[w.OpenRound(round=t.round)])
        y.expect("joined")
        y.expect("resumed")
        y.expect("run")
        check(y.expect("trigger").round == t.round, "another round is under way")
        check(held(ctx, y) == 3, "%d tasks have not acked instead of 3" % held(ctx, y))
        y.ack(t.round)
        y.complete(t.round)


def held(ctx, x):
    admin = ctx.admin()
    detail = admin.ask(show_job=a.ShowJob(job=x.spec.name)).job
    admin.close()
    return detail.open[0].held_by_count if detail.open else 0


def packed(*values):
    return b"".join(varint(v) for v in values)


for _number, _name in enumerate(("task", "align_us", "sync_us", "async_us", "artifacts", "size", "digest_low",
                                 "digest_high"), 3):
    malformed("ack: the column %s is one short" % _name, COLUMNS, lambda x, t, n=_name: {"ack": x.batch(
        t.round, **{n: [0, 1] if n == "task" else [1, 1] if n == "artifacts" else [0, 0]})})
    malformed("ack: no column " + _name, COLUMNS,
              lambda x, t, n=_number: field(6, raw_batch(x.batch(t.round), drop=n)))
    if _number < 9:
        malformed("ack: the column %s ends within a number" % _name, COLUMNS, lambda x, t, n=_number: field(
            6, raw_batch(x.batch(t.round), replace=(n, field(n, b"\0\1\x80")))))

malformed("ack: one entry too many in align_us", COLUMNS,
          lambda x, t: {"ack": x.batch(t.round, align_us=[0] * 4)})
malformed("ack: a column in two pieces", COLUMNS,
          lambda x, t: field(6, raw_batch(x.batch(t.round), extra=field(3, b"\0"))), "task")
malformed("ack: a column that is not packed", COLUMNS, lambda x, t: field(6, raw_batch(
    x.batch(t.round), replace=(3, b"\x18\0\x18\1\x18\2"))), "task")
malformed("ack: a digest cut off", COLUMNS, lambda x, t: field(6, raw_batch(
    x.batch(t.round), replace=(9, field(9, b"x" * 23)))), "digest_low")
malformed("ack: more artifacts than sizes", COLUMNS,
          lambda x, t: {"ack": x.batch(t.round, artifacts=[1, 1, 2])})
malformed("ack: fewer artifacts than sizes", COLUMNS,
          lambda x, t: {"ack": x.batch(t.round, artifacts=[1, 1, 0])})
malformed("ack: artifacts that add up beyond 2^32", COLUMNS,
          lambda x, t: {"ack": x.batch(t.round, artifacts=[0xFFFFFFFF, 3, 1])})
malformed("ack: 65,537 artifacts of a task", "at most 65,536 artifacts", lambda x, t: {"ack": x.batch(
    t.round, artifacts=[65537, 0, 0], size=[1] * 65537, digest_low=[1] * 65537, digest_high=[1] * 65537)})
malformed("ack: a task above 32 bits", COLUMNS, lambda x, t: field(6, raw_batch(
    x.batch(t.round), replace=(3, field(3, packed(0, 1, 1 << 33))))))
malformed("ack: sizes above 2^64", "the sizes of a batch add up to less than 2^64",
          lambda x, t: {"ack": x.batch(t.round, size=[(1 << 64) - 1, 1, 1])})
malformed("ack: no attempt", "A batch names its attempt and its round", lambda x, t: {"ack": x.batch(t.round, attempt=0)})
malformed("ack: no round", "A batch names its attempt and its round", lambda x, t: {"ack": x.batch(0)})
malformed("ack: a task that does not exist", OTHERS, lambda x, t: {"ack": x.batch(t.round, [0, 1, 3])}, "3")
malformed("ack: task 2^32 - 1", OTHERS, lambda x, t: {"ack": x.batch(t.round, [0, 1, 0xFFFFFFFF])}, "4294967295")


def full(name, says, made, *names):
    """made: the TaskAck of task 2, beside two good ones."""
    def body(x, t):
        b = x.batch(t.round, [0, 1])
        ack = made()
        ack.task = 2
        b.full.append(ack)
        return {"ack": b}
    malformed("full ack: " + name, says, body, *names)


def with_path(path):
    return lambda: w.TaskAck(artifacts=[c.Artifact(path=path, size=1)])


full("a path upwards", FULL, with_path(b"../x"), "path")
full("a path upwards in the middle", FULL, with_path(b"a/../../x"), "path")
full("an absolute path", FULL, with_path(b"/etc/x"), "path")
full("a path to here", FULL, with_path(b"./x"), "path")
full("a path with an empty component", FULL, with_path(b"a//b"), "path")
full("a path that ends in a slash", FULL, with_path(b"a/"), "path")
full("a path of 1,025 bytes", FULL, with_path(b"x" * 1025), "path")
full("a path with NUL", FULL, with_path(b"a\0b"), "path")
full("a path that is not UTF-8", FULL, with_path(b"\xff"), "path")
full("a name that is not UTF-8", FULL, lambda: w.TaskAck(artifacts=[c.Artifact(inline=b"", name=b"\xff")]), "name")
full("a name of 1,025 bytes", FULL, lambda: w.TaskAck(artifacts=[c.Artifact(inline=b"", name=b"n" * 1025)]), "name")
full("inline bytes of another size", "inline bytes are as many as size says",
     lambda: w.TaskAck(artifacts=[c.Artifact(inline=b"abc", size=4)]), "size")
full("key groups out of range", FULL,
     lambda: w.TaskAck(artifacts=[c.Artifact(inline=b"", key_group_first=1 << 20, key_group_count=1)]), "key groups")
full("a handle of 65,537 bytes", "Its ack may carry a commit handle (at most 64 KiB, opaque)",
     lambda: w.TaskAck(handle=b"h" * 65537), "handle")
malformed("full ack: of a task that does not exist", OTHERS,
          lambda x, t: {"ack": w.AckBatch(attempt=x.attempt, round=t.round, full=[w.TaskAck(task=7)])}, "7")
malformed("full ack: one that is no message", COLUMNS,
          lambda x, t: field(6, w.AckBatch(attempt=x.attempt, round=t.round).SerializeToString() + field(15, b"\xff")))

malformed("Decline: a task that does not exist", OTHERS,
          lambda x, t: {"decline": w.Decline(attempt=x.attempt, round=t.round, task=3)}, "Decline")
malformed("Decline: a reason that is not UTF-8", TEXT,
          lambda x, t: {"decline": w.Decline(attempt=x.attempt, round=t.round, reason=b"\xff")}, "Decline")
malformed("Decline: a reason with NUL", TEXT,
          lambda x, t: {"decline": w.Decline(attempt=x.attempt, round=t.round, reason=b"a\0b")}, "Decline")
malformed("Barrier: a task that does not exist", OTHERS, lambda x, t: {"barrier": w.Barrier(
    attempt=x.attempt, round=t.round, tasks=[w.TaskProgress(task=3)])}, "Barrier")
malformed("Confirm: a task that does not exist", OTHERS, lambda x, t: {"confirm": w.Confirm(
    attempt=x.attempt, round=1, tasks=[c.TaskRange(first=2, count=2)])}, "Confirm")
malformed("TaskFinished: a task that does not exist", OTHERS, lambda x, t: {"finished": w.TaskFinished(
    attempt=x.attempt, tasks=[c.TaskRange(first=0, count=4)])}, "TaskFinished")
malformed("TaskFinished: an empty range", OTHERS, lambda x, t: {"finished": w.TaskFinished(
    attempt=x.attempt, tasks=[c.TaskRange(first=0, count=0)])}, "TaskFinished")
malformed("Restored: a task that does not exist", OTHERS, lambda x, t: {"restored": w.Restored(
    attempt=x.attempt, tasks=[c.TaskRange(first=0xFFFFFFFF, count=2)])}, "Restored")
malformed("RestoreFailed: a task that does not exist", OTHERS,
          lambda x, t: {"restore_failed": w.RestoreFailed(attempt=x.attempt, task=9)}, "RestoreFailed")
malformed("RestoreFailed: a reason that is not UTF-8", TEXT, lambda x, t: {"restore_failed": w.RestoreFailed(
    attempt=x.attempt, task=0, reason=b"\xc0")}, "RestoreFailed")


def of_another(name, message):
    @vector("of another worker's task: " + name, OTHERS)
    def play(ctx):
        x, y = ctx.pair()
        t = x.trigger()
        y.expect("trigger")
        x.send(**message(x, t))
        x.refused(c.REFUSED_MALFORMED)
        check(held(ctx, x) == 2, "something of it counted")
        y.ack(t.round)
        z = x.again(open=[w.OpenRound(round=t.round)])
        for kind in ("joined", "resumed", "run", "trigger"):
            z.expect(kind)
        z.ack(t.round)
        y.complete(t.round)
        z.complete(t.round)


of_another("ack", lambda x, t: {"ack": x.batch(t.round, [0, 1])})
of_another("full ack", lambda x, t: {"ack": w.AckBatch(attempt=x.attempt, round=t.round, full=[
    w.TaskAck(task=0), w.TaskAck(task=1)])})
of_another("Decline", lambda x, t: {"decline": w.Decline(attempt=x.attempt, round=t.round, task=1)})
of_another("Confirm", lambda x, t: {"confirm": w.Confirm(attempt=x.attempt, round=1, tasks=[
    c.TaskRange(first=0, count=2)])})
of_another("TaskFinished", lambda x, t: {"finished": w.TaskFinished(attempt=x.attempt, tasks=[
    c.TaskRange(first=1, count=1)])})
of_another("RestoreFailed", lambda x, t: {"restore_failed": w.RestoreFailed(attempt=x.attempt, task=1)})


def counts(name, send):
    @vector("ack: " + name, COUNTS)
    def play(ctx):
        """Three tasks, one artifact of 3 bytes each, however often and in whatever form they are acked."""
        x = Worker(ctx, make_spec(ctx.job(), ((b"op", 3),)), (0, 1, 2)).run()
        t = x.trigger()
        send(x, t)
        x.complete(t.round)
        x.alive()
        admin = ctx.admin()
        info = admin.ask(snapshot=a.ShowSnapshot(snapshot=t.round, limit=10)).snapshot
        check((info.info.bytes, info.info.artifacts) == (9, 3), short(info.info))
        check([s.task for s in info.tasks] == [0, 1, 2] and all(
            len(s.artifacts) == 1 and s.artifacts[0].size == 3 for s in info.tasks), short(info))


def in_full(x, t, task, size=3):
    return w.AckBatch(attempt=x.attempt, round=t.round, full=[w.TaskAck(
        task=task, artifacts=[c.Artifact(path=b"dir/x-%d" % task, size=size)])])


counts("three at once", lambda x, t: x.ack(t.round))
counts("one by one", lambda x, t: [x.ack(t.round, [i]) for i in (2, 0, 1)])
counts("the same batch twice", lambda x, t: [x.ack(t.round, [0, 1]), x.ack(t.round, [0, 1]), x.ack(t.round, [2])])
counts("a task twice in a batch", lambda x, t: [x.ack(t.round, [0, 0, 1]), x.ack(t.round, [2])])
counts("with another size the second time", lambda x, t: [x.ack(t.round, [1]), x.ack(t.round, [0, 1], size=3),
                                                          x.ack(t.round, [0, 1, 0], size=5), x.ack(t.round, [2])])
counts("in columns, then in full", lambda x, t: [x.ack(t.round, [0]), x.send(ack=in_full(x, t, 0, 7)),
                                                 x.ack(t.round, [1, 2])])
counts("in full, then in columns", lambda x, t: [x.send(ack=in_full(x, t, 0)), x.ack(t.round, [0], size=7),
                                                 x.ack(t.round, [1, 2])])
counts("after the round is complete", lambda x, t: [x.ack(t.round), x.ack(t.round)])
counts("in full, a path in a folder", lambda x, t: [x.send(ack=in_full(x, t, i)) for i in range(3)])


@vector("ack: of task 0 without artifacts", "artifacts[i] says how many artifacts it has")
def no_artifacts(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    x.ack(t.round, artifacts=[0], size=[], digest_low=[], digest_high=[])
    x.complete(t.round)


@vector("ack: after an abort", STALE)
def ack_aborted(ctx):
    x, y = ctx.pair()
    t = x.trigger()
    y.expect("trigger")
    y.decline(t.round)
    x.expect("abort")
    y.expect("abort")
    x.ack(t.round)
    x.alive()
    y.ack(t.round)
    y.alive()
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    y.ack(t.round)
    x.complete(t.round)
    y.complete(t.round)


@vector("ack: of an attempt that is over", STALE)
def ack_stale(ctx):
    x = ctx.worker().run()
    x.send(restore_failed=w.RestoreFailed(attempt=1, task=0, reason=b"gone bad"))
    x.expect("rewind")
    x.ack(1)  # on its way
    x.join()
    x.expect("joined")
    x.start()
    x.restored()
    x.expect("run")
    t = x.trigger()
    x.ack(t.round, attempt=1)
    x.alive()
    x.ack(t.round)
    x.complete(t.round)


# ---- declines, aborts, progress

@vector("Decline", DECLINE)
def decline(ctx):
    x, y = ctx.pair()
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    y.decline(t.round, reason=b"no disk left")
    for each in (x, y):
        m = each.expect("abort")
        check(m.code == w.ABORT_DECLINED and m.round == t.round and m.attempt == 1, short(m))
        each.reason(m.reason, ("op[1]", "no disk left"))
        check(m.latest_complete == 0 and m.lowest_pending > t.round, short(m))
    error = ctx.admin().ask(wait=a.WaitOperation(operation=x.operation, timeout_ms=15000)).operation
    check(error.state == b"failed" and b"no disk left" in error.error, short(error))


# S68
@vector("Decline: after a completed round", "latest_complete names the newest complete round")
def decline_later_round(ctx):
    x = ctx.worker().run()
    first = x.round()
    t = x.trigger()
    x.decline(t.round)
    m = x.expect("abort")
    check((m.round, m.latest_complete) == (t.round, first), short(m))


@vector("Decline: a long reason", DECLINE)
def decline_long(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    x.decline(t.round, reason="ä".encode() * 5000)
    x.reason(x.expect("abort").reason, ("ääää",))


@vector("Decline: no reason", DECLINE)
def decline_mute(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    x.decline(t.round, reason=b"")
    x.reason(x.expect("abort").reason, ("op[0]",))


@vector("Decline: not before a time", DECLINE)
def decline_later(ctx):
    x = ctx.worker(interval_ms=20).run()
    t = x.expect("trigger")
    begun = time.monotonic()
    x.decline(t.round, retry_after_ms=700)
    x.expect("abort")
    t = x.expect("trigger")
    check(time.monotonic() - begun >= 0.7, "the next trigger after %.2f s" % (time.monotonic() - begun))


@vector("Decline: twice, and after the own ack", "Of a task that has acked it is ignored")
def decline_acked(ctx):
    x, y = ctx.pair()
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    x.decline(t.round)
    x.alive()
    y.ack(t.round)
    x.complete(t.round)
    y.complete(t.round)
    t = x.trigger()
    y.expect("trigger")
    x.decline(t.round)
    x.decline(t.round)
    x.expect("abort")
    x.quiet()


@vector("the deadline", "At its deadline it aborts, naming the tasks that have not acked and the phase of each",
        hasty=True)
def deadline(ctx):
    x, y = ctx.pair(deadline_ms=1000)
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    y.send(barrier=w.Barrier(attempt=1, round=t.round, tasks=[
        w.TaskProgress(task=1, phase=w.TASK_ALIGNING, channels_missing=4, channel_first=7)]))
    y.send(barrier=w.Barrier(attempt=1, round=t.round, tasks=[
        w.TaskProgress(task=1, phase=w.TASK_UPLOADING, bytes=12345)]))
    m = x.expect("abort")
    check(m.code == w.ABORT_DEADLINE, short(m))
    x.reason(m.reason, ("op[1]", "uploading", "12345", "1000"))
    admin, end = ctx.admin(), time.monotonic() + 10
    while True:  # the abort is told before it is durable
        rounds = admin.ask(rounds=a.ListRounds(job=x.spec.name)).rounds.rounds
        if rounds[0].ended_wall_us or time.monotonic() > end:
            break
        time.sleep(0.02)
    check([h.task for h in rounds[0].held_by] == [1] and rounds[0].acked == 1, short(rounds[0]))


@vector("Barrier", "Only the newest report of a task counts; nothing depends on it")
def progress(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    for number, phase, words in ((1, w.TASK_ALIGNING, b"aligning"), (2, w.TASK_SNAPSHOTTING, b"snapshotting"),
                                 (3, w.TASK_WAITING, b"waiting")):
        x.send(barrier=w.Barrier(attempt=1, round=t.round, tasks=[w.TaskProgress(task=0, phase=phase)]))
        x.alive(number)
        holder = ctx.admin().ask(show_job=a.ShowJob(job=x.spec.name)).job.open[0].held_by[0]
        check(words in holder.phase, "%s instead of %s" % (holder.phase, words))
    x.ack(t.round)
    x.complete(t.round)


# ---- effects

def owed(x, t, tasks=(0,), handle=b"publish"):
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=[
        w.TaskAck(task=i, handle=handle + b"-%d" % i) for i in tasks]))


def lose_state(x):
    """The process goes, another takes its place."""
    x.send(leave=w.Leave(reason=b"restarting"))
    x.ends()
    y = Worker(x.ctx, x.spec, x.tasks, x.name)
    return y.joined()


@vector("owed commits", "If the task is lost in between, the next Start lists it in TaskRestore.owed, in order of rounds")
def owed_commits(ctx):
    x = ctx.worker().run()
    rounds = []
    for _ in range(3):
        t = x.trigger()
        owed(x, t, handle=b"h%d" % len(rounds))
        x.complete(t.round)
        rounds.append(t.round)
    x.confirm(rounds[0])
    y = lose_state(x)
    m = y.start()
    given = [(o.round, o.handle) for r in m.tasks for o in r.owed]
    check(given == [(rounds[1], b"h1-0"), (rounds[2], b"h2-0")], "owed: %s" % given)
    check(m.snapshot == rounds[2], "restored from %d" % m.snapshot)
    y.restored()
    y.expect("run")
    t = y.trigger()
    owed(y, t, handle=b"h3")
    y.quiet()  # what is owed from before comes first
    y.confirm(rounds[2])
    y.complete(t.round)
    y.confirm(t.round)
    z = lose_state(y)
    check(not z.start().tasks, "something is still owed")


@vector("a handle of 65,536 bytes", "Its ack may carry a commit handle (at most 64 KiB, opaque)")
def longest_handle(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    x.send(ack=w.AckBatch(attempt=1, round=t.round, full=[w.TaskAck(task=0, handle=bytes(range(256)) * 256)]))
    x.complete(t.round)
    check(lose_state(x).start().tasks[0].owed[0].handle == bytes(range(256)) * 256, "another handle comes back")


@vector("a savepoint's handle", "What a task pre-commits for a round that does not commit stays pending for the next one that does")
def savepoint_handle(ctx):
    x = ctx.worker().run()
    ctx.admin().ask(savepoint=a.TriggerSavepoint(job=x.spec.name))
    t = x.expect("trigger")
    owed(x, t)
    x.complete(t.round)
    check(not lose_state(x).start().tasks, "a savepoint made something owed")


@vector("Confirm: twice", CONFIRM)
def confirm_twice(ctx):
    x = ctx.worker().run()
    t = x.trigger()
    owed(x, t)
    x.complete(t.round)
    x.confirm(t.round)
    x.confirm(t.round)
    x.alive()
    check(not lose_state(x).start().tasks, "it is still owed")


# ---- state

# S55, S56, S130: who acked with state gets it back, who acked without gets none
@vector("restored from columns and in full", "per task of this worker: its artifacts, with paths relative to snapshot_directory")
def restored_from(ctx):
    spec = make_spec(ctx.job(), ((b"op", 3),))
    x = Worker(ctx, spec, (0, 1, 2)).run()
    t = x.trigger()
    x.ack(t.round, [0])
    x.send(ack=w.AckBatch(attempt=1, round=t.round, full=[
        w.TaskAck(task=1, artifacts=[c.Artifact(inline=b"abc", size=3, digest_low=5, digest_high=6, name=b"few",
                                                key_group_first=2, key_group_count=3)]),
        w.TaskAck(task=2)]))
    x.complete(t.round)
    m = lose_state(x).start()
    check(m.snapshot == t.round and m.snapshot_directory == t.directory, short(m))
    check([r.task for r in m.tasks] == [0, 1], "tasks %s" % short(m))
    first, second = m.tasks[0].artifacts[0], m.tasks[1].artifacts[0]
    check((first.path, first.size, first.digest_low, first.digest_high) == (b"t0-0", 3, 3, 4), short(first))
    check((second.inline, second.name, second.key_group_first, second.key_group_count, second.digest_high) ==
          (b"abc", b"few", 2, 3, 6), short(second))


# ---- the end

@vector("the end of the input", FINISHED)
def the_end(ctx):
    x, y = ctx.pair()
    x.send(finished=w.TaskFinished(attempt=1, tasks=x.mine()))
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    y.ack(t.round)
    for each in (x, y):
        m = each.complete(t.round)
        check([(r.first, r.count) for r in m.ended] == [(0, 1)], "ended: %s" % short(m))
        each.confirm(t.round)
    y.send(finished=w.TaskFinished(attempt=1, tasks=y.mine()))
    y.send(finished=w.TaskFinished(attempt=1, tasks=y.mine()))
    t = y.expect("trigger")  # the final round; x counts as acked
    y.ack(t.round)
    m = y.complete(t.round)
    check([(r.first, r.count) for r in m.ended] == [(0, 2)], "ended: %s" % short(m))
    y.confirm(t.round)
    for each in (x, y):
        m = each.expect("stop", skip=("alive", "trigger", "complete"))
        check(m.outcome == b"FINISHED" and m.snapshot == t.round, short(m))
    z = Worker(ctx, x.spec, (0,)).welcomed()
    z.join()
    m = z.refused(c.REFUSED_JOB_ENDED, x.spec.name.decode())
    check(m.outcome == b"FINISHED" and m.snapshot == t.round, short(m))


@vector("the end, restored", "Ended tasks stay ended across a recovery (Start.ended); a task that only held its end reads on")
def end_restored(ctx):
    x, y = ctx.pair()
    x.send(finished=w.TaskFinished(attempt=1, tasks=x.mine()))
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    y.ack(t.round)
    x.complete(t.round)
    y.complete(t.round)
    y.send(leave=w.Leave())
    y.ends()
    x.expect("rewind")
    x.join()
    x.expect("joined")
    z = Worker(ctx, x.spec, (1,), y.name).joined()
    check([(r.first, r.count) for r in x.start().ended] == [(0, 1)], "ended: %s" % short(x.start_message))
    z.start()
    x.restored()
    z.restored()
    x.expect("run")
    z.expect("run")
    t = z.trigger()
    z.ack(t.round)
    z.complete(t.round)


@vector("STOPPING waits for what is owed", "The job's work is done: carry out what is owed, confirm it, wait for Stop")
def deliver_only(ctx):
    x = ctx.worker().run()
    x.send(finished=w.TaskFinished(attempt=1, tasks=x.mine()))
    t = x.expect("trigger")
    owed(x, t)
    x.complete(t.round)
    x.quiet()
    y = lose_state(x)
    m = y.start()
    check(m.deliver_only and m.tasks[0].owed[0].round == t.round, short(m))
    y.quiet()
    y.confirm(t.round)
    check(y.expect("stop").snapshot == t.round, "another snapshot")
