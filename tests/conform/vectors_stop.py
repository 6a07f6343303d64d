"""How an admin ends a job: stop with a savepoint or a checkpoint, suspended or drained; cancel; and what becomes of
savepoints that commit, and of those that are disposed of."""
import os
import time

from peer import Worker, check, make_spec, short, vector
from wire import c, w
from proto import admin_pb2 as a

LAST = "Trigger.stop says so."
ENDS = "Its completion commits, and moves the job to STOPPING; once all that is owed is confirmed the job is SUSPENDED, FINISHED (it was drained) or CANCELLED, and every worker gets Stop."
SUSPEND = "the round goes as any other."
DRAIN = "A source ends its input first, sends TaskFinished, and puts the barrier behind that."
NAMES = "Its completion names all tasks in ended."
NOTHING = "If it aborts, sources have ended for nothing: the attempt ends, and everybody rewinds."
VERSION_1 = "a job with such a worker is not drained"
MEETS = "A job of rendezvous rounds has no input to end, and is not drained either."
MEANWHILE = "While a job is being stopped no other round is asked for (STATE, naming the operation), nor another stop; a cancel is."
DONE = "An operation of a stop is done when the job has ended."
FAILED = "It has failed when no snapshot was taken, and the job goes on"
GOOD = "or, with snapshot_good, when its snapshot is complete and the rest could not be"
MISSES = "Stop needs no answer: whoever misses it hears Refused{JOB_ENDED} with the same outcome."
AT_ONCE = "the end: CANCELLED, whatever the job is at, also when it is HELD or SUSPENDED; with savepoint after one, and if that fails not at all"
SUPERSEDE = "Rounds under way finish first, or with supersede abort"
DISPOSE = "deletes a savepoint: retained, deleting, deleted; done when its bytes are gone"
KEPT = "A savepoint is not disposed of while commits are owed from it, or while its job goes on from it: it is the recovery point, the job is SUSPENDED with it, or an attempt restores it."
WHOLE = "If a file that it names is not in its directory, or not as long as its manifest says, the job is HELD."
COMMITS = "commits: it publishes effects"


class Two(Worker):
    """A worker that speaks version 2."""

    def welcomed(self, **changes):
        return super().welcomed(version_max=2, **changes)

    def anew(self):
        """The same process has lost what it had."""
        self.close()
        other = Two(self.ctx, self.spec, self.tasks, self.name)
        other.host = self.host
        return other.joined()


def running(ctx, **checkpointing):
    return Two(ctx, make_spec(ctx.job(), **checkpointing)).run()


def order(ctx, **call):
    m = ctx.admin2().ask(**call)
    check(m.WhichOneof("result") == "operation", short(m))
    return m.operation


def outcome(ctx, op):
    m = ctx.admin2().ask(wait=a.WaitOperation(operation=op.id, timeout_ms=10000)).operation
    check(m.state in (b"done", b"failed"), short(m))
    return m


def now(ctx, op):
    return ctx.admin2().ask(wait=a.WaitOperation(operation=op.id, timeout_ms=0)).operation


def state(ctx, x):
    return ctx.admin2().ask(show_job=a.ShowJob(job=x.spec.name)).job.summary.state


def stop(ctx, x, **m):
    """The order and its trigger."""
    op = order(ctx, stop=a.StopJob(job=x.spec.name, **m))
    t = x.expect("trigger", skip=("alive", "abort"))
    return op, t


def stopped(x, outcome_text, number):
    m = x.expect("stop")
    check((m.outcome, m.snapshot) == (outcome_text, number), short(m))


@vector("stop: the last round suspends", SUSPEND)
def suspend(ctx):
    x = running(ctx)
    op, t = stop(ctx, x)
    check((t.stop, t.kind) == (c.STOP_SUSPEND, c.ROUND_SAVEPOINT), short(t))
    x.ack(t.round)
    m = x.complete(t.round)
    check(m.commits and not m.ended, short(m))
    x.confirm(t.round)
    stopped(x, b"SUSPENDED", t.round)
    o = outcome(ctx, op)
    check(o.state == b"done" and o.snapshot_good and o.snapshot == t.round and o.location, short(o))
    check(state(ctx, x) == b"SUSPENDED", "it is not suspended")


@vector("stop with a checkpoint", LAST)
def checkpoint(ctx):
    x = running(ctx)
    op, t = stop(ctx, x, kind=c.ROUND_CHECKPOINT)
    check((t.stop, t.kind) == (c.STOP_SUSPEND, c.ROUND_CHECKPOINT), short(t))
    x.ack(t.round)
    check(x.complete(t.round).commits, "it commits nothing")
    x.confirm(t.round)
    stopped(x, b"SUSPENDED", t.round)
    o = outcome(ctx, op)
    check(o.state == b"done" and o.snapshot_good and o.location == t.directory, short(o))


