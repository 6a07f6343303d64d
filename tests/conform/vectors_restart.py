"""The daemon is killed, or stopped in good order, and started again: only with one of our own."""
import time

from peer import Worker, check, make_spec, short, vector
from wire import w
from proto import admin_pb2 as a

GRACE = "A daemon that restarts gives running attempts grace_ms to come back: every lease counts as renewed at its start"
ABORTED = "rounds that were not durable are aborted (ABORT_RESTARTED)"
BYE = "On an orderly shutdown the daemon lets a commit that is under way finish, aborts other rounds, and sends Bye"
ENDS = "A worker that comes with nothing, with another attempt or in an earlier phase, or the end of the grace period, ends the attempt"


def restart(ctx):
    ctx.daemon.kill()
    ctx.daemon.start()


@vector("killed: all come back", GRACE, needs="daemon")
def all_back(ctx):
    x, y = ctx.pair()
    before = x.welcome
    x_round = x.trigger().round
    y.expect("trigger")
    x.ack(x_round)
    y.ack(x_round)
    x.complete(x_round)
    restart(ctx)
    x2 = x.again(told_complete=x_round)
    check(x2.welcome.store_id == before.store_id, "another store")
    check(x2.welcome.incarnation > before.incarnation and x2.welcome.nonce != before.nonce, "the same incarnation")
    x2.expect("joined")
    x2.quiet()
    y2 = y.again(told_complete=x_round)
    y2.expect("joined")
    for each in (x2, y2):
        check(each.expect("resumed").attempt == 1, "another attempt")
        each.expect("run")
    t = x2.trigger()
    y2.expect("trigger")
    check(t.round > x_round and t.incarnation == x2.welcome.incarnation, short(t))
    x2.ack(t.round)
    y2.ack(t.round)
    x2.complete(t.round)
    y2.complete(t.round)


@vector("killed: a round under way", ABORTED, needs="daemon")
def round_aborted(ctx):
    x, y = ctx.pair()
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    x.alive()
    restart(ctx)
    both = [each.again(open=[w.OpenRound(round=t.round)]) for each in (x, y)]
    for each in both:
        each.expect("joined")
    for each in both:
        each.expect("resumed")
        each.expect("run")
        m = each.expect("abort", skip=("alive", "trigger"))
        check(m.round == t.round and m.code == w.ABORT_RESTARTED, short(m))


@vector("killed: one comes with nothing", ENDS, needs="daemon")
def one_with_nothing(ctx):
    x, y = ctx.pair()
    restart(ctx)
    x2 = x.again()
    x2.expect("joined")
    y2 = Worker(ctx, y.spec, y.tasks, y.name)
    y2.host = y.host
    y2.joined()
    m = x2.expect("rewind")
    x2.reason(m.reason, (y.name.decode(),))
    x2.join()
    x2.expect("joined")
    check(x2.start().token.attempt == 2 and y2.start().token.attempt == 2, "attempts")


@vector("killed: one in an earlier phase", ENDS, needs="daemon")
def earlier_phase(ctx):
    x, y = ctx.pair()
    restart(ctx)
    x2 = x.again()
    x2.expect("joined")
    y2 = y.again(phase=w.PHASE_STARTING)
    y2.expect("joined")
    x2.expect("rewind")
    y2.expect("rewind")


@vector("killed: one does not come back", ENDS, needs="daemon", hasty=True)
def grace_over(ctx):
    x, y = ctx.pair(grace_ms=800, lease_ms=1200, heartbeat_ms=200)
    restart(ctx)
    x2 = x.again()
    x2.expect("joined")
    x2.reason(x2.expect("rewind").reason, (y.name.decode(), "800"))
    x2.join()
    x2.expect("joined")
    z = Worker(ctx, x.spec, (1,)).welcomed()
    z.join()
    z.expect("joined", skip=("alive", "parked"))
    x2.start()


@vector("killed: another incarnation's token", "A restart of the daemon does not change a running attempt's token", needs="daemon")
def token_kept(ctx):
    x = ctx.worker().run()
    restart(ctx)
    y = x.again()
    y.expect("joined")
    y.expect("resumed")
    y.expect("run")
    y.send(restore_failed=w.RestoreFailed(attempt=1, task=0))
    y.expect("rewind")
    y.join()
    y.expect("joined")
    token = y.start().token
    check(token.incarnation == y.welcome.incarnation > x.token.incarnation, short(token))
    check(token.external > x.token.external, short(token))


@vector("killed: owed commits, ended jobs, operations", "An operation is queued (its job takes one round at a time), "
        "running, done or failed, and is remembered across restarts of the daemon", needs="daemon")
def remembered(ctx):
    x = ctx.worker().run()
    number = x.round()
    operation = x.operation
    z = ctx.worker().run()
    z.send(finished=w.TaskFinished(attempt=1, tasks=z.mine()))
    t = z.expect("trigger")
    z.ack(t.round)
    z.complete(t.round)
    z.expect("stop")
    restart(ctx)
    p = ctx.admin()
    m = p.ask(wait=a.WaitOperation(operation=operation)).operation
    check(m.state == b"done" and m.snapshot == number, short(m))
    y = Worker(ctx, z.spec).welcomed()
    y.join()
    y.expect("refused")


@vector("stopped in good order", BYE, needs="daemon")
def good_order(ctx):
    x, y = ctx.pair()
    t = x.trigger()
    y.expect("trigger")
    x.ack(t.round)
    x.alive()
    check(ctx.daemon.stop() == 0, "it does not end with 0")
    m = x.expect("abort")
    check(m.code == w.ABORT_SHUTDOWN and m.round == t.round, short(m))
    x.reason(x.expect("bye").reason, ())
    x.ends()
    ctx.daemon.start()
    both = [each.again() for each in (x, y)]
    for each in both:
        each.expect("joined")
    for each in both:
        each.expect("resumed")
        each.expect("run")


@vector("killed ten times", GRACE, needs="daemon")
def ten_times(ctx):
    x = Worker(ctx, make_spec(ctx.job(), ((b"op", 1),)), (0,)).run()
    last = x.round()
    for _ in range(10):
        restart(ctx)
        x = x.again(told_complete=last)
        for kind in ("joined", "resumed", "run"):
            x.expect(kind)
        number = x.round()
        check(number > last, "round %d follows %d" % (number, last))
        last = number
        time.sleep(0.01)
