"""Orders of admins: hold, release, restore."""
from peer import check, short, vector
from wire import c, w
from proto import admin_pb2 as a

ONE_BY_ONE = "Those of one job are carried out one after the other, in order of arrival"


def order(ctx, **call):
    """Ends as done, or as failed with that text."""
    p = ctx.admin2()
    m = p.ask(**call)
    check(m.WhichOneof("result") == "operation", short(m))
    return p.ask(wait=a.WaitOperation(operation=m.operation.id, timeout_ms=10000)).operation


def held(ctx, x, cause=b"because"):
    o = order(ctx, hold=a.HoldJob(job=x.spec.name, cause=cause))
    check((o.kind, o.state) == (b"hold", b"done"), short(o))
    rewind = x.expect("rewind", skip=("alive", "abort"))
    check(rewind.attempt == x.attempt and cause in rewind.reason, short(rewind))
    return o


@vector("hold", "the attempt ends, the job is HELD with that cause until it is released")
def hold(ctx):
    x = ctx.worker().run()
    x.round()
    held(ctx, x)
    m = ctx.admin().ask(show_job=a.ShowJob(job=x.spec.name)).job.summary
    check((m.state, m.cause) == (b"HELD", b"because"), short(m))


@vector("a Join while held", "A Join is answered by Refused{HELD}; one without a token frees what that worker held before")
def join_while_held(ctx):
    x = ctx.worker(lease_ms=20000, heartbeat_ms=1000).run()
    held(ctx, x)
    x.join()
    x.refused(c.REFUSED_HELD, "because")
    o = order(ctx, release=a.ReleaseJob(job=x.spec.name))
    check(o.state == b"done", short(o))
    y = ctx.worker(spec=x.spec).run()  # another process: it waits for no lease
    check(y.attempt > x.attempt, "attempt %d after %d" % (y.attempt, x.attempt))
    y.round()


@vector("release", "a HELD job may start again: WAITING, or STOPPING if all its tasks had ended")
def release(ctx):
    x = ctx.worker().run()
    number = x.round()
    held(ctx, x)
    x.join()
    x.refused(c.REFUSED_HELD)
    check(order(ctx, release=a.ReleaseJob(job=x.spec.name)).state == b"done", "not released")
    y = ctx.worker(spec=x.spec).joined()
    check(y.start().snapshot == number, "not from the newest checkpoint")


def wrong(name, code, *names, **call):
    @vector(name, "not while it is STOPPING, nor when it has ended" if "hold" in call else
            "STATE (not possible now)" if code == a.ERROR_STATE else "INVALID (an argument; the text names it)")
    def play(ctx):
        x = ctx.worker().run()
        for m in call.values():
            m.job = x.spec.name
        ctx.admin2().error(code, *names, **call)


wrong("release of a job that runs", a.ERROR_STATE, "RUNNING", release=a.ReleaseJob())
wrong("a cause of 256 bytes", a.ERROR_INVALID, "cause", hold=a.HoldJob(cause=b"x" * 256))
wrong("a cause that is not UTF-8", a.ERROR_INVALID, "cause", hold=a.HoldJob(cause=b"\xff"))


@vector("a second hold", ONE_BY_ONE)
def second(ctx):
    x = ctx.worker().run()
    p = ctx.admin2()
    p.send(a.Request(id=1, hold=a.HoldJob(job=x.spec.name, cause=b"first")))
    p.send(a.Request(id=2, hold=a.HoldJob(job=x.spec.name, cause=b"second")))
    p.send(a.Request(id=3, release=a.ReleaseJob(job=x.spec.name)))
    got = {m.id: m for m in (p.receive() for _ in range(3))}
    check(got[1].WhichOneof("result") == "operation", short(got[1]))
    check(p.ask(wait=a.WaitOperation(operation=got[1].operation.id, timeout_ms=10000)).operation.state == b"done",
          "the first hold is not done")
    if got[2].WhichOneof("result") == "operation":  # it came before the first one held
        m = p.ask(wait=a.WaitOperation(operation=got[2].operation.id, timeout_ms=10000)).operation
        check(m.state == b"failed" and b"HELD already" in m.error, short(m))