@vector("stop: not before what is owed is confirmed", ENDS)
def owed(ctx):
    x = running(ctx)
    op, t = stop(ctx, x)
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=[w.TaskAck(task=0, handle=b"part")]))
    x.complete(t.round)
    x.quiet()
    check(state(ctx, x) == b"STOPPING", "it is not STOPPING")
    o = now(ctx, op)
    check(o.state == b"running" and o.snapshot_good, short(o))
    x.confirm(t.round)
    stopped(x, b"SUSPENDED", t.round)
    check(outcome(ctx, op).state == b"done", "the stop is not done")


@vector("drain", DRAIN)
def drain(ctx):
    x = running(ctx)
    op, t = stop(ctx, x, drain=True)
    check(t.stop == c.STOP_DRAIN, short(t))
    x.send(finished=w.TaskFinished(attempt=x.attempt, tasks=x.mine()))
    x.ack(t.round)
    m = x.complete(t.round)
    check(m.commits and [(r.first, r.count) for r in m.ended] == [(0, 1)], short(m))
    x.confirm(t.round)
    stopped(x, b"FINISHED", t.round)
    check(outcome(ctx, op).state == b"done", "the stop is not done")


@vector("a drain that aborts", NOTHING)
def drain_aborts(ctx):
    x = running(ctx)
    op, t = stop(ctx, x, drain=True)
    x.send(finished=w.TaskFinished(attempt=x.attempt, tasks=x.mine()))
    x.decline(t.round)
    check(x.expect("abort").round == t.round, "another round is aborted")
    x.expect("rewind")
    o = outcome(ctx, op)
    check(o.state == b"failed" and not o.snapshot_good, short(o))


@vector("a drain that is acked without the end of the input", NAMES)
def not_finished(ctx):
    x = running(ctx)
    op, t = stop(ctx, x, drain=True)
    x.ack(t.round)
    m = x.receive()
    while m.WhichOneof("msg") == "alive":
        m = x.receive()
    check(m.WhichOneof("msg") in ("abort", "complete", "refused"), short(m))
    if m.WhichOneof("msg") == "complete":
        check([(r.first, r.count) for r in m.complete.ended] == [(0, 1)], short(m))


@vector("a worker of version 1 is not drained", VERSION_1)
def version_1(ctx):
    x = ctx.worker().run()
    o = outcome(ctx, order(ctx, stop=a.StopJob(job=x.spec.name, drain=True)))
    check(o.state == b"failed" and b"version 1" in o.error, short(o))
    x.round()


@vector("a worker of version 1 is suspended", "it takes part in a round that suspends as in any other")
def version_1_suspends(ctx):
    x = ctx.worker().run()
    op, t = stop(ctx, x)
    x.ack(t.round)
    x.complete(t.round)
    x.confirm(t.round)
    x.expect("stop")
    check(outcome(ctx, op).state == b"done", "the stop is not done")


@vector("rendezvous jobs are not drained", MEETS)
def meets(ctx):
    x = Two(ctx, make_spec(ctx.job(), style=c.STYLE_RENDEZVOUS)).run()
    ctx.admin2().error(a.ERROR_STATE, "rendezvous", stop=a.StopJob(job=x.spec.name, drain=True))


@vector("a stop that fails", FAILED)
def fails(ctx):
    x = running(ctx)
    op, t = stop(ctx, x)
    x.decline(t.round)
    check(x.expect("abort").round == t.round, "another round is aborted")
    o = outcome(ctx, op)
    check(o.state == b"failed" and not o.snapshot_good and b"goes on" in o.error, short(o))
    x.round()


@vector("snapshot good, stop failed", GOOD)
def good(ctx):
    x = running(ctx)
    op, t = stop(ctx, x)
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=[w.TaskAck(task=0, handle=b"part")]))
    x.complete(t.round)
    order(ctx, cancel=a.CancelJob(job=x.spec.name))
    x.expect("stop")
    o = outcome(ctx, op)
    check(o.state == b"failed" and o.snapshot_good and o.snapshot == t.round and o.location, short(o))


@vector("nothing else is asked for meanwhile", MEANWHILE)
def meanwhile(ctx):
    x = running(ctx)
    op, _ = stop(ctx, x)
    p, job, named = ctx.admin2(), x.spec.name, "operation %d" % op.id
    p.error(a.ERROR_STATE, named, checkpoint=a.TriggerCheckpoint(job=job))
    p.error(a.ERROR_STATE, named, savepoint=a.TriggerSavepoint(job=job))
    p.error(a.ERROR_STATE, named, stop=a.StopJob(job=job, drain=True))
    p.error(a.ERROR_STATE, named, cancel=a.CancelJob(job=job, savepoint=True))
    check(order(ctx, cancel=a.CancelJob(job=job)).id > op.id, "it cannot be cancelled")
    x.expect("stop", skip=("alive", "abort"))
    check(outcome(ctx, op).state == b"failed", "the stop has not failed")


