"""Orders of admins: hold, release."""
from peer import check, short, vector
from wire import c
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