@vector("hold, retried with its key", "makes a retry return the first try's operation instead of starting another")
def retried(ctx):
    x = ctx.worker().run()
    first = order(ctx, hold=a.HoldJob(job=x.spec.name, key=b"k"))
    again = order(ctx, hold=a.HoldJob(job=x.spec.name, key=b"k"))
    check(first.id == again.id and again.state == b"done", short(again))


@vector("hold on a connection of version 1", "is answered by STATE")
def version_1(ctx):
    p = ctx.admin()
    p.send(a.Request(id=1, hold=a.HoldJob(job=b"any")))
    p.refused(c.REFUSED_STATE, "version 2")


BASE = ("every attempt restores it, until a round that publishes effects and is newer than the order has completed")
REPORT = "Operation.report has the decision, operator by operator; dry_run gives nothing else"


def restore(ctx, x, **m):
    return order(ctx, restore=a.RestoreJob(job=x.spec.name, **m))


@vector("restore an older one", BASE)
def older(ctx):
    x = ctx.worker(retained=3).run()
    first, second = x.round(), x.round()
    o = restore(ctx, x, snapshot=first, allow_repeat=True)
    check(o.state == b"done", short(o))
    x.expect("rewind", skip=("alive", "abort"))
    x.join()
    x.expect("joined")
    check(x.start().snapshot == first, "not from %d" % first)
    x.restored()
    x.expect("run")
    third = x.round()
    check(restore(ctx, x, latest=True).state == b"done", "not restored")
    x.expect("rewind", skip=("alive", "abort"))
    x.join()
    x.expect("joined")
    check(x.start().snapshot == third > second, "not from the newest")


@vector("restore afresh", "or nothing")
def afresh(ctx):
    x = ctx.worker().run()
    x.round()
    check(restore(ctx, x, nothing=True, allow_repeat=True).state == b"done", "not restored")
    x.expect("rewind", skip=("alive", "abort"))
    x.join()
    x.expect("joined")
    s = x.start()
    check((s.snapshot, len(s.tasks)) == (0, 0), short(s))


@vector("restore would repeat effects", "unless allow_repeat is set")
def repeats(ctx):
    x = ctx.worker(retained=2).run()
    first = x.round()
    x.round()
    o = restore(ctx, x, snapshot=first)
    check(o.state == b"failed" and b"would be repeated" in o.error, short(o))
    x.round()  # the attempt goes on


@vector("restore would lose what is owed", "if commits of rounds after what is restored are owed, unless abandon_owed")
def loses(ctx):
    x = ctx.worker(retained=2).run()
    first = x.round()
    t = x.trigger()
    full = [w.TaskAck(task=0, handle=b"part")]
    x.send(ack=w.AckBatch(attempt=x.attempt, round=t.round, full=full))
    x.complete(t.round)
    o = restore(ctx, x, snapshot=first, allow_repeat=True)
    check(o.state == b"failed" and b"owed" in o.error, short(o))
    o = restore(ctx, x, snapshot=first, allow_repeat=True, abandon_owed=True)
    check(o.state == b"done" and any(b"abandons" in line for line in o.report), short(o))


@vector("restore, dry run", REPORT)
def dry(ctx):
    x = ctx.worker().run()
    x.round()
    o = restore(ctx, x, latest=True, dry_run=True)
    check(o.state == b"done" and any(b"op: restored" in line for line in o.report), short(o))
    x.round()  # the attempt goes on


@vector("restore a held job", "A job that is HELD or has ended is WAITING again")
def of_held(ctx):
    x = ctx.worker().run()
    number = x.round()
    held(ctx, x)
    check(restore(ctx, x, snapshot=number).state == b"done", "not restored")
    m = ctx.admin().ask(show_job=a.ShowJob(job=x.spec.name)).job.summary
    check(m.state == b"WAITING" and not m.cause, short(m))


wrong("restore from nothing said", a.ERROR_INVALID, "from what", restore=a.RestoreJob())