@vector("a stop lets the running round finish", SUPERSEDE)
def waits(ctx):
    x = running(ctx)
    t = x.trigger()
    order(ctx, stop=a.StopJob(job=x.spec.name))
    x.quiet()
    x.ack(t.round)
    x.complete(t.round)
    last = x.expect("trigger")
    check(last.stop == c.STOP_SUSPEND and last.round > t.round, short(last))


@vector("a stop supersedes the running round", SUPERSEDE)
def supersedes(ctx):
    x = running(ctx)
    t = x.trigger()
    op = order(ctx, stop=a.StopJob(job=x.spec.name, supersede=True))
    m = x.expect("abort")
    check(m.round == t.round and b"operation %d" % op.id in m.reason, short(m))
    check(x.expect("trigger").stop == c.STOP_SUSPEND, "the last round does not begin")


@vector("a stop, retried with its key", "makes a retry return the first try's operation instead of starting another")
def retried(ctx):
    x = running(ctx)
    op = order(ctx, stop=a.StopJob(job=x.spec.name, key=b"k"))
    x.expect("trigger")
    again = order(ctx, stop=a.StopJob(job=x.spec.name, key=b"k"))
    check(op.id == again.id, "operation %d, then %d" % (op.id, again.id))


@vector("who misses Stop", MISSES)
def misses(ctx):
    x = running(ctx)
    _, t = stop(ctx, x)
    x.ack(t.round)
    x.complete(t.round)
    x.confirm(t.round)
    x.expect("stop")
    y = Two(ctx, x.spec)
    y.welcomed()
    y.join()
    y.refused(c.REFUSED_JOB_ENDED, "SUSPENDED")


@vector("cancel", AT_ONCE)
def cancel(ctx):
    x = running(ctx)
    number = x.round()
    op = order(ctx, cancel=a.CancelJob(job=x.spec.name))
    m = x.expect("stop")
    check((m.outcome, m.snapshot) == (b"CANCELLED", number), short(m))
    check(outcome(ctx, op).state == b"done" and state(ctx, x) == b"CANCELLED", "it is not cancelled")


@vector("cancel aborts what is under way", AT_ONCE)
def cancel_aborts(ctx):
    x = running(ctx)
    t = x.trigger()
    order(ctx, cancel=a.CancelJob(job=x.spec.name))
    check(x.expect("abort").round == t.round, "another round is aborted")
    x.expect("stop")


@vector("cancel after a savepoint", AT_ONCE)
def cancel_savepoint(ctx):
    x = running(ctx)
    op = order(ctx, cancel=a.CancelJob(job=x.spec.name, savepoint=True))
    t = x.expect("trigger")
    check((t.kind, t.stop) == (c.ROUND_SAVEPOINT, c.STOP_SUSPEND), short(t))
    x.ack(t.round)
    x.complete(t.round)
    x.confirm(t.round)
    stopped(x, b"CANCELLED", t.round)
    o = outcome(ctx, op)
    check(o.state == b"done" and o.location, short(o))


@vector("cancel after a savepoint that fails", AT_ONCE)
def cancel_fails(ctx):
    x = running(ctx)
    op = order(ctx, cancel=a.CancelJob(job=x.spec.name, savepoint=True))
    x.decline(x.expect("trigger").round)
    x.expect("abort")
    check(outcome(ctx, op).state == b"failed", "it has not failed")
    x.round()


@vector("cancel of a held job", AT_ONCE)
def cancel_held(ctx):
    x = running(ctx)
    outcome(ctx, order(ctx, hold=a.HoldJob(job=x.spec.name, cause=b"because")))
    check(outcome(ctx, order(ctx, cancel=a.CancelJob(job=x.spec.name))).state == b"done", "not cancelled")
    check(state(ctx, x) == b"CANCELLED", "it is not cancelled")


@vector("cancel twice", "STATE (not possible now)")
def cancel_twice(ctx):
    x = running(ctx)
    outcome(ctx, order(ctx, cancel=a.CancelJob(job=x.spec.name)))
    ctx.admin2().error(a.ERROR_STATE, "CANCELLED", cancel=a.CancelJob(job=x.spec.name))
    ctx.admin2().error(a.ERROR_STATE, "CANCELLED", stop=a.StopJob(job=x.spec.name))


@vector("stop on a connection of version 1", "is answered by STATE")
def old_admin(ctx):
    p = ctx.admin()
    p.send(a.Request(id=1, stop=a.StopJob(job=b"any")))
    p.refused(c.REFUSED_STATE, "version 2")


# ---- savepoints that commit, and those that are disposed of

def savepoint(ctx, x, **m):
    op = order(ctx, savepoint=a.TriggerSavepoint(job=x.spec.name, **m))
    t = x.expect("trigger")
    x.ack(t.round, artifacts=[0], size=[], digest_low=[], digest_high=[])
    check(x.complete(t.round).commits == m.get("commits", False), "commits is not as it was asked for")
    x.confirm(t.round)
    o = outcome(ctx, op)
    check(o.state == b"done", short(o))
    return t.round, o.location


@vector("a savepoint that commits is what is restored", COMMITS)
def commits(ctx):
    x = running(ctx)
    x.round()
    number, _ = savepoint(ctx, x, commits=True)
    check(x.anew().start().snapshot == number, "from another snapshot")


@vector("one whose bytes are missing holds the job", WHOLE)
def missing(ctx):
    x = running(ctx)
    op = order(ctx, savepoint=a.TriggerSavepoint(job=x.spec.name, commits=True))
    t = x.expect("trigger")
    x.ack(t.round)  # for a file that was never written
    x.complete(t.round)
    x.confirm(t.round)
    check(outcome(ctx, op).state == b"done", "no savepoint")
    x.anew()
    end = time.monotonic() + 10
    while state(ctx, x) != b"HELD" and time.monotonic() < end:
        time.sleep(0.02)
    m = ctx.admin2().ask(show_job=a.ShowJob(job=x.spec.name)).job.summary
    check(m.state == b"HELD" and b"t0-0" in m.cause, short(m))


@vector("one that does not commit is not", COMMITS)
def does_not(ctx):
    x = running(ctx)
    number = x.round()
    savepoint(ctx, x)
    check(x.anew().start().snapshot == number, "from another snapshot")


@vector("the recovery point is not disposed of", KEPT)
def kept(ctx):
    x = running(ctx)
    number, _ = savepoint(ctx, x, commits=True)
    p = ctx.admin2()
    p.error(a.ERROR_STATE, str(number), dispose=a.DisposeSnapshot(snapshot=number))
    x.round()  # now that is
    check(outcome(ctx, order(ctx, dispose=a.DisposeSnapshot(snapshot=number))).state == b"done", "not disposed of")


@vector("a savepoint with owed commits is not disposed of", KEPT)
def kept_owed(ctx):
    x = running(ctx)
    op = order(ctx, savepoint=a.TriggerSavepoint(job=x.spec.name, commits=True))
    t = x.expect("trigger")
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=[w.TaskAck(task=0, handle=b"part")]))
    x.complete(t.round)
    check(outcome(ctx, op).state == b"done", "no savepoint")
    ctx.admin2().error(a.ERROR_STATE, str(t.round), dispose=a.DisposeSnapshot(snapshot=t.round))


@vector("a suspended job's savepoint is not disposed of", KEPT)
def kept_suspended(ctx):
    x = running(ctx)
    op, t = stop(ctx, x)
    x.ack(t.round)
    x.complete(t.round)
    x.confirm(t.round)
    outcome(ctx, op)
    ctx.admin2().error(a.ERROR_STATE, "SUSPENDED", dispose=a.DisposeSnapshot(snapshot=t.round))
    outcome(ctx, order(ctx, cancel=a.CancelJob(job=x.spec.name)))  # now nobody goes on from it
    check(outcome(ctx, order(ctx, dispose=a.DisposeSnapshot(snapshot=t.round))).state == b"done", "not disposed of")


@vector("dispose", DISPOSE)
def dispose(ctx):
    x = running(ctx)
    number, location = savepoint(ctx, x)
    check(os.path.exists(location), "no bytes at %s" % location)
    op = order(ctx, dispose=a.DisposeSnapshot(snapshot=number, key=b"k"))
    check(outcome(ctx, op).state == b"done" and not os.path.exists(location), "%s is there" % location)
    check(order(ctx, dispose=a.DisposeSnapshot(snapshot=number, key=b"k")).id == op.id, "a retry is another operation")
    end = time.monotonic() + 10
    while True:  # the row follows
        info = ctx.admin2().ask(snapshot=a.ShowSnapshot(snapshot=number)).snapshot.info
        if info.state == b"deleted" or time.monotonic() > end:
            break
    check(info.state == b"deleted", short(info))
    ctx.admin2().error(a.ERROR_NOT_FOUND, "deleted", dispose=a.DisposeSnapshot(snapshot=number))


@vector("dispose of a checkpoint", DISPOSE)
def of_a_checkpoint(ctx):
    x = running(ctx)
    ctx.admin2().error(a.ERROR_STATE, "checkpoint", dispose=a.DisposeSnapshot(snapshot=x.round()))


@vector("dispose of what there is not", "NOT_FOUND (no such job, snapshot, operation)")
def of_nothing(ctx):
    ctx.admin2().error(a.ERROR_NOT_FOUND, "4611686018427387904", dispose=a.DisposeSnapshot(snapshot=1 << 62))
